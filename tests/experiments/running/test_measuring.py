"""The bar of a study's measurements: it moves within groups, and tells compiling apart."""

import ast
import contextlib
import functools
import io
import re
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl import flags

import negjax
from experiments.running import common, measuring, start
from experiments.running.measuring import COMPILED, Measuring
from negjax.process import bars
from tests.support.block_shapes import tiny, tiny_probes
from tests.support.clocks import Clock
from tests.support.places import ROOT


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def written(capsys):
    """What was drawn since it was asked last."""
    return lambda: [line for line in capsys.readouterr().err.split("\r") if line.strip()]


def rows(clock: Clock, counts: list[int], seconds: float = 1.0) -> None:
    """A measurement of several calls, each of which counts rows."""
    for count in counts:
        with bars.counted(count):
            before = bars.current().done
            for row in range(count):
                clock.now += seconds
                bars.current().reach(before + row + 1)


def test_a_group_moves_the_bar_by_the_rows_that_are_done(clock, written):
    progress = Measuring(200, "neuron", clock=clock)
    seen = []

    def measure() -> str:
        with bars.counted(10):
            for row in range(10):
                clock.now += 1
                bars.current().reach(row + 1)
                seen.append((progress.done, progress.remaining))
        return "values"

    assert progress.group(100, measure) == "values"
    done, remaining = zip(*seen, strict=True)
    assert done == tuple(range(10, 101, 10))
    # Ten seconds a hundred units.
    assert remaining == pytest.approx([20 - second for second in range(1, 11)])
    assert progress.done == 100
    progress.close()
    assert re.search(r" 50%\|.*\| 100/200 neurons, .*0:10 left", written()[-1])


def test_compiling_is_told_apart(clock, written):
    progress = Measuring(10, "neuron", clock=clock)
    clock.now = 100
    progress.compiling(COMPILED, 90.0)
    progress.compiling("another event", 5.0)
    progress.group(5, lambda: None)
    assert progress.remaining == pytest.approx(10)
    progress.close()
    assert "1:30 of it compiling, 0:10 left" in written()[-1]


def test_calls_whose_rows_are_not_known_yet_never_move_it_back(clock, written):
    progress = Measuring(30, "neuron", clock=clock)
    done = []
    measure = functools.partial(rows, clock, [10, 30])
    draw = progress.draw

    def noted(*, anew: bool = False) -> None:
        done.append(progress.done)
        draw(anew=anew)

    progress.draw = noted  # type: ignore[method-assign]
    progress.group(10, measure)
    assert done == sorted(done) and done[9] == 10
    # The second group is known to have forty rows.
    done.clear()
    progress.group(10, measure)
    assert done == sorted(done) and done[9] == pytest.approx(12.5) and done[39] == 20
    # A third is said to have twice as many.
    done.clear()
    progress.group(10, measure, rows_a_unit=8)
    assert done[39] == pytest.approx(25)
    assert done[-1] == progress.done == 30


def test_the_time_left_runs_down_while_nothing_is_counted(clock, written):
    progress = Measuring(10, "neuron", clock=clock)
    assert progress.remaining is None
    clock.now = 10
    progress.group(5, lambda: None)
    for now, left in ((10, 10), (16, 4), (21, None)):
        clock.now = now
        assert progress.remaining == left


def test_groups_that_were_measured_before_say_nothing_of_the_rate(clock, written):
    progress = Measuring(100, "neuron", before=90, clock=clock)
    clock.now = 4
    progress.group(5, lambda: None)
    assert (progress.done, progress.remaining) == (95, 4)


def test_a_group_that_fails_is_passed_and_an_interrupt_stops(clock, written):
    progress = Measuring(10, "neuron", clock=clock)

    def fail(error: BaseException) -> None:
        raise error

    with pytest.raises(ValueError, match="no such"):
        progress.group(4, lambda: fail(ValueError("no such")))
    assert progress.done == 4
    with pytest.raises(KeyboardInterrupt):
        progress.group(4, lambda: fail(KeyboardInterrupt()))
    progress.close()
    assert progress.done == 4


