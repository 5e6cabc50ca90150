"""Masked batches: nothing but text, seed and step decides them, and masking keeps its shares."""

import dataclasses
from collections import Counter
from collections.abc import Iterator

import jax
import numpy as np
import pytest

from experiments.pretrain_bert import batches, vocabulary
from experiments.pretrain_bert.batches import Batch, BatchPlan, Texts
from experiments.pretrain_bert.corpus import Statement
from negjax.process.quiet import transformers
from tests.support.made_up_facts import facts


@pytest.fixture(scope="module")
def tokenizer() -> transformers.BertTokenizer:
    return vocabulary.wordpiece_tokenizer(vocabulary.train_vocabulary(facts(), 400), 16)


@pytest.fixture(scope="module")
def texts(tokenizer: transformers.BertTokenizer) -> Texts:
    long = Statement(" ".join(["far away there is a place"] * 2), None, "made up")
    return batches.encode_statements([*facts(), *[long] * 9], tokenizer, 16)


def taken(texts: Texts, plan: BatchPlan, first: int, count: int) -> list[Batch]:
    iterator = batches.batches_from(texts, plan, first)
    return [next(iterator) for _ in range(count)]


def test_batches_depend_on_seed_and_step_alone(texts: Texts) -> None:
    plan = BatchPlan(seed=5, tokens=100, answer_share=0.5)
    whole = taken(texts, plan, 0, 25)
    assert 2 * batches.steps_per_epoch(texts, plan) < 25
    for step in (1, 6, 13, 24):
        jax.tree.map(np.testing.assert_array_equal, whole[step], taken(texts, plan, step, 1)[0])
    other = taken(texts, dataclasses.replace(plan, seed=6), 0, 1)[0]
    assert whole[0].tokens.shape != other.tokens.shape or (whole[0].tokens != other.tokens).any()


def originals(batch: Batch) -> list[tuple[int, ...]]:
    """The texts of a batch, before masking."""
    found = []
    for row in range(len(batch.tokens)):
        tokens = batch.tokens[row].copy()
        real = batch.weight[row] > 0
        tokens[batch.at[row, real]] = batch.target[row, real]
        found.append(tuple(tokens[batch.mask[row]].tolist()))
    return found


def test_an_epoch_shows_every_text_once(texts: Texts) -> None:
    plan = BatchPlan(seed=0, tokens=100, answer_share=0.5)
    steps = batches.steps_per_epoch(texts, plan)
    expected = Counter(
        tuple(row[:n].tolist()) for row, n in zip(texts.tokens, texts.length, strict=True)
    )
    for epoch in range(2):
        shown = taken(texts, plan, epoch * steps, steps)
        found = Counter(tokens for batch in shown for tokens in originals(batch) if tokens)
        assert found == expected
        for batch in shown:
            rows, size = batch.tokens.shape
            assert rows == 100 // size
            assert (batch.mask.sum(1) <= size).all()
            # Empty rows weigh nothing.
            assert not batch.weight[~batch.mask.any(1)].any()


def predicted(batch: Batch) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, int]]:
    """Of each text: places to predict, tokens there before and after masking, length."""
    for row in np.flatnonzero(batch.mask.any(1)):
        real = batch.weight[row] > 0
        at = batch.at[row, real]
        yield at, batch.target[row, real], batch.tokens[row, at], int(batch.mask[row].sum())


def test_fifteen_per_cent_are_predicted_and_shown_in_three_ways(texts: Texts) -> None:
    shown = taken(texts, BatchPlan(seed=1, tokens=400, answer_share=0.0), 0, 300)
    rows = [row for batch in shown for row in predicted(batch)]
    for at, _, _, length in rows:
        # [CLS] and [SEP] are not predicted.
        assert len({*at.tolist()}) == len(at) == max(1, round(0.15 * (length - 2)))
        assert (at >= 1).all() and (at < length - 1).all()
    before = np.concatenate([row[1] for row in rows])
    after = np.concatenate([row[2] for row in rows])
    masked, kept = after == texts.mask_id, after == before
    assert (after[~masked] >= len(vocabulary.SPECIAL)).all()
    # A random token is the token itself once in so many draws.
    same = 0.1 + 0.1 / (texts.vocab_size - len(vocabulary.SPECIAL))
    for share, expected in ((masked.mean(), 0.8), (kept.mean(), same)):
        deviation = np.sqrt(expected * (1 - expected) / len(after))
        assert deviation < 0.006
        assert abs(share - expected) < 4 * deviation
    # Every free place is as likely as any other.
    places = Counter(int(place) for at, _, _, length in rows if length == 16 for place in at)
    assert {*places} == {*range(1, 15)}
    each = sum(places.values()) / 14
    assert np.abs(np.asarray([*places.values()]) - each).max() < 4 * np.sqrt(each)


def test_answers_are_asked_whole_and_alone(tokenizer: transformers.BertTokenizer) -> None:
    texts = batches.encode_statements(facts(), tokenizer, 16)
    masks = {s: " ".join(["[MASK]"] * len(str(s.answer).split())) for s in facts()}
    questions = {tuple(tokenizer(s.text.replace("[Y]", masks[s]))["input_ids"]) for s in masks}
    asked = {}
    for share in (0.0, 0.4, 1.0):
        shown = taken(texts, BatchPlan(2, 400, share), 0, 150)
        found = [
            tuple(batch.tokens[row][batch.mask[row]].tolist()) in questions
            for batch in shown
            for row in np.flatnonzero(batch.mask.any(1))
        ]
        asked[share] = float(np.mean(found)), len(found)
    assert asked[1.0][0] == 1.0
    # A fact that is not asked may mask just its answer by chance.
    chance, _ = asked[0.0]
    assert chance < 0.15
    expected = 0.4 + 0.6 * chance
    share, count = asked[0.4]
    assert abs(share - expected) < 5 * np.sqrt(0.25 / count)


def test_long_text_is_cut_and_long_facts_are_refused(
    tokenizer: transformers.BertTokenizer,
) -> None:
    long = Statement(" ".join(["was born in"] * 10), None, "made up")
    found = batches.encode_statements([long], tokenizer, 16)
    assert found.length.tolist() == [16, 16, 4]
    first, *_, last = tokenizer(long.text)["input_ids"]
    assert (found.tokens[:, 0] == first).all()
    inner = [t for row, n in zip(found.tokens, found.length, strict=True) for t in row[1 : n - 1]]
    assert inner == tokenizer(long.text)["input_ids"][1:-1]
    assert [row[n - 1] for row, n in zip(found.tokens, found.length, strict=True)] == [last] * 3
    fact = Statement(f"{long.text} [Y].", "Bern", "made up")
    with pytest.raises(ValueError, match=r"is 34 tokens, the context holds 16; shorten it"):
        batches.encode_statements([fact], tokenizer, 16)
    merged = Statement("[Y]x is far.", "Bern", "made up")
    with pytest.raises(ValueError, match=r"the answer 'Bern' merges with the words beside \[Y\]"):
        batches.encode_statements([merged], tokenizer, 16)
