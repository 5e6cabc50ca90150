"""What a program says of bad input and of the machine it runs on: one line, a flag, a status."""

import codecs
import errno
import os
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import jax
import pytest
from absl import flags
from absl.testing import flagsaver

from experiments.inputs import benchmark_flags, curves
from experiments.running import command_line, common, messages, program_cache
from negjax.errors import Argument, ArgumentError, Message
from negjax.process import accelerators
from negjax.storage import store, whole_files
from tests.support.processes import ended, failing
from tests.support.tiny_runs import parse

SPECS = {"x": store.ArraySpec(shape=(1,), dtype="float64", axes=("item",), meaning="a number")}

pytestmark = pytest.mark.usefixtures("restored_flags")


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What is said of a command line that does not parse."""
    with pytest.raises(SystemExit) as ending:
        command_line.parse(["program", *arguments])
    assert ending.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1
    return said


@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
@pytest.mark.parametrize("line", ["\n", "\r\n"])
@pytest.mark.parametrize("first", ["# A comment.", "--nodes=7", "// Another.", ""])
def test_flag_files_of_whatever_editor(mark: bytes, line: str, first: str, tmp_path: Path) -> None:
    file = tmp_path / "run.flags"
    file.write_bytes(mark + line.join([first, "--nodes=5", "--model=a b", ""]).encode())
    assert command_line.parse(["program", f"--flagfile={file}"]) == ["program"]
    assert curves.FLAGS["nodes"].value == 5
    assert flags.FLAGS["model"].value == "a b"


def test_a_flag_file_that_a_marked_one_names(tmp_path: Path) -> None:
    inner, outer = tmp_path / "inner.flags", tmp_path / "outer.flags"
    inner.write_bytes(codecs.BOM_UTF8 + b"--nodes=6\n")
    outer.write_bytes(codecs.BOM_UTF8 + f"--flagfile={inner}\n".encode())
    assert command_line.expanded([f"--flagfile={outer}"]) == ["--nodes=6"]


def test_flag_files_that_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "run.flags"
    assert "--flagfile" in refused(capsys, f"--flagfile={file}")
    assert "is a directory" in refused(capsys, f"--flagfile={tmp_path}")
    assert "expected a file of flags" in refused(capsys, "--flagfile=")
    file.write_bytes("--nodes=5".encode("utf-16"))
    assert f"--flagfile={file}: UTF-16 or UTF-32" in refused(capsys, "--flagfile", str(file))
    (tmp_path / "outer.flags").write_text(f"--flagfile={file}\n")
    assert "--flagfile" in refused(capsys, f"--flagfile={tmp_path / 'outer.flags'}")


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--range=nan", "--range=nan: expected a finite number"),
        ("--step=inf", "--step=inf: expected a finite number"),
        ("--nodes=x", "flag --nodes=x"),
        ("--nodes=3", "flag --nodes=3"),
        ("--no_such_flag=1", "Unknown command line flag 'no_such_flag'"),
    ],
)
def test_flags_that_do_not_parse(
    argument: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in refused(capsys, argument)


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (ValueError("a\n b"), 2, "error: a b\n"),
        (FileNotFoundError("no such file"), 2, "error: no such file\n"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "x"), 2, "error: x: Is a directory\n"),
        (PermissionError(errno.EACCES, "Permission denied", "x"), 1, "error: x: Permission denied"),
        (
            ArgumentError("x is damaged; pass ", Argument("overwrite", True)),
            *(2, "error: x is damaged; pass --overwrite\n"),
        ),
    ],
)
def test_errors_end_in_one_line_and_a_status(
    error: Exception,
    status: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ended(failing(error)) == status
    assert capsys.readouterr().err.startswith(said)


def test_an_error_that_is_nobodys_keeps_its_traceback() -> None:
    with pytest.raises(RuntimeError, match="something else"):
        ended(failing(RuntimeError("something else")))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            RuntimeError("Unable to initialize backend 'cuda': no GPU\nand more"),
            "Unable to initialize backend 'cuda': no GPU",
        ),
        (AssertionError(), "no such device was found"),
    ],
)
@pytest.mark.parametrize(
    ("asked", "remedy"),
    [
        ("cuda", "JAX_PLATFORMS is 'cuda': set JAX_PLATFORMS=cpu or unset it"),
        ("", "set JAX_PLATFORMS=cpu to compute on the CPU"),
    ],
)
def test_a_device_that_is_not_there_is_named(
    error: Exception,
    said: str,
    asked: str,
    remedy: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none() -> None:
        raise error

    monkeypatch.setattr(jax, "devices", none)
    monkeypatch.setenv("JAX_PLATFORMS", asked)
    with pytest.raises(OSError, match=f"^JAX cannot start: {said}; {remedy}"):
        accelerators.check_started()
    # Wherever in a program it happens.
    assert ended(failing(error)) == 1
    assert capsys.readouterr().err.startswith(f"error: JAX cannot start: {said}; {remedy}")


def test_a_program_without_the_device_that_it_is_told_to_use(tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-m", "experiments.linearity", "--compilation_cache=none"],
        env={**os.environ, "JAX_PLATFORMS": "cuda", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 1
    last = found.stderr.strip().splitlines()[-1]
    assert last.startswith("error: JAX cannot start: ") and "set JAX_PLATFORMS=cpu" in last
    assert "Traceback" not in found.stderr


# ---- Files that cannot be written.


@pytest.mark.parametrize(
    ("number", "what"),
    [
        (errno.ENOSPC, "free some space and run the same command again"),
        (errno.EDQUOT, "free some space"),
        (errno.EACCES, "change the permissions and run the same command again, or pass another f"),
        (errno.EROFS, "the disk can only be read: pass another folder"),
        (errno.ENAMETOOLONG, "of a shorter name"),
        (errno.EMFILE, "ulimit -n"),
        (errno.ENOTDIR, "a file lies where a folder is needed"),
        (errno.EIO, "mend that, and run the same command again"),
    ],
)
def test_each_fault_of_a_disk_has_its_own_remedy(number: int, what: str) -> None:
    with (
        pytest.raises(OSError, match="it could not be saved") as found,
        whole_files.explained(Path("runs/x"), "it could not be saved"),
    ):
        raise OSError(number, os.strerror(number))
    said = str(found.value)
    assert what in said and os.strerror(number) in said
    assert ("free some space" in said) == (number in (errno.ENOSPC, errno.EDQUOT))
    assert messages.told(found.value).startswith("runs/x: it could not be saved: ")


def test_a_refused_folder_stays_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear")
    with pytest.raises(ValueError, match=r"holds files that no run wrote \(letter.txt\)"):
        store.open_to_measure(tmp_path, {}, SPECS, attributes={})
    assert [file.name for file in tmp_path.iterdir()] == ["letter.txt"]


def test_a_run_with_other_settings_keeps_its_lock(tmp_path: Path) -> None:
    store.open_to_measure(tmp_path, {"a": 1}, SPECS, attributes={}).close()
    before = sorted(file.name for file in tmp_path.iterdir())
    with pytest.raises(ValueError, match="other settings"):
        store.open_to_measure(tmp_path, {"a": 2}, SPECS, attributes={})
    assert sorted(file.name for file in tmp_path.iterdir()) == before


def test_paths_of_flags_begin_at_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    parse("--output=~/out", "--root=~/benchmark")
    assert common.output_folder("x") == tmp_path / "out"
    assert common.output_file() == tmp_path / "out"
    assert benchmark_flags.root() == tmp_path / "benchmark"


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ((Argument("seed"), " is -1, expected"), "--seed is -1, expected"),
        ((Argument("nodes"), " is 10001, expected"), "--nodes is 10001, expected"),
        ((Argument("target"), " is nan, expected"), "target is nan, expected"),
        ((Argument("root"), " 'x' is no directory"), "--root 'x' is no directory"),
        (
            (Argument("step"), " is 3 and ", Argument("radius"), " 2: expected"),
            "--step is 3 and --range 2: expected",
        ),
        (
            (Argument("budget_bytes"), "=9 is too small: one"),
            "--budget_mib: budget_bytes=9 is too small: one",
        ),
        (("pass another ", Argument("folder")), "pass another --output"),
        ((Argument("overwrite", True), " to discard it"), "--overwrite to discard it"),
        (
            ("pass ", Argument("target_mode", "first", "all"), ", or"),
            "pass --target_mode=first or --target_mode=all, or",
        ),
        (("seed is no argument here",), "seed is no argument here"),
    ],
)
def test_arguments_are_called_by_their_flags(
    parts: tuple[str | Argument, ...], expected: str
) -> None:
    error = ArgumentError(*parts)
    assert messages.told(error) == expected
    assert (
        messages.told(OSError(5, Message("kept: ", error.message), "x")) == f"x: kept: {expected}"
    )
    assert "--" not in str(error)


def test_the_flag_of_a_bad_value_is_named() -> None:
    parse("--model=nowhere")
    with (
        pytest.raises(FileNotFoundError, match=r"^--model=nowhere: it is not there$"),
        messages.of_flag(common._MODEL),
    ):
        raise FileNotFoundError(errno.ENOENT, "it is not there")
    with (
        pytest.raises(ValueError, match=r"^--model is named already$"),
        messages.of_flag(common._MODEL),
    ):
        raise ValueError("--model is named already")


# ---- The cache of compiled programs.


def test_damaged_entries_are_removed_and_that_is_said_once(tmp_path: Path) -> None:
    whole = zlib.compress(b"program")
    names = ["jit_f-0a-cache", "jit_f-0b-cache", "jit_f_g-0c-cache", "jit_g-0d-cache"]
    for name, content in zip(names, (whole, whole[:-3], b"", b"x"), strict=True):
        (tmp_path / name).write_bytes(content)
    said: list[str] = []
    text = "Error reading persistent compilation cache entry for '{}': Error: incomplete"
    with warnings.catch_warnings(record=True) as others:
        warnings.simplefilter("always")
        with program_cache.mended(tmp_path, said.append):
            for name in ("jit_f", "jit_f", "jit_g"):
                warnings.warn(text.format(name), stacklevel=1)
            warnings.warn("something else", stacklevel=1)
    assert len(said) == 1 and "are removed and compiled anew" in said[0]
    # The second time nothing of jit_f is damaged to the eye: what there is goes.
    assert sorted(file.name for file in tmp_path.iterdir()) == ["jit_f_g-0c-cache"]
    assert [str(warning.message) for warning in others] == ["something else"]


PROGRAM = """
import sys, warnings
from pathlib import Path
import jax, jax.numpy as jnp
from experiments.running import program_cache
jax.config.update("jax_compilation_cache_dir", sys.argv[1])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
with program_cache.mended(Path(sys.argv[1])):
    print(jax.jit(lambda x: jnp.sin(x) + 3)(jnp.ones(3)).sum())
