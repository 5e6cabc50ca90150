"""`transformers`, imported without its advice to install PyTorch: negjax uses its tokenizers only.

Write `from negjax.quiet import transformers`. Nothing outlives the import: no environment variable,
no level of a logger.
"""

import contextlib
import logging
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


with _without_advice():
    import transformers

__all__ = ["transformers"]
