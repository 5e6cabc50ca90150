"""Rows that leave out most of the vocabulary, against sums over all of it in float64."""

from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from negjax.inputs.encoding import encode
from negjax.measurements.sweeps import sweep
from negjax.model.transformer import Transformer
from negjax.replay import readout, tails
from negjax.replay.readout import read_rows
from negjax.replay.tails import read_with_tails, safe_tails, tails_of
from tests.support.block_shapes import (
    SHAPES,
    error,
    one_neuron_a_layer,
    precision,
    tiny,
    tiny_probes,
)

BLOCK, ROWS = 4, 48


@pytest.fixture
def small_blocks(monkeypatch):
    """Tails of the 24 tokens begin at the 4th, 8th and 16th."""
    monkeypatch.setattr(readout, "VOCAB_BLOCK", BLOCK)
    jax.clear_caches()
    yield
    jax.clear_caches()


def peaked(shape: str, dtype: str) -> Transformer:
    """A random model with a sharper output, so that tails are light."""
    lm = tiny(shape, dtype)
    model = nnx.clone(nnx.merge(lm.graphdef, lm.params))
    last = model.head.dense_norm if lm.config.mlm_head else model.head.norm
    last.scale[...] = jnp.full(16, 3.0, dtype)
    return model


def residuals(dtype: str) -> np.ndarray:
    """[1, R, 1, D], the first without a shift, the others farther and farther from it."""
    generator = np.random.default_rng(2)
    resid = generator.normal(size=(1, ROWS, 1, 16))
    distance = np.r_[0, np.geomspace(1e-6, 30, ROWS)[1:]][:, None, None]
    return np.asarray(resid[:, :1] + distance * generator.normal(size=(1, ROWS, 1, 16)), dtype)


@pytest.mark.parametrize("shape", ["gated", "bert"])
@pytest.mark.parametrize("tolerance", [1e-3, 1e-5, 1e-7, 1e-11])
def test_what_is_called_safe_is(small_blocks, shape, tolerance):
    """The sum over head and tail is that over all tokens to within the tolerance."""
    with precision("float64"):
        model, resid = peaked(shape, "float64"), residuals("float64")[0, :, 0]
        found = jax.jit(lambda: tails_of(model, jnp.asarray(resid[0]), jnp.asarray([7])))()
        features = model.head.features(jnp.asarray(resid))
        safe = jax.jit(lambda: safe_tails(found, features, tolerance))()
        need, left_out = (np.asarray(x) for x in safe)
        logits = np.asarray(model.logits(jnp.asarray(resid)))
        order, rank = np.asarray(found.order), np.asarray(found.rank)
    assert order[0] == 7 and rank[7] == 0 and sorted(order) == list(range(24))
    exact = np.exp(logits)
    head = np.where(rank < need[:, None], exact, 0).sum(1)
    worst = np.abs((head + np.exp(left_out)) / exact.sum(1) - 1)
    assert (worst < tolerance + 1e-14).all()
    # The rows near the unperturbed one read least, the farthest ones everything.
    assert need[0] == BLOCK and need[-1] == 24 and len(set(need.tolist())) > 2
    # And it is not for want of anything to leave out.
    assert (np.abs(head / exact.sum(1) - 1) > tolerance).any()


