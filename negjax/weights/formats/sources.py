"""What a model's name means on disk, and whether the files of its tokenizer are what they are
called."""

import re
from pathlib import Path

from negjax import checks
from negjax.storage import given_files

MODEL_FILES = (
    "config.json",
    "*.safetensors",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
)
"""Weights as safetensors and what a tokenizer needs; no pickles, no code."""

_TOKENIZER_TEXTS = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
)
_TOKENIZER_OTHERS = ("tokenizer.model", "vocab.txt", "merges.txt")

_FILE_ENDINGS = (".gguf", ".safetensors", ".bin", ".pt", ".pth", ".json")


def on_disk(source: str | Path) -> Path | None:
    """The directory or file that a source names; None where it can only be another name.

    Raises:
        FileNotFoundError: it is written like a path, and nothing is there.
        ValueError: it is neither text nor a path.
    """
    path = checks.path(source, "source")
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
            f"source {checks.shown(str(source))}: no such file or directory{place}; expected a "
            f"directory in Hugging Face layout, a GGUF file, a hub id (owner/name) or a known "
            f"name{hint}"
        )
    return None


def check_tokenizer_files(directory: Path) -> None:
    """Refuses a tokenizer's files that are damaged, or pointers to files elsewhere.

    Raises:
        ValueError: naming the file.
    """
    for name in _TOKENIZER_TEXTS:
        if (directory / name).is_file():
            given_files.read_json(directory / name)
    for name in _TOKENIZER_OTHERS:
        if (directory / name).is_file():
            given_files.refuse_pointer(given_files.first_bytes(directory / name), directory / name)


def _written_like_a_path(name: str) -> bool:
    """Whether it can be no hub id and no short name."""
    return (
        name.startswith((".", "/", "~"))
        or name.endswith(("/", *_FILE_ENDINGS))
        or name.count("/") > 1
        or "\\" in name
        or re.search(r"\s", name) is not None
    )
