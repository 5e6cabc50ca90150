"""Log-odds of targets while all neurons of a prompt are shifted at once, and their gradient.

Log-odds λ = log P − log(1 − P), from the logits themselves, so that they are as precise for P near
1 as for P near 0.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from negjax.execution.batching import DEFAULT_BUDGET_BYTES, Split, split_probes
from negjax.execution.passes import unperturbed_pass
from negjax.execution.plans import Planned
from negjax.execution.row_plans import STEPS
from negjax.execution.running import Run
from negjax.inputs.probes import Probes
from negjax.model.config import SiteOrPlace
from negjax.model.language_model import LanguageModel
from negjax.model.meshes import to_host
from negjax.model.transformer import Transformer
from negjax.replay.outputs import log_odds
from negjax.replay.shifted_suffixes import replay_suffix
from negjax.replay.suffixes import Prefix, layer_count, stacked_blocks, take_scored
from negjax.replay.written_blocks import LayerVectors, layer_writes


def to_log_odds(probability: float | np.ndarray) -> np.ndarray:
    """λ of probabilities between 0 and 1."""
    p = np.asarray(probability, np.float64)
    return np.log(p) - np.log1p(-p)


def to_probability(log_odds: float | np.ndarray) -> np.ndarray:
    """The inverse of `to_log_odds`."""
    x = np.asarray(log_odds, np.float64)
    return np.exp(-np.logaddexp(0, -x))


def target_log_odds(
    model: Transformer, resid: jax.Array, targets: jax.Array, real: jax.Array
) -> jax.Array:
    """Log-odds [P, R] of a target; of several tokens, those of their joint probability.

    Args:
        resid: [P, R, M, D], residuals at the scored positions.
        targets: [P, 1, M], token ids; real: [P, 1, M], False for padding.
    """
    return log_odds(model.logits(resid), targets, real)[..., 0]


@dataclasses.dataclass(frozen=True)
class ShiftedReplays:
    """Log-odds of P prompts' targets under shifts at the read position: a `search.Surface`.

    Shifts are [L, F] of neurons, or [1, N], so much of each of N directions.
    """

    run: Run
    prefix: Prefix | None
    routes: jax.Array | None
    """Experts that tokens pass, the unperturbed pass's; None without experts."""
    site: SiteOrPlace
    vectors: LayerVectors | None = None
    """Of directions, which `site` is then the place of."""

    def along(self, base: np.ndarray, direction: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """[P, R] at base + step · direction, of base and direction [P, L, F], steps [P, R]."""
        dtype = self.run.lm.compute_dtype
        arrays = (jnp.asarray(a, dtype) for a in (base, direction, steps))
        return to_host(self.run(_along, *self._start, self.site, self.vectors, *arrays))

    def slope(self, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """[P] and gradient [P, L, F] at shifts [P, L, F]."""
        moved = jnp.asarray(shift, self.run.lm.compute_dtype)
        found = self.run(_slope, *self._start, self.site, self.vectors, moved)
        return to_host(found[0]), to_host(found[1])

    @property
    def _start(self) -> tuple[Split, Prefix | None, jax.Array | None]:
        return self.run.split, self.prefix, self.routes


def replays_of(run: Run, site: SiteOrPlace, vectors: LayerVectors | None = None) -> ShiftedReplays:
    """Of the prompts of a batch, and one target of each."""
    passed = run(unperturbed_pass, run.split)
    return ShiftedReplays(run, passed.prefix, passed.trace.routes, site, vectors)


def shifted_replays(lm: LanguageModel, probes: Probes, site: SiteOrPlace) -> ShiftedReplays:
    """Of all probes at once; each has one target."""
    every = Planned(members=np.arange(len(probes)), rows=len(probes), estimate=0)
    split = split_probes(lm.config, probes, every.members, 0, steps=STEPS)
    run = Run(lm=lm, batch=every, split=split, budget_bytes=DEFAULT_BUDGET_BYTES)
    return replays_of(run, site)


@functools.partial(jax.jit, static_argnums=(0, 5))
def _along(
    graphdef: nnx.GraphDef[Any],
    params: nnx.State[Any, Any],
    split: Split,
    prefix: Prefix | None,
    routes: jax.Array | None,
    site: SiteOrPlace,
    vectors: LayerVectors | None,
    base: jax.Array,
    direction: jax.Array,
    steps: jax.Array,
) -> jax.Array:
    shift_prlf = base[:, None] + steps[..., None, None] * direction[:, None]
    model = nnx.merge(graphdef, params)
    return _log_odds(model, split, prefix, routes, site, vectors, shift_prlf)


@functools.partial(jax.jit, static_argnums=(0, 5))
def _slope(
    graphdef: nnx.GraphDef[Any],
    params: nnx.State[Any, Any],
    split: Split,
    prefix: Prefix | None,
    routes: jax.Array | None,
    site: SiteOrPlace,
    vectors: LayerVectors | None,
    shift: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    model = nnx.merge(graphdef, params)

    def total(shift: jax.Array) -> tuple[jax.Array, jax.Array]:
        odds = _log_odds(model, split, prefix, routes, site, vectors, shift[:, None])[:, 0]
        # Prompts do not interact: the gradient of the sum is each prompt's own.
        return odds.sum(), odds

    (_, odds), gradient = jax.value_and_grad(total, has_aux=True)(shift)
    return odds, gradient


def by_layer(model: Transformer, vectors: LayerVectors | None, shift_prlf: jax.Array) -> jax.Array:
    """Shifts [L, P, R, F] of neurons, or what directions write [L, P, R, D], for replays."""
    if vectors is None:
        return shift_prlf.transpose(2, 0, 1, 3)
    layers = layer_count(stacked_blocks(model)[1])
    return layer_writes(vectors, shift_prlf[:, :, 0], layers)


def _log_odds(
    model: Transformer,
    split: Split,
    prefix: Prefix | None,
    routes: jax.Array | None,
    site: SiteOrPlace,
    vectors: LayerVectors | None,
    shift_prlf: jax.Array,
) -> jax.Array:
    shift = by_layer(model, vectors, shift_prlf)
    resid = replay_suffix(model, prefix, split.suffix, routes, shift, site)
    scored = take_scored(resid, split.suffix, split.targets.shape[2])
    return target_log_odds(model, scored, split.targets, split.real)