def test_what_the_library_measures_is_counted(written):
    lm = tiny("gated")
    probes, shares = tiny_probes(lm), []
    with measuring.shown(60, "neuron") as progress:

        def measure() -> negjax.Response:
            neurons = np.stack(np.divmod(np.arange(20), 20), -1)
            found = negjax.response(lm, probes, neurons, 1.0, target=0)
            shares.append(progress.done)
            return found

        progress.group(60, measure)
        jax.jit(lambda x: jnp.sin(x) * 3.25 + 1.125)(jnp.arange(7.0))
        assert progress.compiled > 0
    assert shares == [60]
    # Nothing listens any more.
    compiled = progress.compiled
    jax.jit(lambda x: jnp.sin(x) * 4.25 + 1.125)(jnp.arange(7.0))
    assert progress.compiled == compiled


@pytest.mark.parametrize(("seen", "most"), [(True, 200), (False, 8)])
def test_many_rows_draw_seldom_in_a_log(clock, monkeypatch, seen, most):
    drawn = []
    progress = Measuring(100, "neuron", clock=clock)
    monkeypatch.setattr(progress._bar, "refresh", lambda: drawn.append(clock.now))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: seen)
    # A thousand rows in a hundred seconds.
    progress.group(100, functools.partial(rows, clock, [1000], 0.1))
    assert most / 2 < len(drawn) <= 2.5 * most
    progress.close()
    assert drawn[-1] == clock.now


def test_a_log_is_drawn_seldom_and_a_terminal_each_second(monkeypatch):
    assert measuring.REDRAWN[True] <= 1 and measuring.REDRAWN[False] >= 10
    monkeypatch.setitem(measuring.REDRAWN, False, 0.01)
    stream = io.StringIO()
    with contextlib.redirect_stderr(stream), measuring.shown(10, "neuron"):
        deadline = time.monotonic() + 10
        while stream.getvalue().count("\r") < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert stream.getvalue().count("\r") >= 4


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.4, "0:00"), (59.6, "1:00"), (3599.7, "1:00:00"), (4210, "1:10:10")]
)
def test_clocks(seconds, expected):
    assert start.clock(seconds) == expected


def test_a_program_says_within_two_seconds_that_it_starts():
    process = subprocess.Popen(
        [sys.executable, "-m", "experiments.linearity", "--model=nowhere"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    begun = time.perf_counter()
    assert process.stderr.readline() == "linearity: starting\n"
    first = time.perf_counter() - begun
    rest = process.stderr.read()
    process.wait()
    # Of what is imported after it takes a multiple.
    assert first < max(2.0, (time.perf_counter() - begun) / 2)
    assert re.match(r"\d:\d\d  load nowhere\nerror: --model=nowhere", rest)


def test_an_interrupt_while_modules_are_imported_ends_in_a_line(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["linearity", "--seed=1"])
    with pytest.raises(SystemExit) as found, start.importing("linearity"):
        raise KeyboardInterrupt
    assert found.value.code == 130
    said = capsys.readouterr().err.splitlines()
    assert said == ["linearity: starting", "interrupted while starting; nothing was measured"]
    monkeypatch.setattr(sys, "argv", ["linearity", "--help"])
    with start.importing("linearity"):
        pass
    assert capsys.readouterr().err == ""


def test_every_program_says_that_it_starts():
    for main in (ROOT / "experiments").glob("*/__main__.py"):
        text = main.read_text(encoding="utf-8")
        assert f'start.importing("{main.parent.name}"):' in text, main
        # Nothing heavy before it.
        imports = ast.Import | ast.ImportFrom
        first = [ast.unparse(node) for node in ast.parse(text).body if isinstance(node, imports)]
        assert first == ["from experiments.running import start"], main


def test_the_model_that_is_loaded_is_named(capsys, monkeypatch):
    if not flags.FLAGS.is_parsed():
        flags.FLAGS(["test"])
    monkeypatch.setattr(negjax, "load", lambda *_, **__: tiny("gated"))
    common.load_model()
    assert re.fullmatch(r"\d+:\d\d  load smollm2-135m-instruct\n", capsys.readouterr().err)
