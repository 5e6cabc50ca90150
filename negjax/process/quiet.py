"""`transformers`, imported without its advice to install PyTorch: negjax uses its tokenizers only.

Write `quiet.transformers`, which imports it when it is asked for first: it takes a quarter of the
time of importing negjax. Nothing outlives the import: no environment variable, no level of a
logger.
"""

import contextlib
import importlib
import logging
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import transformers as transformers


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


def __getattr__(name: str) -> Any:
    if name != "transformers":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with _without_advice():
        module = importlib.import_module(name)
    globals()[name] = module
    return module
