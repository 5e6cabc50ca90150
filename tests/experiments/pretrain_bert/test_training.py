"""Steps of masked language modelling: loss, gradient, optimiser, first state; and recall."""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np
import optax
import pytest

from experiments.pretrain_bert import training
from experiments.pretrain_bert.batches import Batch, BatchPlan
from experiments.pretrain_bert.corpus import Statement
from experiments.pretrain_bert.recall import fact_probes, recall_of, single_token_facts
from negjax.model.config import ModelConfig
from negjax.model.language_model import LanguageModel
from tests.support.block_shapes import BERT, VOCABULARY, error, tiny
from tests.support.reference import full_forward, softmax
from tests.support.tiny_models import leaves


def random_batch(size: int = 9, rows: int = 5) -> Batch:
    """Of the tiny BERT's vocabulary; texts of different lengths, one row empty."""
    generator = np.random.default_rng(0)
    length = np.asarray([size, 4, 7, 5, 0])[:rows]
    at = np.stack([generator.permutation(np.arange(1, 3))[[0, 1, 0]] for _ in length])
    return Batch(
        generator.integers(2, len(VOCABULARY), (rows, size)).astype(np.int32),
        np.arange(size) < length[:, None],
        at.astype(np.int32),
        generator.integers(2, len(VOCABULARY), at.shape).astype(np.int32),
        ((np.arange(3) < 2) & (length > 0)[:, None]).astype(np.float32),
    )


@functools.partial(jax.jit, static_argnums=0)
def loss_and_gradient(
    config: ModelConfig, params: training.Parameters, batch: Batch
) -> tuple[jax.Array, training.Parameters]:
    return jax.value_and_grad(training.masked_loss, argnums=1)(config, params, batch)


def as_params(lm: LanguageModel) -> training.Parameters:
    return {name: jax.numpy.asarray(value) for name, value in leaves(lm.params).items()}


def slow_loss(lm: LanguageModel, batch: Batch) -> float:
    """By whole forwards in float64 NumPy, text by text."""
    total = weight = 0.0
    for row in np.flatnonzero(batch.mask.any(1)):
        logits, _ = full_forward(lm, batch.tokens[row][batch.mask[row]])
        for place, target, counted in zip(
            batch.at[row], batch.target[row], batch.weight[row], strict=True
        ):
            total -= counted * np.log(softmax(logits[place])[target])
            weight += counted
    return total / weight


def test_the_loss_is_that_of_whole_forwards() -> None:
    lm, batch = tiny("bert"), random_batch()
    found, _ = loss_and_gradient(lm.config, as_params(lm), batch)
    assert float(found) == pytest.approx(slow_loss(lm, batch), rel=1e-5)


def test_the_gradient_is_that_of_central_differences() -> None:
    lm, batch = tiny("bert", "float64"), random_batch()
    with jax.enable_x64(True):
        params = as_params(lm)
        batch = batch._replace(weight=batch.weight.astype(np.float64))
        _, gradient = loss_and_gradient(lm.config, params, batch)
        norm = "head.dense_norm.scale"
        for name in ("embedding.token", "blocks.ffn.down.kernel", "head.bias", norm):
            at = np.unravel_index(np.abs(gradient[name]).argmax(), gradient[name].shape)
            step = 1e-5
            above, below = (
                loss_and_gradient(
                    lm.config, params | {name: params[name].at[at].add(sign * step)}, batch
                )[0]
                for sign in (1, -1)
            )
            difference = float(above - below) / (2 * step)
            assert float(gradient[name][at]) == pytest.approx(difference, rel=1e-6)


def test_the_first_state_is_berts() -> None:
    config = dataclasses.replace(BERT, width=32, neurons=64, vocab_size=500, head_width=8)
    drawn = jax.jit(functools.partial(training.initial_parameters, config))
    params = drawn(seed=1)
    for name, value in params.items():
        if name.endswith(".bias"):
            assert not value.any(), name
        elif name.endswith(".scale"):
            assert (value == 1).all(), name
        else:
            spread = 4 * 0.02 / np.sqrt(2 * value.size)
            assert float(value.std()) == pytest.approx(0.02, abs=spread), name
    again, other = drawn(seed=1), drawn(seed=2)
    jax.tree.map(np.testing.assert_array_equal, again, params)
    name = "embedding.token"
    assert (np.asarray(other[name]) != np.asarray(params[name])).all()
    kernels = [params[f"blocks.attention.{part}.kernel"] for part in ("query", "key")]
    assert (np.asarray(kernels[0]) != np.asarray(kernels[1])).all()


RECIPE = training.Recipe(steps=20, learning_rate=0.01, warmup=4, weight_decay=0.1, clip=1.0)


def test_the_learning_rate_rises_and_falls() -> None:
    rate = [float(training.schedule(RECIPE)(step)) for step in range(21)]
    np.testing.assert_allclose(rate[:5], np.arange(5) * 0.01 / 4, rtol=1e-6)
    expected = 0.005 * (1 + np.cos(np.pi * np.arange(17) / 16))
    np.testing.assert_allclose(rate[4:], expected, rtol=1e-5, atol=1e-9)