@pytest.mark.parametrize(("dtype", "chunk"), [("float32", 4), ("float32", 48), ("float64", 16)])
@pytest.mark.parametrize("shape", SHAPES)
def test_scores_are_those_of_the_whole_vocabulary(small_blocks, shape, dtype, chunk):
    with precision(dtype):
        model, resid = peaked(shape, dtype), jnp.asarray(residuals(dtype))
        targets = jnp.asarray([[[7], [20], [3]]], jnp.int32)
        real = jnp.asarray([[[True], [True], [False]]])
        given = (model, resid, targets, real)
        found = jax.jit(lambda: read_with_tails(*given, 41, chunk, resid[:, 0, 0]))()
        expected = jax.jit(lambda: read_rows(*given, ROWS // chunk, chunk))()
    assert found.spread is None and not np.asarray(found.log_probability[..., 2]).any()
    rounding = 8 * float(jnp.finfo(dtype).eps)
    for ours, theirs in zip(found[:2], expected[:2], strict=True):
        assert error(np.asarray(ours[:, :41]), np.asarray(theirs[:, :41])) < rounding


def test_rows_without_a_shift_read_one_block_only(small_blocks, monkeypatch):
    """Nothing behind the first block reaches them: those tokens' embeddings may be anything."""
    model, resid = peaked("gated", "float32"), jnp.asarray(residuals("float32"))
    real, target = jnp.ones((1, 1, 1), bool), jnp.full((1, 1, 1), 7, jnp.int32)
    honest = tails_of(model, resid[0, 0, 0], target[0, :, 0])
    rows, unperturbed = resid[:, :4], resid[:, 0, 0]

    def read(model: Transformer) -> np.ndarray:
        given = (model, rows, target, real, 4, 4, unperturbed)
        return np.asarray(jax.jit(lambda: read_with_tails(*given))().log_probability)

    expected = read(model)
    behind = np.asarray(honest.order)[BLOCK:]
    spoilt = nnx.clone(model)
    table = spoilt.head.output if spoilt.head.output is not None else spoilt.embedding.token
    table[...] = table[...].at[behind].set(jnp.nan)
    monkeypatch.setattr(tails, "tails_of", lambda *given: honest)
    np.testing.assert_array_equal(read(spoilt), expected)


@pytest.mark.parametrize("shape", SHAPES)
def test_sweeps_of_many_rows_take_them(small_blocks, monkeypatch, shape):
    lm = tiny(shape)
    probes = tiny_probes(lm).select([1])
    shifts = np.geomspace(1e-4, 20, 30)
    expected = sweep(lm, probes, one_neuron_a_layer(lm), shifts, target=0)
    taken = mock.Mock(wraps=tails.tails_of)
    monkeypatch.setattr(tails, "ROWS_A_WIDTH", 1)
    monkeypatch.setattr(tails, "tails_of", taken)
    jax.clear_caches()
    found = sweep(lm, probes, one_neuron_a_layer(lm), shifts, target=0)
    taken.assert_called_once()
    assert error(found.log_probability, expected.log_probability) < 1e-6
    assert error(found.baseline_log_probability, expected.baseline_log_probability) < 1e-6
    np.testing.assert_array_equal(found.logit, expected.logit)


def test_few_rows_and_other_dtypes_do_not(small_blocks, monkeypatch):
    model = peaked("gated", "float32")
    assert tails.worthwhile(model, 4 * 16, jnp.dtype("float32"))
    assert not tails.worthwhile(model, 4 * 16 - 1, jnp.dtype("float32"))
    assert not tails.worthwhile(model, 4 * 16, jnp.dtype("float64"))
    monkeypatch.setattr(readout, "VOCAB_BLOCK", 24)
    assert not tails.worthwhile(model, 4 * 16, jnp.dtype("float32"))


def test_the_embedded_model_loses_nothing(smollm2, monkeypatch):
    """Changes of log P, of few tokens' products and of all, differ by rounding alone."""
    probes = encode(smollm2, ["The capital of France is"], ["Paris"])
    neurons = np.asarray([(2, 11), (9, 700), (17, 3), (28, 1500)])
    shifts = np.asarray([-10.0, -1.0, -0.1, 0.1, 1.0, 10.0])
    expected = sweep(smollm2, probes, neurons, shifts)
    needs: list[np.ndarray] = []
    original = tails.safe_tails

    def noted(*given: Any) -> tuple[jax.Array, jax.Array]:
        need, left_out = original(*given)
        jax.debug.callback(lambda x: needs.append(np.asarray(x)), need)
        return need, left_out

    monkeypatch.setattr(tails, "ROWS_A_WIDTH", 0)
    monkeypatch.setattr(tails, "safe_tails", noted)
    jax.clear_caches()
    found = sweep(smollm2, probes, neurons, shifts)
    jax.effects_barrier()
    jax.clear_caches()
    read = np.concatenate(needs)
    assert (read < 49152).mean() > 0.5 and read.min() == readout.VOCAB_BLOCK
    difference = found.change("log_probability") - expected.change("log_probability")
    # Both values of a change, with the shift and without, are rounded at their sum's size.
    size = np.abs(expected.logit - expected.log_probability).max()
    assert np.abs(difference).max() <= 2 * np.spacing(np.float32(size))
    np.testing.assert_array_equal(found.logit, expected.logit)
