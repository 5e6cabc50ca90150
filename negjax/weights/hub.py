"""Fetching files of models and datasets from the Hugging Face hub, or the server of HF_ENDPOINT."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import huggingface_hub
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from huggingface_hub.utils.tqdm import tqdm

from negjax.process import bars
from negjax.weights.formats.sources import MODEL_FILES

LONGEST = 96
"""Characters of a hub id."""


class _BarAtTerminals(tqdm):  # type: ignore[misc]
    """A progress bar that shows itself to people only."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs | {"disable": None})


def is_hub_id(name: str) -> bool:
    """Whether a name has the form "owner/name" that the hub gives its repositories."""
    part = r"[A-Za-z0-9_](?:[\w.-]*[A-Za-z0-9_])?"
    fits = re.fullmatch(f"{part}/{part}", name, re.ASCII) is not None
    return fits and len(name) <= LONGEST and "--" not in name and ".." not in name


Kind = Literal["model", "dataset"]

INSTEAD: dict[Kind, str] = {
    "model": "pass a directory or a .gguf file",
    "dataset": "pass a directory in the published layout",
}
"""What to do without the hub."""


def fetch(hub_id: str, wanted: Sequence[str] = MODEL_FILES, kind: Kind = "model") -> Path:
    """The directory of a repository's files in the local cache, fetched where they are not there.

    Args:
        hub_id: "owner/name".
        wanted: names of the files, with wildcards; others are not fetched.
        kind: of the repository.

    Raises:
        FileNotFoundError: the hub has no such repository, it is gated, or it cannot be reached and
            the cache does not hold it.
    """
    try:
        with bars.held():
            folder = huggingface_hub.snapshot_download(
                hub_id, repo_type=kind, allow_patterns=list(wanted), tqdm_class=_BarAtTerminals
            )
        return Path(folder)
    except GatedRepoError as error:
        raise FileNotFoundError(
            f"hub id {hub_id!r}: the repository is gated; accept its terms on the hub and log in "
            "with `hf auth login`"
        ) from error
    except RepositoryNotFoundError as error:
        raise FileNotFoundError(
            f"hub id {hub_id!r}: there is no such directory, and the hub has no such repository, "
            "or it is private: check the name, or log in with `hf auth login`"
        ) from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise FileNotFoundError(
            f"hub id {hub_id!r}: the hub cannot be reached and the local cache does not hold the "
            f"{kind}; go online, or {INSTEAD[kind]}"
        ) from error
    except HfHubHTTPError as error:
        raise FileNotFoundError(f"hub id {hub_id!r}: the hub answered: {error}") from error
