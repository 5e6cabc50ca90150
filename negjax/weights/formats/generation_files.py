"""What a directory in Hugging Face layout says of where a written text ends."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from negjax.checks import is_whole
from negjax.storage import given_files

FILE = "generation_config.json"
_KEY = "eos_token_id"


def read_end_tokens(
    directory: Path, config: Mapping[str, Any], tokenizer_end: int | None, vocab_size: int
) -> tuple[int, ...]:
    """Ids of the tokens that end a text: those of generation_config.json, or else of config.json,
    or else the tokenizer's own.

    Args:
        config: what config.json holds.
        tokenizer_end: None: the tokenizer has no such token.
    """
    path = directory / FILE
    settings = given_files.read_json(path) if path.is_file() else {}
    for found in (settings.get(_KEY), config.get(_KEY), tokenizer_end):
        listed = found if isinstance(found, list) else [found]
        # An id that the model does not embed can follow nothing.
        known = [int(end) for end in listed if is_whole(end) and 0 <= end < vocab_size]
        if known:
            return tuple(dict.fromkeys(known))
    return ()


def write_end_tokens(directory: Path, end_tokens: Sequence[int]) -> None:
    """Writes what `read_end_tokens` reads."""
    text = json.dumps({_KEY: list(end_tokens)}, indent=2) + "\n"
    (directory / FILE).write_text(text, encoding="utf-8")
