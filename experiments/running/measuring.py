"""The bar of a study's measurements, which moves while a group is measured, too.

A group is saved when it is finished, which may take minutes. What the library counts meanwhile
(`negjax.process.bars`) says which share of it is done. Time that goes into compiling programs, most
of it at the beginning, is told apart: it says nothing about how fast the rest will go.
"""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import jax
from tqdm import tqdm

from experiments.running import interrupts, start
from negjax.process import bars

T = TypeVar("T")

COMPILED = "/jax/core/compile/backend_compile_duration"
REDRAWN = {True: 1.0, False: 15.0}
"""Seconds between two times that the clock is drawn anew: at a terminal, in a log."""
LEAST = {True: 0.2, False: 15.0}
"""Of these, between two times that it is drawn at all."""
TINY = 1e-9
FORMAT = "{desc} {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} {unit}s, {elapsed}{postfix}"


class Measuring:
    """How far measurements have come; made by `shown`."""

    def __init__(
        self,
        total: float,
        unit: str,
        *,
        before: float = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Starts the clock.

        Args:
            total: units of all groups.
            before: of those that were measured earlier.
        """
        self.compiled = 0.0
        """Seconds that went into compiling."""
        self._total, self._finished, self._first, self._clock = total, before, before, clock
        self._start, self._drawn = clock(), -float("inf")
        self._units, self._rows, self._share, self._rows_a_unit = 0.0, 0.0, 0.0, 0.0
        self._end: float | None = None
        self._closed, self._lock = threading.Event(), threading.RLock()
        self._bar = tqdm(
            *(None, "measure", total),
            initial=before,
            unit=unit,
            bar_format=FORMAT,
            disable=total <= before,
        )

    def group(self, units: float, measure: Callable[[], T], rows_a_unit: float = 0) -> T:
        """What measuring a group returns.

        Args:
            rows_a_unit: that the library will count, if that is known beforehand.

        Raises:
            KeyboardInterrupt: as it was meant.
        """
        self._units, self._rows, self._share = units, 0.0, 0.0
        self._rows_a_unit = rows_a_unit or self._rows_a_unit
        try:
            with bars.without_bars(self._told):
                result = interrupts.heard(measure)
        except ValueError:
            # Whoever continues without it has it behind them.
            self._close_group()
            raise
        if units and self._rows:
            self._rows_a_unit = self._rows / units
        self._close_group()
        return result

    def name(self, text: str) -> None:
        """Says what is measured."""
        self._bar.set_description_str(text, refresh=False)
        self.draw(anew=True)

    @property
    def done(self) -> float:
        """Units, those of the group that is being measured by its share."""
        return self._finished + self._units * self._share

    @property
    def remaining(self) -> float | None:
        """Seconds that the rest will take, at the rate up to when something was counted last; None:
        nobody can tell, since nothing was yet, or that time is over."""
        if self._end is None or self._end <= self._clock():
            return None
        return self._end - self._clock()

    def draw(self, *, anew: bool = False) -> None:
        """Shows the bar, unless it was shown just now; `anew` it is shown all the same."""
        now, least = self._clock(), LEAST[sys.stderr.isatty()]
        with self._lock:
            if self._closed.is_set() or (now - self._drawn < least and not anew):
                return
            self._drawn = now
            if self.done != self._bar.n:
                self._bar.n = self.done
                worked = max(now - self._start - self.compiled, 0.0)
                rest = (self._total - self.done) / max(self.done - self._first, TINY)
                self._end = now + worked * rest
            parts = [f"{start.clock(self.compiled)} of it compiling"] if self.compiled >= 1 else []
            if self.remaining is not None:
                parts.append(f"{start.clock(self.remaining)} left")
            self._bar.set_postfix_str(", ".join(parts), refresh=False)
            self._bar.refresh()

    def watch(self) -> None:
        """Draws the bar while nothing is counted, until it is closed."""
        while not self._closed.wait(REDRAWN[sys.stderr.isatty()]):
            self.draw(anew=True)

    def close(self) -> None:
        """Draws the bar for the last time, where it is."""
        try:
            self.draw(anew=True)
        finally:
            with self._lock:
                self._closed.set()
                self._bar.close()

    def compiling(self, event: str, duration_secs: float, **_: str | int) -> None:
        """Hears how long JAX took for something."""
        if event == COMPILED:
            self.compiled += duration_secs

    def _told(self, rows: float, known: int | None) -> None:
        if known is None:
            return
        self._rows = max(self._rows, rows)
        # Calls of a group say one after the other what they count; groups before say how much.
        expected = max(known, self._rows_a_unit * self._units)
        if expected:
            self._share = max(self._share, min(rows / expected, 1.0))
        self.draw()

    def _close_group(self) -> None:
        self._finished, self._units, self._share = self._finished + self._units, 0.0, 0.0
        self.draw()


@contextlib.contextmanager
def shown(total: float, unit: str, *, before: float = 0) -> Iterator[Measuring]:
    """A bar on stderr, of so many units in all."""
    progress = Measuring(total, unit, before=before)
    jax.monitoring.register_event_duration_secs_listener(progress.compiling)
    threading.Thread(target=progress.watch, daemon=True).start()
    try:
        yield progress
    finally:
        # First what can be interrupted no more.
        jax.monitoring.unregister_event_duration_listener(progress.compiling)
        progress.close()
