"""Tiny models that can be sure of an answer: `block_shapes` with sharper logits."""

import dataclasses
import functools
from typing import Any, cast

import jax.numpy as jnp
from flax import nnx

from negjax.model.language_model import LanguageModel
from negjax.weights.loading import fingerprint
from tests.support.block_shapes import precision, tiny

# No direction of the last residual gives the tiny models' targets more than P = 0.13 to 0.5: the
# final norm bounds the logits. Multiplied by this, nearly any P is within reach of a shift.
SHARPNESS = 4
NORMS = {True: "dense_norm", False: "norm"}
"""The last one, of a masked LM's head or not."""


@functools.cache
def sharp(shape: str, dtype: str = "float32", **changes: str | int) -> LanguageModel:
    """A tiny model whose logits are `SHARPNESS` times as large."""
    lm = tiny(shape, dtype, **cast(Any, changes))
    scales = {("head", NORMS[lm.config.mlm_head], name) for name in ("scale", "bias")}
    with precision(dtype):
        params = nnx.from_flat_state(
            [
                (key, leaf.replace(leaf.get_value() * SHARPNESS) if key in scales else leaf)
                for key, leaf in nnx.to_flat_state(lm.params)
            ]
        )
        assert all(
            leaf.get_value().dtype == jnp.dtype(dtype) for _, leaf in nnx.to_flat_state(params)
        )
        return dataclasses.replace(lm, params=params, fingerprint=fingerprint(params))
