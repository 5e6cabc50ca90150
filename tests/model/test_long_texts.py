"""Attention of long texts: the numbers of a dense softmax, without the memory of one."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from negjax.execution.batching import Split, split_probes
from negjax.execution.running import needed_bytes
from negjax.inputs.probes import Probes
from negjax.measurements.gradient_runs import gradient_program
from negjax.model import attention
from negjax.model.attention import KeysValues, Rules, mix
from negjax.model.language_model import LanguageModel
from negjax.model.placement import Placement
from tests.support.block_shapes import BERT, GATED, precision, tiny_of

PROMPTS, LENGTH, PREFIX, HEAD, KV_HEADS, SHARED, WIDTH = 2, 23, 5, 3, 2, 2, 4
LENGTHS = (512, 1024, 2048)


def drawn(before: bool) -> tuple[jax.Array, KeysValues, Placement, KeysValues, KeysValues]:
    """Queries, their own keys and values, where they stand, and what may lie before them."""
    draw = np.random.default_rng(0).normal
    g, c = KV_HEADS, WIDTH
    query = jnp.asarray(draw(size=(PROMPTS, 1, LENGTH, g, SHARED, c)))
    own, prefix, head = (
        KeysValues(*(jnp.asarray(draw(size=shape)) for _ in range(2)))
        for shape in ((PROMPTS, 1, LENGTH, g, c), (PROMPTS, g, PREFIX, c), (g, HEAD, c))
    )
    first = HEAD + PREFIX if before else 0
    positions = first + np.tile(np.arange(LENGTH), (PROMPTS, 1))
    mask = np.arange(LENGTH) < np.asarray([[LENGTH], [LENGTH - 4]])
    prefix_mask = np.arange(PREFIX) < np.asarray([[PREFIX], [2]])
    where = Placement(
        positions=jnp.asarray(positions),
        mask=jnp.asarray(mask),
        prefix_mask=jnp.asarray(prefix_mask) if before else None,
        head_mask=jnp.ones(HEAD, bool) if before else None,
    )
    return query, own, where, prefix, head


def dense(
    query: Any, own: Any, where: Placement, prefix: Any, head: Any, causal: bool, window: int
) -> jax.Array:
    """Softmax over all keys in one matrix of scores."""
    before = where.prefix_mask is not None
    keys, values = (x[:, 0].swapaxes(1, 2) for x in own)
    seen = np.tile(np.asarray(where.mask)[:, None], (1, LENGTH, 1))
    if causal:
        seen = seen & np.tri(LENGTH, dtype=bool)
    place = np.asarray(where.positions)
    if before:
        common = (jnp.broadcast_to(x, (PROMPTS, *x.shape)) for x in head)
        parts = zip(common, prefix, (keys, values), strict=True)
        keys, values = (jnp.concatenate(three, axis=2) for three in parts)
        earlier = np.concatenate([np.ones((PROMPTS, HEAD), bool), where.prefix_mask], 1)
        earlier = np.tile(earlier[:, None], (1, LENGTH, 1))
        seen = np.concatenate([earlier, seen], 2)
        place = np.concatenate([np.tile(np.arange(HEAD + PREFIX), (PROMPTS, 1)), place], 1)
    apart = np.abs(np.asarray(where.positions)[:, :, None] - place[:, None])
    seen = seen & (apart < window)
    scores = jnp.einsum("psgjc,pguc->psgju", query[:, 0], keys)
    scores = jnp.where(seen[:, :, None, None], scores, -jnp.inf)
    weights = jax.nn.softmax(scores, axis=-1)
    return jnp.einsum("psgju,pguc->psgjc", weights, values)[:, None]


@pytest.mark.parametrize("before", [False, True], ids=["alone", "after"])
@pytest.mark.parametrize("window", [None, 6])
@pytest.mark.parametrize("causal", [True, False], ids=["causal", "masked"])
def test_loops_over_blocks_are_a_softmax(
    causal: bool, window: int | None, before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bands of several blocks, the last with a part of a block; and their derivative."""
    monkeypatch.setattr(attention, "QUERY_BLOCK", 3)
    monkeypatch.setattr(attention, "MOST_BANDS", 3)
    with precision("float64"):
        query, own, where, prefix, head = drawn(before)
        rules = Rules(
            causal=causal, window=None if window is None else jnp.asarray(window), cap=None
        )
        first, second = (prefix, head) if before else (None, None)
        real = where.mask[:, None, :, None, None, None]

        def looped(query: Any, own: Any) -> jax.Array:
            return jnp.where(real, mix(query, own, where, first, second, rules), 0)

        def expected(query: Any, own: Any) -> jax.Array:
            found = dense(query, own, where, prefix, head, causal, window or 10**6)
            return jnp.where(real, found, 0)

        def with_derivative(function: Any, query: Any, own: Any) -> Any:
            values, pull = jax.vjp(function, query, own)
            return values, pull(jnp.cos(values))

        assert "scan" in str(jax.make_jaxpr(looped)(query, own))
        found, wanted = (
            jax.jit(functools.partial(with_derivative, function))(query, own)
            for function in (looped, expected)
        )
        for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
            assert x.shape == y.shape and float(jnp.abs(x - y).max()) < 1e-12


def long_model(causal: bool) -> LanguageModel:
    config = dataclasses.replace(GATED if causal else BERT, layers=2, context_length=4096)
    return tiny_of(config, "float32")


def long_split(lm: LanguageModel, length: int) -> Split:
    """Of one prompt with two targets, whose read position is its last token."""
    tokens = np.resize(np.arange(1, 20, dtype=np.int32), (1, length))
    ids = np.asarray([[[1], [2]]])
    probes = Probes(
        prompts=("",),
        targets=(("a", "b"),),
        tokens=tokens,
        mask=np.ones_like(tokens, bool),
        read=np.asarray([length - 1]),
        target_ids=ids,
        target_mask=np.ones_like(ids, bool),
    )
    return split_probes(lm.config, probes, np.asarray([0]))


def equations(jaxpr: Any) -> Iterator[Any]:
    """Of a program, loops' bodies included."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=is_program):
            if is_program(inner):
                yield from equations(getattr(inner, "jaxpr", inner))


def is_program(value: object) -> bool:
    return hasattr(value, "eqns")


@pytest.mark.slow
@pytest.mark.parametrize("causal", [True, False], ids=["causal", "masked"])
def test_gradients_of_long_texts_grow_with_their_tokens(causal: bool) -> None:
    """Neither memory nor the program grows faster; a masked LM is also differentiated so."""
    lm = long_model(causal)
    site = lm.config.site(None)
    memory, sizes = [], []
    for length in LENGTHS:
        split = long_split(lm, length)
        memory.append(needed_bytes(lm, gradient_program, split, site, "probability", False, None))
        traced = gradient_program.trace(
            lm.graphdef, lm.params, split, site, "probability", False, None
        )
        sizes.append(sum(1 for _ in equations(traced.jaxpr.jaxpr)))
    # All scores would be 16 times as much of 2,048 tokens as of 512.
    assert memory[2] < 2.1 * memory[1] and memory[2] < 5 * memory[0], memory
    # Blocks of up to 512 tokens are written out, those of longer texts are a loop, which older JAX
    # says with a quarter more. The last band may or may not end with a part of a block.
    assert max(sizes[1:]) < 1.2 * min(sizes[1:]) and sizes[1] < 1.5 * sizes[0], sizes
