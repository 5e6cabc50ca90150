"""What a run was asked for: the settings that its folder records, and continues with only."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from negjax.errors import Argument, ArgumentError
from negjax.storage.whole_files import read_json

FORMAT = 1
"""Version of the layout; a folder of another version is not continued."""

SETTINGS = "settings.json"


def settings_key(settings: Mapping[str, Any]) -> str:
    """SHA-256 of settings: the same for the same content, in whatever order it was given."""
    text = json.dumps(settings, sort_keys=True, allow_nan=False, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def recorded(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what `settings.json` holds of a run."""
    return {"format": FORMAT, "key": settings_key(settings), "settings": dict(settings)}


_ANOTHER_RUN = (
    *("pass another ", Argument("folder"), ", or ", Argument("overwrite", True)),
    " to discard it",
)


_DIGEST = re.compile("[0-9a-f]{64}")


def _difference(name: str, then: object, now: object) -> str:
    """What a reader is told of a setting: two digests say nothing but that they differ."""
    if all(isinstance(value, str) and _DIGEST.fullmatch(value) for value in (then, now)):
        return f"{name}: not the same"
    return f"{name} was {json.dumps(then)}, now {json.dumps(now)}"


def check_same(path: Path, asked: Mapping[str, Any]) -> None:
    """Raises an ArgumentError if the folder's run was recorded with other settings."""
    before = read_json(path / SETTINGS)
    if before.get("format") != FORMAT:
        raise ArgumentError(
            f"{path} was written in layout {before.get('format')}, this is {FORMAT}; ",
            *_ANOTHER_RUN,
        )
    if before.get("key") == asked["key"]:
        return
    then, now = before.get("settings", {}), asked["settings"]
    differing = [
        _difference(name, then.get(name), now.get(name))
        for name in sorted({*then, *now})
        if then.get(name) != now.get(name)
    ]
    raise ArgumentError(
        f"{path} holds a run with other settings ({'; '.join(differing)}); ", *_ANOTHER_RUN
    )
