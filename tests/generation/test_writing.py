"""What is written with a cache, against whole texts run anew, and how a text ends."""

import dataclasses
import functools
from typing import Literal

import numpy as np
import pytest
from numpy.typing import ArrayLike

import negjax
from negjax.generation.interventions import KINDS
from negjax.generation.writing import When
from negjax.model.config import ModelConfig
from tests.support.block_shapes import (
    CAUSAL_PROMPTS,
    EXPERTS,
    GATED,
    GPT2,
    precision,
    tiny,
    tiny_of,
)
from tests.support.moved_texts import whole_texts

GEMMA = dataclasses.replace(
    GATED,
    norm_placement="sandwich",
    norm_offset=1.0,
    attention_cap=3.0,
    logit_cap=4.0,
    windows=(3, None, 4),
)
PARALLEL = dataclasses.replace(GPT2, parallel="shared", tied=False)
MOVED: dict[tuple[int, int], tuple[str, float]] = {
    (0, 1): ("signed", 2.0),
    (0, 4): ("scale", -1.5),
    (1, 3): ("additive", 1.5),
    (1, 7): ("clamp", 0.5),
    (2, 2): ("signed", -1.0),
    (2, 5): ("scale", 0.0),
}
PROMPTS = list(CAUSAL_PROMPTS)
LENGTHS = (5, 6, 8)
# In which one prompt fits.
SMALL = 80_000


def interventions(config: ModelConfig) -> list[negjax.Intervention]:
    """`MOVED`, as `generate` is told of it."""
    found = []
    for how in KINDS:
        some = {neuron: x for neuron, (move, x) in MOVED.items() if move == how}
        sets = negjax.neuron_sets(config, [(np.asarray(list(some)), list(some.values()))])
        found.append(negjax.Intervention(sets, how))
    return found


def agree(found: negjax.Generated, before: np.ndarray, after: np.ndarray) -> None:
    """What was written is what whole texts say, log-probabilities [B, T, V] without and with."""
    assert found.baseline_log_probability is not None
    for row, length in enumerate(LENGTHS):
        at = np.arange(length, length + found.tokens.shape[1]) - 1
        np.testing.assert_array_equal(after[row, at].argmax(-1), found.tokens[row])
        for computed, expected in (
            (found.log_probability, after),
            (found.baseline_log_probability, before),
        ):
            own = expected[row, at, found.tokens[row]]
            np.testing.assert_allclose(computed[row], own, atol=1e-11)
        told = after[row, at]
        entropy = -(np.exp(told) * told).sum(-1)
        np.testing.assert_allclose(found.entropy[row], entropy, atol=1e-11)


@pytest.mark.parametrize(
    ("config", "when", "site"),
    [
        (GATED, "all", "up"),
        (GPT2, "generated", "act"),
        (GEMMA, "prompt", "product"),
        (EXPERTS, "all", "up"),
        (PARALLEL, "all", "act"),
    ],
    ids=["gated", "gpt2", "gemma", "experts", "parallel"],
)
def test_a_cache_changes_nothing(config: ModelConfig, when: When, site: str):
    with precision("float64"):
        lm = tiny_of(config, "float64")
        moved = interventions(config)
        found = negjax.generate(lm, PROMPTS, moved, when=when, site=site, max_tokens=7)
        texts = [
            [*lm.tokenizer(prompt)["input_ids"], *tokens]
            for prompt, tokens in zip(PROMPTS, found.tokens.tolist(), strict=True)
        ]
        spans = {
            "all": [range(n + 7) for n in LENGTHS],
            "prompt": [range(n) for n in LENGTHS],
            "generated": [range(n - 1, n + 7) for n in LENGTHS],
        }
        before, after = whole_texts(lm, texts, spans[when], site, MOVED)
    assert found.mask.all() and found.stops == ("length",) * 3
    agree(found, before, after)
    assert found.baseline_log_probability is not None
    assert np.abs(found.log_probability - found.baseline_log_probability).max() > 1e-3


