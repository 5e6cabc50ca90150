"""What tasks say of a claim, in words."""

import pytest

from experiments.skill_studies.accuracies import tasks_in_words
from experiments.skill_studies.verdicts import lead_of, verdict

FEW = "; too few to say it of others"


@pytest.mark.parametrize(
    ("says", "words"),
    [
        ({"agnews": True}, f"1 of 1 task speaks for it{FEW}."),
        ({"agnews": False, "imdb": None}, f"0 of 1 task speak for it, 1 say nothing{FEW}."),
        (
            {"agnews": True, "ged": False, "imdb": None},
            f"1 of 2 tasks speaks for it, 1 say nothing{FEW}.",
        ),
        ({"agnews": True, "ged": False, "imdb": True}, "2 of 3 tasks speak for it."),
    ],
)
def test_a_claim_in_short(says, words):
    assert verdict("Few do", "a test", says).in_short == f"Few do: {words}"


def test_claims_of_which_nothing_is_said_come_last():
    mute = verdict("Few do", "a test", {"agnews": None})
    told = verdict("Many do", "a test", {"agnews": True})
    other = verdict("None does", "a test", {"agnews": None})
    assert lead_of([mute, told, other]) == (
        f"Many do: 1 of 1 task speaks for it{FEW}. No task says anything of: Few do; None does."
    )


def test_how_many_tasks():
    assert [tasks_in_words(count) for count in (0, 1, 22)] == ["0 tasks", "1 task", "22 tasks"]
