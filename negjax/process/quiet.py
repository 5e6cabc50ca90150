"""`transformers`, imported without its advice to install PyTorch: negjax uses its tokenizers only.

Write `from negjax.process.quiet import transformers`. Nothing outlives the import: no environment
variable, no level of a logger.
"""

import contextlib
import logging
import warnings
from collections.abc import Iterator


def _is_other_news(record: logging.LogRecord) -> bool:
    return "PyTorch was not found" not in record.getMessage()


@contextlib.contextmanager
def _without_advice() -> Iterator[None]:
    logger = logging.getLogger("transformers")
    logger.addFilter(_is_other_news)
    try:
        yield
    finally:
        logger.removeFilter(_is_other_news)


@contextlib.contextmanager
def muted() -> Iterator[None]:
    """Keeps back warnings of transformers, which tell its own users what to do, not negjax's."""
    logger = logging.getLogger("transformers")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="transformers")
            yield
    finally:
        logger.setLevel(level)


with _without_advice():
    import transformers

__all__ = ["muted", "transformers"]
