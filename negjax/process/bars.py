"""Bars that show how far a long call has come, to a person who looks on.

A public function that may take long is decorated with `with_bar`. What runs below it counts on the
bar of the outermost such function, so that there is never more than one: a row is a prompt's pass
through the model, or its pass under one shift. How many rows there are becomes known as a call goes
on, and the bar says what is left of those that are known.
"""

import contextlib
import functools
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

from negjax.checks import flag

Given = ParamSpec("Given")
Returned = TypeVar("Returned")

DELAY, REDRAWN = 2.0, 1.0
"""Seconds after which a bar appears, and between two times that its clock is drawn anew."""
NO_TIME = 1e-9
ROW = "row"
"""What is counted unless a function says otherwise."""


class Bar:
    """Counts of a call's work; drawn only if it is `visible`, and once the call is `DELAY` old."""

    def __init__(
        self, name: str, *, visible: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Starts the clock."""
        self.unit, self.total, self.done = ROW, 0, 0.0
        self.endless = self.counted = self.held = False
        self._name, self._visible, self._clock, self._start = name, visible, clock, clock()
        self._drawn: Any = None
        self._closed, self._lock = threading.Event(), threading.RLock()

    def expect(self, rows: int) -> None:
        """Says that so many more rows are to come, unless whoever calls has said so already."""
        if not self.counted and self.unit == ROW:
            self.total += rows

    def reach(self, done: float) -> None:
        """Says how many rows are done; fewer than before where some are to be run again."""
        if self.unit == ROW:
            self.done = done
            self.draw()

    def reach_share(self, before: float, rows: float, share: float) -> None:
        """Says which share of some rows is done, after those that were done before."""
        self.reach(before + share * rows)

    def count(self, some: float, unit: str) -> None:
        """Says that some more are done, of what the bar counts; of anything else, nothing."""
        if self.unit == unit:
            self.done += some
            self.draw()

    def draw(self, *, anew: bool = False) -> None:
        """Shows the bar, once it is time, and what has changed; `anew` also its clock."""
        age = self._clock() - self._start
        if not self._visible or self.held or age < DELAY:
            return
        with self._lock:
            if self._closed.is_set():
                return
            if self._drawn is None:
                # What it imports takes time, and nothing but a bar needs it.
                from tqdm.auto import tqdm

                # Its seconds, and with them the rate, are those of the whole call: it is not to
                # draw itself before they are.
                self._drawn = tqdm(desc=self._name, unit=self.unit, delay=NO_TIME)
                self._drawn.start_t -= age
                anew = True
            self._drawn.unit, self._drawn.total = self.unit, self._known
            self._drawn.update(int(self.done) - self._drawn.n)
            if anew:
                self._drawn.refresh()

    def watch(self) -> None:
        """Draws the bar while nothing is counted, until it is closed."""
        wait = DELAY
        while not self._closed.wait(wait):
            self.draw(anew=True)
            wait = REDRAWN

    def close(self, *, finished: bool) -> None:
        """Draws the bar for the last time; one that is finished is full."""
        with self._lock:
            self._closed.set()
            if self._drawn is None:
                return
            if finished:
                self._drawn.total = self._drawn.n = max(self.total, int(self.done))
                self._drawn.refresh()
            self._drawn.close()

    @property
    def _known(self) -> int | None:
        return None if self.endless or not self.total else self.total


_CURRENT: ContextVar[Bar | None] = ContextVar("bar", default=None)


def current() -> Bar:
    """The bar of the call that is running, or one that nobody sees."""
    return _CURRENT.get() or Bar("", visible=False)


@contextlib.contextmanager
def counted(total: int | None, unit: str = ROW) -> Iterator[Bar]:
    """Says what there is to count, for all that runs below, and lets the caller count it.

    Args:
        total: rows or others; None: nobody can tell.
        unit: another one than `ROW` stays that of the bar, and rows are no longer counted.
    """
    bar = current()
    if bar.counted:
        yield bar
        return
    bar.total, bar.unit, bar.endless = bar.total + (total or 0), unit, total is None
    bar.counted = True
    try:
        yield bar
    finally:
        bar.counted = False


@contextlib.contextmanager
def held() -> Iterator[None]:
    """The bar of the call that is running is not drawn meanwhile: something else draws one."""
    bar = current()
    bar.held = True
    try:
        yield
    finally:
        bar.held = False


class _Watched(Bar):
    """A bar that is not drawn, but told."""

    def __init__(self, told: Callable[[float, int | None], object]) -> None:
        super().__init__("", visible=False)
        self._told = told

    def draw(self, *, anew: bool = False) -> None:
        """Says how much is done of what is known; of others than rows nothing is."""
        del anew
        self._told(self.done, None if self.endless or self.unit != ROW else self.total)


@contextlib.contextmanager
def without_bars(
    told: Callable[[float, int | None], object] = lambda done, total: None,
) -> Iterator[None]:
    """Calls inside show no bar: whoever calls draws one.

    Args:
        told: hears how many rows are done, of how many that are known by then; or how much of
            something else, of None. What it raises ends the call.
    """
    token = _CURRENT.set(_Watched(told))
    try:
        yield
    finally:
        _CURRENT.reset(token)


def with_bar(function: Callable[Given, Returned]) -> Callable[Given, Returned]:
    """A decorator: a call shows a bar, as its argument `progress` asks.

    `progress` is True, False, or None: where standard error is a terminal, or in a notebook.
    """

    @functools.wraps(function)
    def call(*args: Given.args, **kwargs: Given.kwargs) -> Returned:
        asked = kwargs.get("progress")
        wanted = None if asked is None else flag(asked, "progress")
        if _CURRENT.get() is not None:
            return function(*args, **kwargs)
        with _shown(function.__name__, visible=seen() if wanted is None else wanted):
            return function(*args, **kwargs)

    return call


@contextlib.contextmanager
def _shown(name: str, *, visible: bool) -> Iterator[None]:
    bar, finished = Bar(name, visible=visible), False
    token = _CURRENT.set(bar)
    if visible:
        threading.Thread(target=bar.watch, daemon=True).start()
    try:
        yield
        finished = True
    finally:
        _CURRENT.reset(token)
        bar.close(finished=finished)


def seen() -> bool:
    """Whether a person looks on: at a terminal, or in a notebook."""
    if sys.stderr is not None and sys.stderr.isatty():
        return True
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return "IPKernelApp" in getattr(shell, "config", ())
