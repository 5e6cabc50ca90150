"""One thread that measures, a piece of work at a time.

What nobody waits for is not begun; what has begun ends where the library counts its next rows.
"""

import itertools
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from negjax.checks import whole_number
from negjax.process import bars

REQUEST, PREPARATION = 0, 1
"""Whose turn comes first."""


class BusyError(RuntimeError):
    """So much waits already that no more is taken."""


class GivenUpError(Exception):
    """Nobody waits for what is measured any more."""


class Asked(Future[Any]):
    """What becomes of a piece of work."""

    def __init__(self) -> None:
        """It waits for its turn."""
        super().__init__()
        self._unwanted = threading.Event()

    def give_up(self) -> None:
        """Nobody waits any more: it is left out or, if it has begun, ended."""
        self.cancel()
        self._unwanted.set()

    def check(self, *_: object) -> None:
        """Raises GivenUpError if nobody waits any more."""
        if self._unwanted.is_set():
            raise GivenUpError("nobody waits for this any more")


class Worker:
    """A queue of work and the thread that does it."""

    def __init__(self, most_waiting: int):
        """Starts the thread, which ends with the process.

        Args:
            most_waiting: requests that may wait, besides the one that is measured.
        """
        self._most = whole_number(most_waiting, "most_waiting", 1)
        self._numbers = itertools.count()
        self._queue: queue.PriorityQueue[tuple[int, int, Asked | None, Callable[[], Any]]] = (
            queue.PriorityQueue()
        )
        self._lock = threading.Lock()
        self._waiting: list[Asked] = []
        self._thread = threading.Thread(target=self._run, name="measuring", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[], Any], urgency: int = REQUEST) -> Asked:
        """Puts work into the queue.

        Raises:
            BusyError: as many requests wait as may.
        """
        future = Asked()
        with self._lock:
            self._waiting = [own for own in self._waiting if not (own.done() or own.running())]
            if urgency == REQUEST:
                if len(self._waiting) >= self._most:
                    raise BusyError(f"{self._most} requests wait already; try again in a while")
                self._waiting.append(future)
            self._queue.put((urgency, next(self._numbers), future, work))
        return future

    def close(self) -> None:
        """Ends the thread after what it does now; what waits is cancelled."""
        with self._lock:
            for future in self._waiting:
                future.cancel()
            self._queue.put((-1, next(self._numbers), None, _nothing))
        self._thread.join()

    def _run(self) -> None:
        while True:
            _, _, future, work = self._queue.get()
            if future is None:
                return
            if not future.set_running_or_notify_cancel():
                continue
            try:
                with bars.without_bars(future.check):
                    future.set_result(work())
            except BaseException as error:  # Whoever waits is told, and the thread goes on.
                future.set_exception(error)


def _nothing() -> None:
    """What the end of the queue does."""