"""


def test_jax_writes_a_damaged_entry_anew(tmp_path: Path) -> None:
    def run() -> str:
        command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
        kept = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
        found = subprocess.run(command, env=kept, capture_output=True, text=True, check=True)
        return found.stderr

    assert run() == ""
    entries = sorted(tmp_path.glob("*-cache"))
    whole = [entry.read_bytes() for entry in entries]
    assert len(entries) > 1
    for entry, content in zip(entries, whole, strict=True):
        entry.write_bytes(content[: len(content) // 2])
    said = run()
    assert said.count("damaged entries") == 1 and "Error reading" not in said
    assert all(zlib.decompress(entry.read_bytes()) for entry in entries)
    assert run() == ""


def test_the_cache_of_a_program_is_mended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def program(_: object) -> int:
        warnings.warn(
            "Error reading persistent compilation cache entry for 'jit_f': x", stacklevel=1
        )
        return 0

    entry = tmp_path / "jit_f-00-cache"
    entry.write_bytes(b"x")
    if not flags.FLAGS.is_parsed():
        flags.FLAGS(["test"])
    before = jax.config.values["jax_compilation_cache_dir"]
    try:
        with flagsaver.flagsaver(compilation_cache=str(tmp_path)):
            assert common._guarded(program, []) == 0
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
    assert not entry.exists()
    assert "are removed and compiled anew" in capsys.readouterr().err
