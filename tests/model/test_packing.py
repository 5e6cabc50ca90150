"""A pass without the padding, and a way back that multiplies nothing twice: the same numbers."""

from typing import Any
from unittest import mock

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import strategies as st

from negjax.execution import batching
from negjax.execution.batching import Split, split_probes
from negjax.execution.common_heads import run_common_head
from negjax.inputs.probes import Probes
from negjax.measurements.gradients import neurgrad
from negjax.model.language_model import LanguageModel
from negjax.model.packing import packed_rows
from negjax.model.transformer import Transformer, linearise
from negjax.replay.shifted_suffixes import pull_back
from negjax.replay.suffixes import Pass, run
from tests.support.block_shapes import JOINT_TARGETS, error, precision, tiny, tiny_probes

ROUNDING = {"float32": 3e-6, "float64": 1e-13}
# Three prompts of 5, 6 and 8 tokens, as 3 × (8 + 1) or 3 × 8: enough padding to leave out.
MODELS = [
    ("gated", {}),
    ("gated", {"qk_norm": True, "kv_heads": 1, "qkv_bias": True}),
    ("gpt2", {}),
    ("bert", {}),
]


# Every shape is a program of its own.
@hypothesis.settings(max_examples=30)
@hypothesis.given(
    st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=1, max_size=5),
    st.integers(0, 3),
)
def test_packing_keeps_every_real_token(rows, spare):
    mask = np.asarray(rows)
    hypothesis.assume(mask.any())
    size = int(mask.sum()) + spare
    packing = packed_rows(mask, size)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(len(mask), 1, 6, 2)))
    packed = packing.pack(x)
    assert packed.shape == (1, 1, size, 2)
    back = packing.unpack(packed)
    assert back.shape == x.shape
    np.testing.assert_array_equal(np.asarray(back)[:, 0][mask], np.asarray(x)[:, 0][mask])


@pytest.fixture(autouse=True)
def _small_savings_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "PACKED_TOKENS", 1)


def test_padding_is_left_out_where_there_is_enough_of_it(monkeypatch):
    lm = tiny("gated")
    probes = tiny_probes(lm)
    index = np.arange(3)

    def packing(index: np.ndarray) -> Any:
        return split_probes(lm.config, probes, index, pack=True).packing

    # 19 real tokens of 3 × (8 + 1), in a bucket.
    assert packing(index).place.shape == (20,) and packing(index).at.shape == (3, 9)
    assert split_probes(lm.config, probes, index).packing is None
    # The longest alone: 8 of 8 + 1.
    monkeypatch.setattr(batching, "PACKED_SHARE", 0.88)
    assert packing(index[2:]) is None and packing(index) is not None
    monkeypatch.setattr(batching, "PACKED_TOKENS", 8)
    assert packing(index) is None


def passes(model: Transformer, split: Split, **options: Any) -> tuple[Pass, Pass]:
    """Packed and with padding."""
    before = split.prefix_tokens, split.prefix_mask, split.suffix
    assert split.packing is not None
    return run(model, *before, packing=split.packing, **options), run(model, *before, **options)


@pytest.mark.parametrize(("shape", "changes"), MODELS[1:])
def test_packed_passes_are_padded_ones(shape, changes):
    """Everything that a pass returns, wherever it is of a real token."""
    lm = tiny(shape, **changes)
    split = split_probes(lm.config, tiny_probes(lm), np.arange(3), pack=True)
    packed, padded = passes(nnx.merge(lm.graphdef, lm.params), split, keep_products=True)
    real = np.asarray(split.suffix.mask)
    for found, expected in zip(
        jax.tree.leaves((packed.trace._replace(at_positions={}), packed.resid[:, 0][None])),
        jax.tree.leaves((padded.trace._replace(at_positions={}), padded.resid[:, 0][None])),
        strict=True,
    ):
        assert found.dtype == expected.dtype
        assert error(np.asarray(found)[:, real], np.asarray(expected)[:, real]) < 3e-6
    for name, expected in padded.trace.at_positions.items():
        assert error(np.asarray(packed.trace.at_positions[name]), np.asarray(expected)) < 3e-6
    if padded.prefix is not None:
        assert packed.prefix is not None
        real = np.asarray(split.prefix_mask)
        for found, expected in zip(packed.prefix.layers, padded.prefix.layers, strict=True):
            own = (np.asarray(x).swapaxes(2, 3)[:, real] for x in (found, expected))
            assert error(*own) < 3e-6


