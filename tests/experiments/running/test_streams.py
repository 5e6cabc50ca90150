"""Printing fails no program: whatever the terminal's encoding, whoever has closed the pipe."""

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.running import terminal
from experiments.running.streams import PLAIN, unfailing
from tests.support.hostile_text import ALL_OF_THEM, unseen
from tests.support.places import ROOT

TEXT = "r ≥ 0.95 ± 1 → 巴黎 \ud800"


def started(code: str, encoding: str) -> subprocess.Popen[bytes]:
    """A process that runs code with stdout and stderr of an encoding, and that ends by itself."""
    begin = "import sys\nfrom experiments.running.streams import unfailing\nwith unfailing():\n "
    return subprocess.Popen(
        [sys.executable, "-c", begin + code.replace("\n", "\n ") + "\nsys.exit(7)"],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("ascii:strict", r"r >= 0.95 +- 1 -> \u5df4\u9ece \ud800"),
        ("cp1252:strict", r"r >= 0.95 ± 1 -> \u5df4\u9ece \ud800"),
        ("latin-1:strict", r"r >= 0.95 ± 1 -> \u5df4\u9ece \ud800"),
        ("utf-8:strict", r"r ≥ 0.95 ± 1 → 巴黎 \ud800"),
    ],
)
def test_what_a_terminal_cannot_show_is_escaped(encoding: str, shown: str) -> None:
    process = started(f"print({TEXT!a})\nprint({TEXT!a}, file=sys.stderr)", encoding)
    out, err = process.communicate(timeout=60)
    name = encoding.partition(":")[0]
    assert (out.decode(name).strip(), err.decode(name).strip()) == (shown, shown)
    assert process.returncode == 7


def test_what_experiments_show_has_plainer_characters() -> None:
    assert all(plain.isascii() for plain in PLAIN.values())
    files = [
        *(ROOT / "experiments").glob("*/report.*"),
        *(ROOT / "experiments").glob("*/tables.py"),
    ]
    shown = "".join(file.read_text("utf-8") for file in files)
    assert {"≥", "±", "→"} <= set(re.findall(r"[^\x00-\x7f]", shown)) <= set(PLAIN)


def test_a_closed_pipe_ends_nothing() -> None:
    """As of `2>&1 | head`: what was measured is there, the exit status is the program's own."""
    code = "for _ in range(20000): print('line'); print('line', file=sys.stderr)"
    process = started(code, "utf-8")
    for pipe in (process.stdout, process.stderr):
        assert pipe is not None
        pipe.readline()
        pipe.close()
    assert process.wait(timeout=60) == 7


def test_streams_that_were_closed_before_end_nothing() -> None:
    code = "print('a'); print('b', file=sys.stderr); sys.stderr.flush(); sys.stderr.isatty()"
    command = f'{sys.executable} -c "$CODE" >&- 2>&-; echo $?'
    begin = "import sys\nfrom experiments.running.streams import unfailing\nwith unfailing(): "
    found = subprocess.run(
        ["sh", "-c", command],
        cwd=ROOT,
        env={**os.environ, "CODE": f"{begin}{code}\nsys.exit(7)", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=True,
    )
    assert found.stdout.strip() == b"7"


def test_a_full_disk_ends_nothing() -> None:
    full = Path("/dev/full")
    if not full.exists():
        return  # Linux's alone.
    code = (
        "from experiments.running.streams import unfailing\n"
        "with unfailing(): print('a', flush=True)"
    )
    with full.open("wb") as out:
        found = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=out,
            stderr=subprocess.PIPE,
        )
    assert (found.returncode, found.stderr) == (0, b"")


class Strict(io.StringIO):
    """A stream in the place of stdout, as a notebook's, that takes ASCII alone."""

    encoding = "ascii"

    def write(self, text: str) -> int:
        text.encode("ascii")
        return super().write(text)


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


def test_streams_that_others_put_in_place_end_nothing() -> None:
    strict = Strict()
    with contextlib.redirect_stdout(strict), contextlib.redirect_stderr(closed()), unfailing():
        print(TEXT)
        print(TEXT, file=sys.stderr, flush=True)
    assert strict.getvalue() == r"r >= 0.95 +- 1 -> \u5df4\u9ece \ud800" + "\n"


def test_streams_are_those_from_before_when_the_program_has_ended() -> None:
    before = sys.stdout, sys.stderr
    with contextlib.suppress(SystemExit), unfailing():
        assert sys.stdout is not before[0]
        sys.exit(0)
    assert (sys.stdout, sys.stderr) == before


def test_a_result_is_one_line_whatever_stands_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.say(f"{ALL_OF_THEM.replace(chr(10), chr(32))}\nend")
    first, end = capsys.readouterr().out.splitlines()
    assert end == "end" and not unseen(first) and len(first) <= terminal.LONGEST_LINE
    assert first.startswith(r"$$ $\oops$")


def test_a_note_is_one_line_whatever_stands_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.note(ALL_OF_THEM)
    [line] = capsys.readouterr().err.splitlines()
    assert not unseen(line) and len(line) <= terminal.LONGEST_LINE


@pytest.mark.parametrize(("flag", "status"), [("--help", 0), ("--helpfull", 1)])
def test_help_is_shown_where_nothing_but_ascii_is(flag: str, status: int) -> None:
    found = subprocess.run(
        [sys.executable, "-m", "experiments.linearity", flag],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONPATH": str(ROOT)},
        capture_output=True,
    )
    assert (found.returncode, found.stderr) == (status, b"")
    assert rb"signed: shift x moves a to a + x*s(a)" in b" ".join(found.stdout.split())
