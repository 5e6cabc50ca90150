"""A profile of the measuring stage, and addresses that are no folders of this machine."""

from pathlib import Path

import pytest

from experiments.linearity import program as linearity
from experiments.running import profiles, study
from negjax.process import hosts
from tests.support.block_shapes import tiny
from tests.support.processes import ended
from tests.support.tiny_runs import arguments, parse, summary, write_inputs

pytestmark = pytest.mark.usefixtures("restored_flags", "undrawn")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model and a table, as a user has them."""
    return write_inputs(tmp_path_factory.mktemp("inputs"), gated=tiny("gated"), facts=2)


def test_a_profile_is_of_the_measuring_stage(folder: Path, tmp_path: Path) -> None:
    few = ("--prompts=1", "--neurons=2", "--range=1", f"--profile={tmp_path / 'profile'}")
    parse(*arguments(folder, tmp_path / "run", *few))
    assert study.run(linearity.prepare) == 0
    assert summary(tmp_path / "run")["complete"]
    [file] = (tmp_path / "profile").rglob("*.xplane.pb")
    # Names of what ran stand in it as text.
    assert b"jit_" in file.read_bytes()


def test_processes_of_a_job_write_apart(tmp_path: Path) -> None:
    parse(f"--profile={tmp_path}")
    with profiles.traced(hosts.Hosts(1, 2, "here:9", lambda text: None)):
        pass
    [file] = tmp_path.rglob("*.xplane.pb")
    assert file.relative_to(tmp_path).parts[0] == "1"


@pytest.mark.parametrize(
    ("flag", "name"),
    [
        ("--output=https://somewhere/run", "--output"),
        ("--output=az://bucket/run", "--output"),
        ("--profile=gs://bucket/profile", "--profile"),
        ("--model=az://bucket/model", "--model"),
        ("--probes=https://somewhere/facts.csv", "--probes"),
    ],
)
def test_addresses_are_refused_and_no_folder_is_made(
    folder: Path,
    tmp_path: Path,
    flag: str,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    parse(*arguments(folder, tmp_path / "run", "--prompts=1", "--neurons=2", flag))
    assert ended(lambda _: study.run(linearity.prepare)) == 2
    said = capsys.readouterr().err
    assert said.splitlines()[-1].startswith(f"error: {name}={flag.partition('=')[2]}: ")
    assert "lies on no disk of this machine: copy it into a folder, or mount it" in said
    assert not (tmp_path / f"{flag.partition('=')[2].partition('/')[0]}").exists()
