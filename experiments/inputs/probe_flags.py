"""Flags of the studies that fit a choice of probes: which, and how large a forest."""

import dataclasses
from collections.abc import Iterable

from experiments.running import flag_lists
from experiments.running.settings import define, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """The probes to fit."""

    fitted: list[str] = setting([], "Probes to fit. Default: all that the study has.")
    trees: int = setting(100, "Trees of the forest.", least=1)


FLAGS = define(Settings)


def read(known: Iterable[str]) -> Settings:
    """The settings, with all of a study's probes where the flags name none.

    Args:
        known: probes of the study.

    Raises:
        ValueError: an unknown one is named, or one twice.
    """
    settings = FLAGS.read()
    named = flag_lists.names(FLAGS["fitted"], known) if settings.fitted else [*known]
    return dataclasses.replace(settings, fitted=named)
