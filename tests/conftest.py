"""Fixtures that several files share."""

import pytest

import negjax.loading
from negjax.language_model import LanguageModel


@pytest.fixture(scope="session")
def smollm2() -> LanguageModel:
    """The embedded model, loaded once a session."""
    return negjax.loading.load("smollm2-135m-instruct")
