"""Folders of caches."""

import os
from pathlib import Path


def user_cache() -> Path:
    """The user's folder for what programs keep between runs.

    Raises:
        ValueError: there is none.
    """
    named = os.environ.get("XDG_CACHE_HOME", "")
    if Path(named).is_absolute():
        return Path(named)
    try:
        return Path.home() / ".cache"
    except RuntimeError as error:
        # A container's user may have no home.
        raise ValueError(
            f"no folder for what is kept between runs ({error}): set XDG_CACHE_HOME"
        ) from error
