"""JAX's cache of compiled programs: damaged entries are removed, and that is said once.

JAX leaves a damaged entry where it is, compiles anew, does not write what it compiled, since an
entry is there, and warns again in every run. Its warning names the program, whose entries are files
`<program>-<hash>-cache`.
"""

import contextlib
import re
import sys
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from negjax.storage import caches

_WARNING = re.compile(r"Error reading persistent compilation cache entry for '([^']+)'")


def own_folder() -> Path:
    """Where compiled programs are kept if nothing else is said.

    Raises:
        ValueError: the user has no folder for such things.
    """
    try:
        return caches.user_cache() / "negjax" / "jax"
    except ValueError as error:
        raise ValueError(f"{error}, or pass --compilation_cache=FOLDER, or =none") from error


@contextlib.contextmanager
def mended(folder: Path, say: Callable[[str], object] | None = None) -> Iterator[None]:
    """Within it, a damaged entry that JAX meets is removed, so that JAX writes it anew.

    Args:
        folder: of the cache.
        say: told once what was done; default: a line on stderr.
    """
    removed: list[Path] = []

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        found = _WARNING.search(str(message))
        if found is None:
            before(message, category, filename, lineno, file, line)
            return
        first = not removed
        removed.extend(_remove_damaged(folder, found[1]))
        if first:
            text = f"damaged entries of compiled programs in {folder} are removed and compiled anew"
            (say or _say)(text)

    with warnings.catch_warnings():
        # Every time: two damaged entries of one program are told in the same words.
        warnings.filterwarnings("always", message=_WARNING.pattern)
        before = warnings.showwarning
        warnings.showwarning = show
        yield


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _remove_damaged(folder: Path, program: str) -> list[Path]:
    """Removes a program's damaged entries; all of them where none can be told to be damaged."""
    entries = [
        file
        for file in folder.glob("*-cache")
        if re.fullmatch(re.escape(program) + r"-[0-9a-f]+-cache", file.name)
    ]
    damaged = [file for file in entries if not _whole(file)] or entries
    for file in damaged:
        with contextlib.suppress(OSError):
            file.unlink()
    return damaged


def _whole(entry: Path) -> bool:
    """Whether an entry is what JAX compresses without further packages: a whole zlib stream."""
    try:
        zlib.decompress(entry.read_bytes())
    except (zlib.error, OSError):
        return False
    return True
