"""Which tokens a part of a prompt's text is."""

import dataclasses

import numpy as np
import pytest

import negjax
from negjax.inputs.positions import TokenPositions
from tests.support.block_shapes import tiny

PROMPTS = ["w3 w12 w5 w12 w4", "w12 w5 w7"]


def asked(prompts: list[str] = PROMPTS) -> negjax.Probes:
    return negjax.encode(tiny("gated"), prompts, ["w2"] * len(prompts))


def test_tokens_of_a_part_are_found_by_characters() -> None:
    probes = asked()
    assert negjax.tokens_of(probes, "w12").index.tolist() == [[3], [0]]
    assert negjax.tokens_of(probes, "w12", 0).index.tolist() == [[1], [0]]
    found = negjax.tokens_of(probes, "w12 w5")
    assert found.index.tolist() == [[1, 2], [0, 1]]
    assert (found.first.tolist(), found.last.tolist()) == ([1, 0], [2, 1])
    assert len(found) == 2
    assert found[1].index.tolist() == [[0, 1]]


def test_padding_on_the_left_does_not_count() -> None:
    probes = asked()
    rolled = [np.roll(x[1], 2, 0)[None] for x in (probes.tokens, probes.mask)]
    moved = dataclasses.replace(
        probes.select([1]), tokens=rolled[0], mask=rolled[1], read=np.asarray([4])
    )
    assert negjax.tokens_of(moved, "w5").index.tolist() == [[1]]


def test_blanks_beside_a_part_may_belong_to_its_token() -> None:
    probes = asked(["w3 w5 w7"])
    # As byte-level tokenizers do: the blank before a word is part of its token.
    probes = dataclasses.replace(probes, spans=(((0, 2), (2, 5), (5, 8)),))
    assert negjax.tokens_of(probes, "w5").index.tolist() == [[1]]
    assert negjax.tokens_of(probes, " w5").index.tolist() == [[1]]


def test_token_ids_have_the_text_that_they_are() -> None:
    lm = tiny("gated")
    ids = lm.tokenizer.encode("w3 w5 w7")
    probes = negjax.encode(lm, [ids], [[9]])
    assert negjax.tokens_of(probes, "w5").index.tolist() == [[1]]


@pytest.mark.parametrize(
    ("part", "occurrence", "message"),
    [
        ("w3", -1, 'part="w3": prompt 1 .* holds it 0 times, and occurrence=-1 was asked for'),
        ("w12", 1, "prompt 1 .* holds it 1 times, and occurrence=1"),
        ("w1", 0, "part=\"w1\" of prompt 0 cuts its token 'w12'; pass text that ends"),
        ("2 w5", 0, "cuts its token 'w12'"),
        (" ", 0, "part is ' ', expected text"),
    ],
)
def test_parts_that_are_not_tokens_are_refused(part: str, occurrence: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        negjax.tokens_of(asked(), part, occurrence)


def test_tokens_of_unknown_text_are_refused() -> None:
    probes = asked()
    for spans in (None, ((), ()), (((0, 2),), ((0, 2),))):
        with pytest.raises(ValueError, match=r"which tokens of prompt 0 cover which text is not k"):
            negjax.tokens_of(dataclasses.replace(probes, spans=spans), "w5")


@pytest.mark.parametrize("index", [[[1, 1]], [[2, 1]], [[-2]], [[1, -1]], [1], [[0.5]]])
def test_positions_are_ascending(index: list[object]) -> None:
    with pytest.raises(ValueError, match="index"):
        TokenPositions(index=np.asarray(index))
