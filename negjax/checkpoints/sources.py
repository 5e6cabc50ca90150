"""Whether the name of a model means something on disk, and if so, that it is there."""

import re
from pathlib import Path

from negjax import given

_FILE_ENDINGS = (".gguf", ".safetensors", ".bin", ".pt", ".pth", ".json")


def on_disk(source: str | Path) -> Path | None:
    """The directory or file that a source names; None where it can only be another name.

    Raises:
        FileNotFoundError: it is written like a path, and nothing is there.
        ValueError: it is neither text nor a path.
    """
    path = given.path(source, "source")
    try:
        if path.is_dir() or path.is_file():
            return path
        there = path.exists()
    except OSError:
        # Of a name that no file system would take.
        there = False
    if there:
        raise FileNotFoundError(f"source {str(source)!r} is neither a directory nor a file")
    if isinstance(source, Path) or _written_like_a_path(str(source)):
        hint = "; write / instead of \\" if "\\" in str(source) else ""
        place = "" if path.is_absolute() else f" in {Path.cwd()}"
        raise FileNotFoundError(
            f"source {given.shown(str(source))}: no such file or directory{place}; expected a "
            f"directory in Hugging Face layout, a GGUF file, a hub id (owner/name) or a known "
            f"name{hint}"
        )
    return None


def _written_like_a_path(name: str) -> bool:
    """Whether it can be no hub id and no short name."""
    return (
        name.startswith((".", "/", "~"))
        or name.endswith(("/", *_FILE_ENDINGS))
        or name.count("/") > 1
        or "\\" in name
        or re.search(r"\s", name) is not None
    )
