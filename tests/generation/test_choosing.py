"""Draws against the distribution that they are draws of."""

import jax
import jax.numpy as jnp
import numpy as np

from negjax.generation.choosing import Draws, in_nucleus, next_tokens


def draws(count: int, temperature: float = 1.0, top_p: float = 1.0) -> Draws:
    return Draws(
        temperature=jnp.float32(temperature),
        top_p=jnp.float32(top_p),
        seed=jnp.uint32(5),
        prompt=jnp.arange(count, dtype=jnp.int32),
    )


def test_frequencies_are_probabilities():
    logits, count = jnp.asarray([0.5, 2.0, -1.0, 1.0]), 20_000
    found = next_tokens(
        jnp.tile(logits, (count, 1)),
        draws(count, 2.0),
        jnp.int32(3),
        greedy=False,
        whole=True,
    )
    share = np.bincount(found, minlength=4) / count
    expected = np.asarray(jax.nn.softmax(logits / 2))
    # Four standard deviations of a share.
    assert (np.abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / count)).all()


def test_what_a_nucleus_leaves_out_is_never_drawn():
    logits, count = jnp.log(jnp.asarray([0.1, 0.45, 0.25, 0.2])), 2_000
    found = next_tokens(
        jnp.tile(logits, (count, 1)),
        draws(count, top_p=0.6),
        jnp.int32(0),
        greedy=False,
        whole=False,
    )
    assert set(np.asarray(found).tolist()) == {1, 2}


def test_a_nucleus_is_the_fewest_tokens():
    logits = np.random.default_rng(0).normal(size=(5, 12)).astype(np.float32) * 2
    logits[0] = 0.0
    kept = np.asarray(in_nucleus(jnp.asarray(logits), jnp.float32(0.7)))
    for row, own in zip(logits.astype(np.float64), kept, strict=True):
        probability = np.exp(row) / np.exp(row).sum()
        fewest = probability[own].sum() - probability[own].min()
        assert fewest < 0.7 <= probability[own].sum() + 1e-6
        assert probability[own].min() >= probability[~own].max(initial=0)
    assert kept[0].tolist() == [True] * 9 + [False] * 3
    smallest = in_nucleus(jnp.asarray(logits), jnp.float32(1e-9))
    np.testing.assert_array_equal(np.asarray(smallest).argmax(1), logits.argmax(1))
    assert (smallest.sum(1) == 1).all()


def test_the_likeliest_of_equals_is_the_lowest():
    found = next_tokens(
        jnp.asarray([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]]),
        draws(2),
        jnp.int32(0),
        greedy=True,
        whole=True,
    )
    assert found.tolist() == [1, 0]
