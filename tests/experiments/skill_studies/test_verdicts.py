"""What tasks say of a claim, in words."""

import pytest

from experiments.skill_studies.accuracies import tasks_in_words
from experiments.skill_studies.verdicts import verdict


@pytest.mark.parametrize(
    ("says", "words"),
    [
        ({"agnews": None}, "no task says anything."),
        ({"agnews": True}, "1 task speaks for it, 0 say nothing."),
        ({"agnews": False, "imdb": None}, "1 task speaks against it, 1 say nothing."),
        ({"agnews": True, "ged": False, "imdb": None}, "1 of 2 tasks speak for it, 1 say nothing."),
    ],
)
def test_a_claim_in_short(says, words):
    assert verdict("Few do", "a test", says).in_short == f"Few do: {words}"


def test_how_many_tasks():
    assert [tasks_in_words(count) for count in (0, 1, 22)] == ["0 tasks", "1 task", "22 tasks"]