def test_packed_after_a_common_head():
    lm = tiny("gated")
    probes = tiny_probes(lm)
    tokens = np.pad(probes.tokens, ((0, 0), (2, 0)), constant_values=7)
    mask = np.pad(probes.mask, ((0, 0), (2, 0)), constant_values=True)
    # Padding is on the left of what was encoded: the head must come first.
    order = np.argsort(~mask, axis=1, kind="stable")
    longer = Probes(
        prompts=probes.prompts,
        targets=probes.targets,
        tokens=np.take_along_axis(tokens, order, 1),
        mask=np.take_along_axis(mask, order, 1),
        read=mask.sum(1) - 1,
        target_ids=probes.target_ids,
        target_mask=probes.target_mask,
    )
    split = split_probes(lm.config, longer, np.arange(3), head=2, pack=True)
    head = run_common_head(lm, longer.tokens[0, :2])
    packed, padded = passes(nnx.merge(lm.graphdef, lm.params), split, head=head)
    assert error(np.asarray(packed.resid), np.asarray(padded.resid)) < 3e-6


@pytest.mark.parametrize(
    ("shape", "changes", "joint", "linear", "dtype"),
    [
        (*MODELS[0], False, False, "float64"),
        (*MODELS[0], True, True, "float32"),
        (*MODELS[1], True, False, "float64"),
        (*MODELS[2], False, True, "float64"),
        (*MODELS[2], True, False, "float32"),
    ],
)
def test_recalled_products_give_the_same_gradients(shape, changes, joint, linear, dtype):
    """With products from the pass, and with all multiplied again; by RelP's rules, too."""
    with precision(dtype):
        lm = tiny(shape, dtype, **changes)
        probes = tiny_probes(lm, JOINT_TARGETS, "all") if joint else tiny_probes(lm)
        split = split_probes(lm.config, probes, np.arange(3), 0, pack=True)
        model = nnx.merge(lm.graphdef, lm.params)
        before = split.prefix_tokens, split.prefix_mask, split.suffix
        kept, bare = (run(model, *before, keep_products=keep) for keep in (True, False))
        names = {"query", "key", "value", "out", "up"} | ({"gate"} if lm.config.gated else set())
        assert set(kept.trace.products) == names and not bare.trace.products
        if linear:
            model = linearise(lm.graphdef, lm.params)
        random = np.random.default_rng(0).normal(size=(2, *bare.resid.shape))
        cotangents = jnp.asarray(random, bare.resid.dtype)
        site = lm.config.sites[0]
        found, expected = (
            np.asarray(pull_back(model, passed, split.suffix, cotangents, site))
            for passed in (kept, bare)
        )
        assert error(found, expected) < ROUNDING[dtype]


def multiplied(lm: LanguageModel, passed: Pass, split: Split) -> int:
    """Matrix products of the way back through one layer."""
    model = nnx.merge(lm.graphdef, lm.params)
    cotangents = jnp.ones((1, *passed.resid.shape))

    def back(passed: Pass) -> jax.Array:
        return pull_back(model, passed, split.suffix, cotangents, "up")

    return str(jax.jit(back).lower(passed).compile().as_text()).count(" dot(")


def test_a_recalled_product_is_not_multiplied():
    """Six maps, of which the way back otherwise needs the results."""
    lm = tiny("gated")
    split = split_probes(lm.config, tiny_probes(lm), np.arange(3))
    model = nnx.merge(lm.graphdef, lm.params)
    before = split.prefix_tokens, split.prefix_mask, split.suffix
    kept, bare = (run(model, *before, keep_products=keep) for keep in (True, False))
    assert multiplied(lm, bare, split) - multiplied(lm, kept, split) == 6


@pytest.mark.parametrize("shape", ["gated", "bert"])
def test_neurgrad_runs_no_padding(shape):
    lm = tiny(shape)
    probes = tiny_probes(lm)
    with mock.patch.object(batching, "packed_rows", wraps=packed_rows) as spy:
        together = neurgrad(lm, probes)
        assert spy.call_count == 1
    for row in range(3):
        alone = neurgrad(lm, probes.select(np.asarray([row])))
        assert error(together.computed[[row]], alone.computed) < 3e-6
        assert error(together.activation[[row]], alone.activation) < 3e-6
