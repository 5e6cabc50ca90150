"""What tasks say of a claim, in words."""

import pytest

from experiments.skill_studies.verdicts import lead_of, verdict

FEW = "Fewer than 3 tasks are too few to say it of others."


@pytest.mark.parametrize(
    ("says", "words"),
    [
        ({"agnews": True}, f"Few do in 1 of 1 task. {FEW}"),
        ({"agnews": False, "imdb": None}, f"Few do in 0 of 1 task. {FEW}"),
        ({"agnews": True, "ged": False, "imdb": None}, f"Few do in 1 of 2 tasks. {FEW}"),
        ({"agnews": True, "ged": False, "imdb": True}, "Few do in 2 of 3 tasks."),
        ({"agnews": None}, "No task says anything of the claim."),
    ],
)
def test_a_claim_in_short(says, words):
    assert lead_of([verdict("Few do", "a test", says)]) == words


def test_claims_of_which_nothing_is_said_come_last():
    mute = verdict("Few do", "a test", {"agnews": None})
    many = verdict("Many do", "a test", {"agnews": True})
    polar = verdict("Polar does", "a test", {"agnews": True, "ged": True, "imdb": False})
    assert lead_of([mute, many, polar, mute]) == (
        f"Many do in 1 of 1 task; Polar does in 2 of 3 tasks. {FEW} "
        "No task says anything of the other 2 claims."
    )
    assert lead_of([polar, many]).startswith("Polar does in 2 of 3 tasks; many do in 1 of 1 task.")
