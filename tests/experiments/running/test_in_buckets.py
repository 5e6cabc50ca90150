"""Studies whose --output, or whose model, lies in a bucket."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest

import negjax
from experiments.linearity import program as linearity
from experiments.running import study
from negjax.storage import mirrors, store
from negjax.storage.buckets import Bucket
from tests.support import bucket_servers
from tests.support.block_shapes import tiny
from tests.support.bucket_servers import held
from tests.support.jobs import begun, ends
from tests.support.processes import command, ended
from tests.support.tiny_runs import arguments, parse, write_inputs

pytestmark = pytest.mark.usefixtures("restored_flags", "servers", "undrawn")

FEW = ("--prompts=4", "--neurons=3", "--group=1", "--range=2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model and a table, as a user has them."""
    return write_inputs(tmp_path_factory.mktemp("inputs"), gated=tiny("gated"))


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where runs are measured before they are copied."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    return tmp_path / "scratch"


def measured(files: dict[str, bytes]) -> dict[str, bytes]:
    return {n: d for n, d in files.items() if n.startswith(store.ARRAYS) or n.endswith(".parquet")}


def run(folder: Path, output: str, *more: str) -> int:
    parse(*arguments(folder, Path("unused"), *FEW, f"--output={output}", *more))
    return study.run(linearity.prepare)


def local(folder: Path, output: Path) -> dict[str, bytes]:
    assert run(folder, str(output)) == 0
    found = (file for file in output.rglob("*") if file.is_file())
    return measured({file.relative_to(output).as_posix(): file.read_bytes() for file in found})


@pytest.mark.parametrize("scheme", bucket_servers.SCHEMES)
def test_a_run_lies_in_a_bucket(
    scheme: str, folder: Path, tmp_path: Path, scratch: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address = bucket_servers.fresh(scheme)
    assert run(folder, address) == 0
    out, err = capsys.readouterr()
    assert out.endswith(f"report: {address}/{store.REPORT}\n")
    assert f"{address}: measured in {scratch}" in err
    found = held(Bucket(address))
    assert mirrors.LEASE not in found and {store.REPORT, store.SUMMARY} <= found.keys()
    assert measured(found) == local(folder, tmp_path / "here")
    assert list(scratch.iterdir()) == []
    assert run(folder, address) == 0
    assert f"{address}: 5 groups were measured before and are kept" in capsys.readouterr().err
    parse(*arguments(folder, Path("unused"), *FEW, f"--output={address}", "--range=3"))
    assert ended(lambda _: study.run(linearity.prepare)) == 2
    assert "holds a run with other settings" in capsys.readouterr().err
    assert held(Bucket(address)).keys() == found.keys()


def test_two_processes_write_what_one_writes(folder: Path, tmp_path: Path) -> None:
    address = bucket_servers.fresh("s3")
    more = [*FEW, f"--output={address}", "--join_seconds=250"]
    program = [*command("linearity", *arguments(folder, Path("unused"), *more))]
    first, second = ends(begun(program, 2))
    assert (first.status, second.status) == (0, 0), (first.err, second.err)
    found = held(Bucket(address))
    assert json.loads(found[store.SUMMARY])["complete"]
    assert not [name for name in found if name.startswith("progress.") and name.count(".") > 1]
    assert measured(found) == local(folder, tmp_path / "one")


@pytest.mark.parametrize(
    ("address", "status", "message"),
    [
        ("s3://no-such-bucket/run", 1, "s3://no-such-bucket/run cannot be"),
        ("gs:///run", 2, "'gs:///run' is no address in a bucket, expected gs://BUCKET/FOLDER"),
    ],
)
def test_a_bucket_that_is_not_there_is_named(
    folder: Path,
    scratch: Path,
    address: str,
    status: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ended(lambda _: run(folder, address)) == status
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("scheme", bucket_servers.SCHEMES)
def test_models_lie_in_buckets(
    scheme: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    address = bucket_servers.fresh(scheme)
    files = {file.name: file.read_bytes() for file in (folder / "gated").iterdir()}
    Bucket(address).write(files)
    lm, there = negjax.load(address), negjax.load(folder / "gated")
    assert lm.fingerprint == there.fingerprint and lm.name == address
    streamed = negjax.load(address, weights="streamed")
    probes = [negjax.encode(one, ["w3 w4"], ["w5"]) for one in (streamed, there)]
    found, expected = (
        negjax.neurgrad(one, p).computed for one, p in zip((streamed, there), probes, strict=True)
    )
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-9)
    Bucket(address).delete(["config.json"])
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        negjax.load(address)
