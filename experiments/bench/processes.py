"""A case's tools as processes that take turns, for `experiments.bench`."""

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from experiments.bench.cases import Case

# One measurement of a baseline that takes so long is enough.
LONG_SECONDS = 8.0
# Other users of a machine slow it down for seconds on end: short work is measured more often.
MOST_ROUNDS = 16


def measure(
    folder: Path,
    case: Case,
    tools: Sequence[str],
    rounds: int,
    seconds: float = 0.0,
    cache: str = "",
    device: str = "cpu",
) -> dict[str, dict[str, Any]]:
    """Seconds, product rates and peak memory of each tool, all alive at once, one running.

    Args:
        folder: holds the model and the case's arrays, and gets the answers.
        rounds: measurements of each tool, after a first run that is not counted; of a serial
            baseline that takes long there is only one.
        seconds: that all measurements take at least; 16 rounds are enough in any case.
        cache: folder of JAX's compilation cache; empty: none.
        device: the baselines', by PyTorch's name.

    Raises:
        ValueError: a process failed; the message ends with what it said.
    """
    found: dict[str, dict[str, Any]] = {}
    options = [f"--cache={cache}", f"--device={device}"]
    with contextlib.ExitStack() as stack:
        children = {}
        for tool in tools:
            errors = stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8"))
            children[tool] = stack.enter_context(_Child(folder, case, tool, options, errors))
            found[tool] = children[tool].read() | {"all_seconds": [], "rates": []}
        spent = 0.0
        for number in range(max(rounds, MOST_ROUNDS)):
            if number >= rounds and spent >= seconds:
                break
            for tool, child in children.items():
                if number and tool == "serial" and found[tool]["taken"] > LONG_SECONDS:
                    continue
                values = child.ask()
                found[tool]["taken"] = values["taken"]
                spent += values["taken"]
                found[tool]["all_seconds"].append(values["seconds"])
                found[tool]["rates"].append(values["rate"])
                if "beside" in values:
                    found[tool].setdefault("beside", []).append(values["beside"])
        for tool, child in children.items():
            found[tool] |= {"seconds": min(found[tool]["all_seconds"]), **child.finish()}
    return found


class _Child:
    """A running `experiments.bench.child`, killed on the way out."""

    def __init__(
        self, folder: Path, case: Case, tool: str, options: list[str], errors: IO[str]
    ) -> None:
        self.errors = errors
        self.what = f"{tool} on {case.name}"
        command = [sys.executable, "-m", "experiments.bench.child", f"--folder={folder}"]
        command += [f"--tool={tool}", f"--case={case.name}", *options]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            encoding="utf-8",
        )

    def __enter__(self) -> "_Child":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def ask(self) -> dict[str, float]:
        """One more measurement."""
        assert self.process.stdin is not None
        # A dead process is found out by what it does not answer.
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write("measure\n")
            self.process.stdin.flush()
        return self.read()

    def finish(self) -> dict[str, float]:
        """The peak memory, when the answers are written."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.read()

    def read(self) -> dict[str, float]:
        """The next object that the process prints."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.errors.seek(0)
            raise ValueError(f"{self.what} failed:\n{self.errors.read()[-2000:]}")
        return json.loads(line)
