"""Bars: when they appear, what they count, and that there is never more than one."""

import io
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import tqdm.auto

import negjax
from negjax.execution.plans import plan_prompts, sizes_of
from negjax.execution.running import run_batches
from negjax.process import bars
from negjax.process.bars import Bar, counted, current, held, seen, with_bar, without_bars
from tests.support.block_shapes import TARGETS, tiny, tiny_probes
from tests.support.clocks import Clock

NEURONS = np.asarray([[0, 1], [2, 5]])


class Terminal(io.StringIO):
    """Standard error that a person sees."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def drawn(monkeypatch):
    """Every bar that is drawn, as the record of its last state."""
    found = []

    class Recorded(tqdm.auto.tqdm):
        def __init__(self, **arguments):
            super().__init__(**arguments, file=io.StringIO(), mininterval=0)
            found.append(self)

    monkeypatch.setattr("tqdm.auto.tqdm", Recorded)
    return found


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(bars, "DELAY", 0.0)


@pytest.fixture
def asked():
    lm = tiny("gated")
    return lm, tiny_probes(lm, tuple((row[0],) for row in TARGETS))


def test_a_bar_appears_after_two_seconds_and_not_before(drawn):
    clock = Clock()
    bar = Bar("sweep", visible=True, clock=clock)
    bar.expect(10)
    clock.now = 1.99
    bar.reach(4)
    assert not drawn
    clock.now = 2.0
    bar.reach(5)
    (one,) = drawn
    assert (one.n, one.total, one.unit, one.desc) == (5, 10, "row", "sweep")
    # Its seconds are those of the call, and so is what it expects.
    assert one.format_dict["elapsed"] == pytest.approx(2.0, abs=0.5)
    bar.close(finished=True)
    assert len(drawn) == 1 and one.n == one.total == 10 and one.disable


def test_a_short_call_draws_nothing(drawn):
    bar = Bar("sweep", visible=True, clock=Clock())
    bar.expect(3)
    bar.reach(3)
    bar.close(finished=True)
    assert not drawn


def test_a_bar_appears_while_nothing_is_counted(drawn, monkeypatch):
    monkeypatch.setattr(bars, "DELAY", 0.02)
    monkeypatch.setattr(bars, "REDRAWN", 0.02)

    @with_bar
    def slow(*, progress: bool | None = None) -> None:
        until = time.monotonic() + 10
        while not drawn and time.monotonic() < until:
            time.sleep(0.005)

    slow(progress=True)
    (one,) = drawn
    assert one.disable  # Closed.


@pytest.mark.parametrize("progress", [None, False])
def test_nobody_who_is_not_there_is_shown_a_bar(drawn, at_once, asked, progress):
    lm, probes = asked
    negjax.sweep(lm, probes, NEURONS, [1.0], progress=progress)
    assert not drawn


def test_people_are_shown_one_bar_that_ends_full(drawn, at_once, asked, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    lm, probes = asked
    negjax.sweep(lm, probes, NEURONS, [1.0, 2.0])
    (one,) = drawn
    # Every neuron with each shift, and a baseline a layer.
    rows = len(probes) * (2 * 2 + lm.config.layers)
    assert (one.desc, one.n, one.total) == ("sweep", rows, rows)


@pytest.mark.parametrize("asks", [True, None])
def test_functions_that_call_others_share_their_bar(drawn, at_once, asked, monkeypatch, asks):
    monkeypatch.setattr(sys, "stderr", Terminal())
    lm, probes = asked
    negjax.control.target_probabilities(lm, probes, progress=asks)
    (one,) = drawn
    assert (one.desc, one.n, one.total) == ("target_probabilities", len(probes), len(probes))


def test_a_search_counts_what_it_looks_at(drawn, at_once, asked):
    lm, probes = asked
    negjax.steer(lm, "w3 w5", "w7", 0.5, turns=0, unrelated=probes, progress=True)
    (one,) = drawn
    assert one.unit == "look" and one.n == one.total > 1


def test_texts_of_a_corpus_are_counted(drawn, at_once):
    texts = ["w3 w5 w7", "w9 w4", "w2 w6 w8"]
    for given in (texts, iter(texts)):
        negjax.corpus_statistics(tiny("gated"), given, extremes=1, progress=True)
    assert [(one.unit, one.n, one.total) for one in drawn] == [("text", 3, 3)] * 2


def test_tensors_of_a_model_are_counted_and_not_beside_a_download(drawn, at_once, tmp_path):
    folder = negjax.save_pretrained(tiny("gated"), tmp_path / "model")
    negjax.load(folder, progress=True)
    (one,) = drawn
    assert (one.desc, one.unit) == ("load", "tensor") and one.n == one.total > 1
    bar = Bar("load", visible=True)
    with without_bars():
        bars._CURRENT.set(bar)
        with held():
            bar.draw()
        assert len(drawn) == 1
        bar.draw()
    assert len(drawn) == 2
    bar.close(finished=False)


def test_an_error_closes_the_bar_where_it_is(drawn, at_once):
    @with_bar
    def fails(*, progress: bool | None = None) -> None:
        current().expect(4)
        current().reach(1)
        raise RuntimeError("in between")

    with pytest.raises(RuntimeError, match="in between"):
        fails(progress=True)
    (one,) = drawn
    assert one.disable and (one.n, one.total) == (1, 4)
    # And the next call has its own.
    with pytest.raises(RuntimeError, match="in between"):
        fails(progress=True)
    assert len(drawn) == 2


def test_whoever_draws_a_bar_of_his_own_hides_others(drawn, at_once, asked):
    lm, probes = asked
    with without_bars():
        negjax.sweep(lm, probes, NEURONS, [1.0], progress=True)
    assert not drawn


def test_rows_that_are_run_again_count_once(asked):
    lm, probes = asked
    failed = []

    def kernel(run):
        run.reached(0.5)
        if run.batch.rows > 1:
            failed.append(bar.done)
            raise MemoryError
        return np.zeros((run.batch.rows, 1))

    plan = plan_prompts(probes, sizes_of(lm, probes), 1, len(probes), 2**30)
    with without_bars():
        bar = current()
        batches = run_batches(lm, probes, plan, kernel, budget_bytes=2**30, rows_each=10)
        with pytest.warns(negjax.Notice, match="run again in halves"):
            assert sum(len(batch.members) for batch, _ in batches) == len(probes)
    assert failed and bar.done == bar.total == 10 * len(probes)


def test_what_is_said_to_be_counted_is_not_counted_twice():
    with without_bars():
        with counted(5) as bar:
            bar.expect(7)
            bar.count(5, "row")
        bar.expect(2)
        assert (bar.done, bar.total) == (5, 7)


@pytest.mark.parametrize("config", [{"IPKernelApp": {}}, {}])
def test_a_notebook_is_where_people_look_on(monkeypatch, config):
    shell = SimpleNamespace(get_ipython=lambda: SimpleNamespace(config=config))
    monkeypatch.setitem(sys.modules, "IPython", shell)
    assert seen() == bool(config)


def test_no_standard_error_is_no_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert not seen()