def test_the_first_token_is_that_of_joint():
    """One set a prompt."""
    lm = tiny("gated")
    pairs: list[tuple[list[list[int]], ArrayLike]] = [
        ([[0, 1], [2, 3]], 2.0),
        ([[1, 4]], -3.0),
        ([[2, 5], [0, 7]], [1.0, -2.0]),
    ]
    sets = negjax.neuron_sets(lm.config, pairs)
    hows: tuple[Literal["signed", "additive"], ...] = ("signed", "additive")
    for how in hows:
        clamp = how == "additive"
        move = negjax.Intervention(sets, "clamp" if clamp else how)
        found = negjax.generate(lm, PROMPTS, move, when="generated", max_tokens=1)
        probes = negjax.encode(lm, PROMPTS, found.tokens.tolist())
        joint = negjax.joint(lm, probes, sets, how, clamp=clamp)
        np.testing.assert_allclose(
            found.log_probability[:, 0], joint.log_probability.diagonal(), atol=2e-6
        )
        assert found.baseline_log_probability is not None
        np.testing.assert_allclose(
            found.baseline_log_probability[:, 0],
            joint.baseline_log_probability.diagonal(),
            atol=2e-6,
        )


def test_without_interventions_it_is_the_engines_own_likeliest_token():
    lm = tiny("gated")
    found = negjax.generate(lm, PROMPTS, max_tokens=3)
    np.testing.assert_array_equal(found.log_probability, found.baseline_log_probability)
    texts = [lm.tokenizer(prompt)["input_ids"] for prompt in PROMPTS]
    for step in range(3):
        probes = negjax.encode(lm, texts, [[0]] * 3)
        logits = negjax.logits(lm, probes)
        np.testing.assert_array_equal(logits.argmax(-1), found.tokens[:, step])
        texts = [
            [*text, int(token)] for text, token in zip(texts, found.tokens[:, step], strict=True)
        ]
    assert found.texts == tuple(
        "".join(f" w{token}" for token in row) for row in found.tokens.tolist()
    )


def test_draws_know_no_batch():
    """Neither which prompts a batch holds, nor how many."""
    lm = tiny("gated")
    draw = functools.partial(negjax.generate, lm, temperature=1.5, top_p=0.9, seed=3, max_tokens=6)
    together = draw(PROMPTS)
    apart = draw(PROMPTS, budget_bytes=SMALL)
    np.testing.assert_array_equal(together.tokens, apart.tokens)
    np.testing.assert_allclose(together.log_probability, apart.log_probability, atol=2e-6)
    other = draw(PROMPTS, seed=4)
    assert (other.tokens != together.tokens).any()
    shorter = draw(PROMPTS[:2])
    np.testing.assert_array_equal(shorter.tokens, together.tokens[:2])


def test_a_text_ends_at_its_end():
    lm = tiny("gated")
    free = negjax.generate(lm, PROMPTS, max_tokens=5)
    first = int(free.tokens[1, 0])
    third = next(int(token) for token in free.tokens[0] if token != first)
    ends = [third, first]
    found = negjax.generate(lm, PROMPTS, max_tokens=5, end_tokens=ends)
    for row in range(3):
        stopping = np.flatnonzero(np.isin(free.tokens[row], ends))
        count = stopping[0] + 1 if len(stopping) else 5
        assert found.mask[row].sum() == count
        own = free.tokens[row, :count]
        np.testing.assert_array_equal(found.tokens[row, :count], own)
        assert not found.tokens[row, count:].any()
        assert not found.log_probability[row, count:].any()
        assert found.stops[row] == ("end" if len(stopping) else "length")
        kept = own[:-1] if len(stopping) else own
        assert found.texts[row] == "".join(f" w{token}" for token in kept)
    ending = dataclasses.replace(lm, end_tokens=tuple(ends))
    np.testing.assert_array_equal(
        negjax.generate(ending, PROMPTS, max_tokens=5).tokens, found.tokens
    )
    assert found[1].texts == found.texts[1:2] and len(found[1:]) == 2


def test_a_text_fills_the_context():
    lm = tiny("gpt2")
    room = lm.config.context_length - 8 + 1
    found = negjax.generate(lm, PROMPTS[2:], max_tokens=room)
    assert found.mask.sum() == room
    with pytest.raises(ValueError, match=f"max_tokens={room + 1}: prompt 0 is 8 tokens"):
        negjax.generate(lm, PROMPTS[2:], max_tokens=room + 1)
