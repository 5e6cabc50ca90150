"""stdout and stderr on which printing never fails, whatever they encode, whoever closed them."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO, cast

# Of what experiments print, with the letters that everybody has.
PLAIN = {
    **{"≥": ">=", "≤": "<=", "±": "+-", "≈": "~", "×": "x", "÷": "/", "·": "*", "∞": "inf"},
    **{"−": "-", "–": "-", "—": "-", "…": "...", "→": "->", "“": '"', "”": '"', "‖": "||"},
    **{"Δ": "d", "δ": "d", "∂": "d", "Σ": "sum", "ρ": "rho", "β": "beta"},
    **{"²": "^2", "₀": "0", "½": "1/2"},
}


def _encodable(text: str, encoding: str) -> str:
    """Text with plainer characters, or else escapes, for those that an encoding lacks."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return "".join(_plainer(character, encoding) for character in text)
    return text


def _plainer(character: str, encoding: str) -> str:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        escaped = character.encode(encoding, "backslashreplace").decode(encoding)
        return PLAIN.get(character, escaped)
    return character


class _Unfailing:
    """A stream of text that writes what it can, and nothing once it cannot any more."""

    def __init__(self, stream: TextIO):
        self._stream, self._open = stream, True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Writes text, what the stream cannot encode in other characters; `_encodable`."""
        try:
            if self._open:
                self._stream.write(_encodable(text, self._stream.encoding or "utf-8"))
        except (OSError, ValueError) as error:
            self._give_up(error)
        return len(text)

    def flush(self) -> None:
        """Writes what is buffered."""
        try:
            if self._open:
                self._stream.flush()
        except (OSError, ValueError) as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        """A closed pipe, a full disk or a closed stream: nobody reads on."""
        if isinstance(error, BlockingIOError):
            return  # A reader that is slow: it lacks this piece, not the next.
        self._open = False
        # What is buffered still goes somewhere when the process ends: there it would fail.
        with contextlib.suppress(OSError, ValueError), Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), self._stream.fileno())


@contextlib.contextmanager
def unfailing() -> Iterator[None]:
    """Puts streams in the place of stdout and stderr on which printing cannot end a program."""
    with contextlib.ExitStack() as stack:
        for stream, redirected in (
            (sys.stdout, contextlib.redirect_stdout),
            (sys.stderr, contextlib.redirect_stderr),
        ):
            if stream is None:  # Closed before the program began.
                stream = stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
            elif isinstance(stream, io.TextIOWrapper):
                # For those who hold the stream itself, loggers for instance.
                with contextlib.suppress(OSError, ValueError):
                    stream.reconfigure(errors="backslashreplace")
            stack.enter_context(redirected(cast(TextIO, _Unfailing(stream))))
        yield
