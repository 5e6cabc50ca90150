"""Models with an input-independent shift of their neurons folded into the down-projections' bias.

A shift δ [L, F] at site `act` or `product`, the same for every input and at every position, adds
δ[l] · W_down[l] to the output of each layer's down-projection, as a bias does.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from negjax.control.odds import target_log_odds
from negjax.execution.batching import Split, split_probes
from negjax.execution.plans import plan_prompts, sizes_of
from negjax.execution.running import run_program
from negjax.inputs.probes import Probes
from negjax.model.config import ModelConfig, Site
from negjax.model.language_model import LanguageModel
from negjax.model.meshes import to_host
from negjax.model.streamed import entry_of
from negjax.replay.layer_reductions import whole_rows
from negjax.replay.suffixes import run, take_scored
from negjax.weights.conversion import abstract_model
from negjax.weights.families import family_of
from negjax.weights.loading import fingerprint

KERNEL, BIAS = ("blocks", "ffn", "down", "kernel"), ("blocks", "ffn", "down", "bias")


def folded_site(config: ModelConfig, site: str | None) -> Site:
    """The site asked for, or by default the down-projection's input.

    Raises:
        ValueError: the model has no such site, or shifts there do not fold into a bias.
    """
    chosen = config.sites[-1] if site is None else config.site(site)
    if chosen == "up":
        raise ValueError(
            "site 'up': what a shift there writes depends on the gate, hence on the input, and "
            "folds into no bias; pass site='product'"
        )
    return chosen


def refuse_experts(lm: LanguageModel) -> None:
    """Refuses a model whose shifts, the same for every input, do not write the same.

    Raises:
        ValueError: it has experts.
    """
    if lm.config.experts:
        raise ValueError(
            f"{lm.name}: what a shift writes in a mixture of experts depends on which of them a "
            "token passes, so that no bias and no vector holds it; steer() shifts one prompt's "
            "neurons"
        )


def with_bias(lm: LanguageModel) -> LanguageModel:
    """The model with biases in its feed-forward layers: its own, or zeros, which change nothing.

    Raises:
        ValueError: its family's layout has no such biases, so that they could not be saved.
    """
    if lm.config.ffn_bias:
        return lm
    refuse_experts(lm)
    config = dataclasses.replace(lm.config, ffn_bias=True)
    family = family_of(config.family, lm.name)
    if family.config_from_hf(family.config_to_hf(config), lm.name) != config:
        raise ValueError(
            f"{lm.name}: models of family {config.family!r} have no bias in their feed-forward "
            "layers in Hugging Face's layout, so an edit that is folded into one could not be "
            "saved; those of llama, gpt2 and bert have"
        )
    graphdef, empty = abstract_model(config, lm.dtype)
    own = dict(nnx.to_flat_state(lm.params))
    params = nnx.from_flat_state(
        [
            (key, own[key] if key in own else leaf.replace(jnp.zeros(leaf.shape, lm.dtype)))
            for key, leaf in nnx.to_flat_state(empty)
        ]
    )
    return dataclasses.replace(lm, config=config, graphdef=graphdef, params=params)


def with_shift(params: nnx.State[Any, Any], shift: jax.Array) -> nnx.State[Any, Any]:
    """Parameters with a shift [L, F] added to the biases, which take its dtype."""
    flat = dict(nnx.to_flat_state(params))
    bias = flat[BIAS].get_value()
    flat[BIAS] = flat[BIAS].replace(bias.astype(shift.dtype) + written(params, shift))
    return nnx.from_flat_state(list(flat.items()))


def written(params: nnx.State[Any, Any], shift: jax.Array) -> jax.Array:
    """[L, D], what a shift [L, F] adds to the output of each layer's down-projection."""
    kernel = dict(nnx.to_flat_state(params))[KERNEL].get_value()
    result: jax.Array = jax.lax.map(
        lambda layer: shift[layer] @ entry_of(kernel, layer).astype(shift.dtype),
        jnp.arange(len(shift)),
    )
    return result


def fold(lm: LanguageModel, shift: np.ndarray, name: str) -> LanguageModel:
    """A model of its own with the shift [L, F] folded in, its biases rounded to the weights' dtype.

    Raises:
        ValueError: as `with_bias`.
    """
    biased = with_bias(lm)
    with lm.numerics():
        params = with_shift(biased.params, jnp.asarray(shift, lm.compute_dtype))
    params = jax.tree.map(lambda leaf: leaf.astype(lm.dtype), params)
    return dataclasses.replace(biased, name=name, params=params, fingerprint=fingerprint(params))


