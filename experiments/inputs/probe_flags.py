"""Flags of the studies that fit a choice of probes: which, and how large a forest."""

from collections.abc import Iterable

from absl import flags

from experiments.running import flag_lists

_FITTED = flags.DEFINE_list("fitted", [], "Probes to fit. Default: all that the study has.")
_TREES = flags.DEFINE_integer("trees", 100, "Trees of the forest.", lower_bound=1)


def wanted(known: Iterable[str]) -> list[str]:
    """Names of the probes that the flags ask for.

    Args:
        known: those of the study.

    Raises:
        ValueError: an unknown one, or one twice.
    """
    return flag_lists.names(_FITTED, known) if _FITTED.value else list(known)


def trees() -> int:
    """Of a forest."""
    return _TREES.value
