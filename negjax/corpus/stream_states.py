"""What is known of a corpus so far, kept in a folder that a killed stream goes on from."""

import os
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from negjax import checks
from negjax.corpus.accumulating import Accumulated
from negjax.corpus.text_windows import Stream
from negjax.errors import Argument, ArgumentError
from negjax.storage.record_files import read, save
from negjax.storage.store import CORPUS, RunFolder, open_to_measure


class StreamFolder:
    """A folder opened for one stream, by one process; or none, which keeps nothing."""

    def __init__(
        self, path: str | os.PathLike[str] | None, settings: Mapping[str, Any], *, overwrite: bool
    ) -> None:
        """Opens it to begin, or to go on.

        Raises:
            ArgumentError: it holds the stream of other settings, or files that none wrote.
        """
        self.finished = False
        """Whether the folder holds the end of the stream."""
        self._run: RunFolder | None = None
        if path is not None:
            where = checks.path(path, "folder")
            self._run = open_to_measure(where, settings, {}, attributes={}, overwrite=overwrite)

    def __enter__(self) -> "StreamFolder":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        if self._run is not None:
            self._run.close()

    def resumed(self, nothing: Accumulated, stream: Stream) -> Accumulated:
        """What was saved, after its texts are taken off the stream; or nothing.

        Raises:
            ArgumentError: the stream begins with other texts or labels, or goes on where it ended.
            ValueError: the file is damaged.
        """
        if self._run is None or not self._file.exists():
            return nothing
        saved = read(self._file)
        for _ in range(saved["taken"]):
            if stream.take() is None:
                break
        self.finished = saved["finished"]
        more = self.finished and stream.take() is not None
        if more or stream.digest != saved["digest"]:
            raise ArgumentError(
                f"{self._run.path} holds statistics of other texts or labels than these; pass "
                "another ",
                Argument("folder"),
                ", or ",
                Argument("overwrite", True),
                " to discard it",
            )
        result: Accumulated = saved["found"]
        return result

    def save(self, found: Accumulated, stream: Stream, *, finished: bool) -> None:
        """Keeps what is known after a block.

        Raises:
            OSError: it cannot be written; what was kept before stays.
        """
        if self._run is not None:
            state = {
                "taken": stream.taken,
                "digest": stream.digest,
                "finished": finished,
                "found": found,
            }
            save(self._file, state)

    @property
    def _file(self) -> Path:
        assert self._run is not None
        return self._run.path / CORPUS