@dataclasses.dataclass(frozen=True)
class FoldedForwards:
    """Mean log-odds of prompts' targets with a folded shift: a `search.Surface` of one problem.

    The shift acts at every position, so the whole text is run for each shift: the edited model's
    own forward, differentiated with respect to what is added to its biases.
    """

    lm: LanguageModel
    """With biases."""
    batches: tuple[Split, ...]
    """The prompts; a suffix holds all tokens of its prompt."""
    order: np.ndarray
    """[B], the number of each prompt in the order of the batches."""

    def along(self, base: np.ndarray, direction: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """[1, R] at base + step · direction, of base and direction [1, L, F], steps [1, R]."""
        arrays = [jnp.asarray(a[0], self.lm.compute_dtype) for a in (base, direction, steps)]
        found = [run_program(self.lm, _along, split, *arrays) for split in self.batches]
        result: np.ndarray = np.concatenate([to_host(odds) for odds in found], axis=1).mean(1)[None]
        return result

    def slope(self, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """[1] and gradient [1, L, F] at shifts [1, L, F]."""
        moved = jnp.asarray(shift[0], self.lm.compute_dtype)
        found = [run_program(self.lm, _slope, split, moved) for split in self.batches]
        odds = np.concatenate([to_host(own) for own, _ in found])
        gradient = np.sum([to_host(g).astype(np.float64) for _, g in found], axis=0) / len(odds)
        return odds.mean(keepdims=True), gradient[None]

    def each_slope(self) -> np.ndarray:
        """[B, L, F], gradients of every prompt's log-odds without a shift."""
        found = [run_program(self.lm, _each_slope, split) for split in self.batches]
        return np.concatenate([to_host(gradient) for gradient in found])[np.argsort(self.order)]


def folded_forwards(
    lm: LanguageModel, probes: Probes, *, rows: int, budget_bytes: int
) -> FoldedForwards:
    """Of a model with biases, and one target of each prompt; batches that fit `rows` shifts."""
    sizes = sizes_of(lm, probes, whole=True)
    each = max(sizes.gradient_bytes, rows * sizes.active_row_bytes)
    # A mean over the prompts counts each of them once: none is repeated to fill a batch up.
    batches = [
        batch.members for batch in plan_prompts(probes, sizes, each, len(probes), budget_bytes)
    ]
    splits = (whole_text(split_probes(lm.config, probes, index, 0)) for index in batches)
    return FoldedForwards(lm, tuple(splits), np.concatenate(batches))


def whole_text(split: Split) -> Split:
    """The same prompts, all of whose tokens are in the suffix."""
    whole = whole_rows(split.prefix_tokens, split.prefix_mask, split.suffix)
    return split._replace(prefix_tokens=None, prefix_mask=None, suffix=whole)


def _log_odds(
    graphdef: nnx.GraphDef[Any], params: nnx.State[Any, Any], split: Split, shift: jax.Array
) -> jax.Array:
    """[P], with a shift [L, F] folded in."""
    model = nnx.merge(graphdef, with_shift(params, shift))
    resid = run(model, None, None, split.suffix).resid
    scored = take_scored(resid, split.suffix, split.targets.shape[2])
    return target_log_odds(model, scored, split.targets, split.real)[:, 0]


@functools.partial(jax.jit, static_argnums=0)
def _along(
    graphdef: nnx.GraphDef[Any],
    params: nnx.State[Any, Any],
    split: Split,
    base: jax.Array,
    direction: jax.Array,
    steps: jax.Array,
) -> jax.Array:
    """[R, P]."""
    return jax.vmap(lambda s: _log_odds(graphdef, params, split, base + s * direction))(steps)


@functools.partial(jax.jit, static_argnums=0)
def _slope(
    graphdef: nnx.GraphDef[Any], params: nnx.State[Any, Any], split: Split, shift: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """[P], and the gradient [L, F] of their sum."""
    odds, pull = jax.vjp(lambda s: _log_odds(graphdef, params, split, s), shift)
    return odds, pull(jnp.ones_like(odds))[0]


@functools.partial(jax.jit, static_argnums=0)
def _each_slope(
    graphdef: nnx.GraphDef[Any], params: nnx.State[Any, Any], split: Split
) -> jax.Array:
    """[P, L, F] without a shift."""
    kernel = dict(nnx.to_flat_state(params))[KERNEL].get_value()
    none = jnp.zeros(kernel.shape[:2], jnp.promote_types(kernel.dtype, jnp.float32))
    odds, pull = jax.vjp(lambda s: _log_odds(graphdef, params, split, s), none)
    result: jax.Array = jax.lax.map(lambda row: pull(row)[0], jnp.eye(odds.size, dtype=odds.dtype))
    return result
