"""The tour of the house in CONTRIBUTING.md: calls as they are made, in the order that it says."""

import itertools
import re
import sys
import traceback
from pathlib import Path
from types import CodeType, FrameType

import jax
import pytest

import negjax
from experiments.linearity import program
from experiments.running import study
from negjax.measurements import gradient_runs
from negjax.replay import targets
from tests.support.block_shapes import tiny, tiny_probes
from tests.support.places import ROOT
from tests.support.tiny_runs import arguments, parse, undraw, write_inputs

Call = tuple[str, str]
"""Qualified name, and file from the root."""

STEP = re.compile(r"^\d\. `([\w.]+)` \(`([\w/.]+)`\)", re.MULTILINE)
MOST_CALLS, MOST_RETURNS = 7, 1


def walk(beginning: str) -> list[Call]:
    """The steps of the walk whose paragraph begins so."""
    tour = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    _, _, after = tour.partition(f"*{beginning}")
    found: list[Call] = STEP.findall(re.split(r"^(?:\*|## )", after, flags=re.MULTILINE)[0])
    assert found, beginning
    return found


def named(code: CodeType) -> Call | None:
    """A function of the repository; one inside another is the other's."""
    path = Path(code.co_filename)
    # An environment may lie in the repository, too.
    if not any(path.is_relative_to(ROOT / package) for package in ("negjax", "experiments")):
        return None
    return code.co_qualname.split(".<locals>")[0], path.relative_to(ROOT).as_posix()


def test_from_a_call_to_a_product(monkeypatch: pytest.MonkeyPatch) -> None:
    stacks: list[list[Call]] = []
    plain = targets.target_derivatives

    def watched(*arguments: object) -> object:
        frames = [named(frame.f_code) for frame, _ in traceback.walk_stack(sys._getframe(1))]
        stacks.append([call for call in reversed(frames) if call is not None])
        return plain(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(gradient_runs, "target_derivatives", watched)
    # What is compiled already is not called.
    jax.clear_caches()
    lm = tiny("gated")
    negjax.neurgrad(lm, tiny_probes(lm))
    (calls, *_) = stacks
    below = calls[calls.index(("neurgrad", "negjax/measurements/gradients.py")) + 1 :]
    # A kernel runs between `run_batches` and a run, and belongs to what has made it.
    new = [call for number, call in enumerate(below) if call not in below[:number]]
    new.append(("target_derivatives", Path(targets.__file__).relative_to(ROOT).as_posix()))
    assert new == walk("From `negjax.neurgrad(lm, probes)`")
    assert len(new) <= MOST_CALLS


@pytest.mark.usefixtures("restored_flags")
def test_from_a_command_to_its_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = walk("From `python -m experiments.linearity`")
    names = {name.split(".")[-1] for name, _ in expected}
    seen: list[Call | None] = []

    def record(frame: FrameType, event: str, _: object) -> None:
        # Asked of every call that Python makes: the name alone is read at no cost.
        if event == "call" and frame.f_code.co_name in names:
            seen.append(named(frame.f_code))

    undraw(monkeypatch)
    folder = write_inputs(tmp_path, facts=2, gated=tiny("gated"))
    parse(*arguments(folder, tmp_path / "run", "--prompts=2", "--neurons=2", "--range=1"))
    sys.setprofile(record)
    try:
        assert study.run(program.prepare) == 0
    finally:
        sys.setprofile(None)
    left = iter(seen)
    missing = [step for step in expected if step not in left]
    assert not missing, "these are not called, or not after those before them"
    # `negjax/measurements`, `experiments/inputs`: the folder is the room.
    rooms = [room for room, _ in itertools.groupby(str(Path(path).parent) for _, path in expected)]
    # The library calls nothing of the experiments: that `series` hands its curves on is no return.
    assert len(rooms) - len(set(rooms)) <= MOST_RETURNS