def test_steps_are_those_of_adamw() -> None:
    """Three steps by the papers' formulas, in float64 NumPy, with gradients that clipping meets."""
    generator = np.random.default_rng(0)
    shapes = {"a.kernel": (3, 4), "a.bias": (4,), "norm.scale": (4,), "embedding.token": (5, 4)}
    params = {name: generator.normal(size=shape) for name, shape in shapes.items()}
    update = training.optimizer(RECIPE)
    ours = {name: jax.numpy.asarray(value, "float32") for name, value in params.items()}
    state = update.init(ours)
    first = {name: np.zeros(shape) for name, shape in shapes.items()}
    second = {name: np.zeros(shape) for name, shape in shapes.items()}
    for step in range(3):
        gradient = {
            name: (0.1, 1.0, 3.0)[step] * generator.normal(size=s) for name, s in shapes.items()
        }
        norm = np.sqrt(sum((g**2).sum() for g in gradient.values()))
        assert (norm > 1) == (step > 0)
        single = jax.tree.map(lambda g: jax.numpy.asarray(g, "float32"), gradient)
        updates, state = update.update(single, state, ours)
        ours = optax.apply_updates(ours, updates)
        rate = 0.01 * step / 4
        for name in shapes:
            g = gradient[name] / max(norm, 1)
            first[name] = 0.9 * first[name] + 0.1 * g
            second[name] = 0.98 * second[name] + 0.02 * g**2
            direction = first[name] / (1 - 0.9 ** (step + 1))
            direction /= np.sqrt(second[name] / (1 - 0.98 ** (step + 1))) + 1e-6
            decay = 0.1 if name in ("a.kernel", "embedding.token") else 0.0
            params[name] = params[name] - rate * (direction + decay * params[name])
    for name in shapes:
        assert error(np.asarray(ours[name]), params[name]) < 1e-6, name


def test_the_work_of_a_step_is_counted() -> None:
    config = training.bert_config(
        vocab_size=50, layers=3, width=8, neurons=16, heads=2, context_length=16
    )
    matrices = 3 * (4 * 8 * 8 + 2 * 8 * 16)
    attention = 3 * 2 * 12 * 8
    per_text = 12 * (matrices + attention) + 2 * (8 * 8 + 8 * 50)
    assert training.step_flops(config, 7, 12, 2) == 6 * 7 * per_text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"warmup": 20}, r"20 steps with 20 of warm-up: expected more steps"),
        ({"learning_rate": 0.0}, r"learning_rate is 0.0, expected a positive number"),
        ({"clip": float("nan")}, r"clip is nan, expected a positive number"),
        ({"weight_decay": -1.0}, r"weight_decay is -1.0, expected 0 or more"),
    ],
)
def test_impossible_recipes_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(RECIPE, **changes)


def test_impossible_batches_and_models_are_refused() -> None:
    with pytest.raises(ValueError, match=r"answer share 1.2: expected 0 to 1"):
        BatchPlan(0, 100, 1.2)
    with pytest.raises(ValueError, match=r"batches of 0 tokens: expected at least 1"):
        BatchPlan(0, 0, 0.5)
    with pytest.raises(ValueError, match=r"the model to train: num_attention_heads"):
        training.bert_config(
            vocab_size=50, layers=1, width=8, neurons=16, heads=3, context_length=16
        )


def test_recall_is_that_of_whole_forwards() -> None:
    lm = tiny("bert")
    asked = [
        Statement("w3 w5 [Y] w9", "w7", "x"),
        Statement("[Y] w8", "w11", "x"),
        Statement("w10 w3 w2 w12 w13 w9 w9 [Y]", "w2", "x"),
        Statement("w4 [Y]", "w7 w8", "x"),
        Statement("w4 w4", None, "x"),
    ]
    single = single_token_facts(lm, asked)
    assert single == asked[:3]
    found = recall_of(lm, fact_probes(lm, single))
    for number, fact in enumerate(single):
        tokens = lm.tokenizer(fact.masked)["input_ids"]
        logits, _ = full_forward(lm, np.asarray(tokens))
        p = softmax(logits[tokens.index(lm.tokenizer.mask_token_id)])
        target = lm.tokenizer(fact.answer)["input_ids"][0]
        assert found.probability[number] == pytest.approx(p[target], rel=1e-5)
        assert found.first[number] == (p.argmax() == target)
    first = Statement(single[0].text, VOCABULARY[int(first_token(lm, single[0]))], "x")
    assert recall_of(lm, fact_probes(lm, [first])).first.all()


def first_token(lm: LanguageModel, fact: Statement) -> int:
    tokens = lm.tokenizer(fact.masked)["input_ids"]
    logits, _ = full_forward(lm, np.asarray(tokens))
    return int(logits[tokens.index(lm.tokenizer.mask_token_id)].argmax())
