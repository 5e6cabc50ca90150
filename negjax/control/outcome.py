"""What a model says at the read position, before and after a shift of a prompt's neurons."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from negjax.control.odds import by_layer
from negjax.execution.batching import Split
from negjax.execution.passes import unperturbed_pass
from negjax.execution.plans import plan_prompts, sizes_of
from negjax.execution.row_plans import STEPS
from negjax.execution.running import Run, in_order, run_batches
from negjax.inputs.probes import Probes
from negjax.model.config import SiteOrPlace
from negjax.model.language_model import LanguageModel
from negjax.model.meshes import to_host
from negjax.records import readable
from negjax.replay.readout import read_rows
from negjax.replay.shifted_suffixes import replay_suffix
from negjax.replay.suffixes import Prefix, take_read, take_scored
from negjax.replay.written_blocks import LayerVectors


@readable
@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """Next-token distributions of B prompts, as far as one target of each is concerned."""

    probability: np.ndarray
    """[B], of the target; of several tokens, the joint one."""
    rank: np.ndarray
    """[B], of the target's first token among all tokens; 1 is the most probable."""
    top_token: np.ndarray
    """[B], id of the most probable token; of equal ones the lowest."""
    top_text: tuple[str, ...]
    """[B], its text."""


def shifted_outcomes(
    lm: LanguageModel,
    probes: Probes,
    shifts: np.ndarray,
    site: SiteOrPlace,
    vectors: LayerVectors | None = None,
    *,
    budget_bytes: int,
) -> tuple[Outcome, Outcome, np.ndarray]:
    """Outcomes without and with a shift of its own for each prompt, and KL(without ‖ with) [B].

    Args:
        probes: with one target each.
        shifts: [B, L, F], added to the activations; or [B, 1, N], so much of each direction.
        vectors: of directions, which `site` is then the place of.
    """
    sizes = sizes_of(lm, probes, steps=STEPS)
    shift_bytes = sizes.itemsize * lm.config.layers * lm.config.neurons
    each = sizes.prefix_bytes + 2 * (sizes.active_row_bytes + shift_bytes)
    plan = plan_prompts(probes, sizes, each, len(probes), budget_bytes)

    def kernel(run: Run) -> tuple[np.ndarray, ...]:
        passed = run(unperturbed_pass, run.split)
        before = passed.prefix, passed.trace.routes
        shift = jnp.asarray(shifts[run.batch.padded], lm.compute_dtype)
        log_probability, rank, top_token, kl = run(
            _outcomes, run.split, *before, shift, site, vectors
        )
        numbers = (to_host(x).astype(np.float64) for x in (log_probability, kl))
        return *numbers, *(to_host(x).astype(np.int64) for x in (rank, top_token))

    batches = run_batches(
        lm, probes, plan, kernel, target=0, steps=STEPS, budget_bytes=budget_bytes
    )
    what = ("log P of the target under the shift", "KL of the shift")
    log_probability, kl, rank, top_token = in_order(lm, len(probes), batches, what)
    before, after = (
        Outcome(
            probability=np.exp(log_probability[:, i]),
            rank=rank[:, i],
            top_token=top_token[:, i],
            top_text=tuple(lm.tokenizer.decode([token]) for token in top_token[:, i].tolist()),
        )
        for i in (0, 1)
    )
    return before, after, kl


@functools.partial(jax.jit, static_argnums=(0, 6))
def _outcomes(
    graphdef: nnx.GraphDef[Any],
    params: nnx.State[Any, Any],
    split: Split,
    prefix: Prefix | None,
    routes: jax.Array | None,
    shift: jax.Array,
    site: SiteOrPlace,
    vectors: LayerVectors | None,
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Log-probability, rank and top token [P, 2], KL [P], of shifts [P, L, F]."""
    model = nnx.merge(graphdef, params)
    both = by_layer(model, vectors, jnp.stack([jnp.zeros_like(shift), shift], axis=1))
    resid = replay_suffix(model, prefix, split.suffix, routes, both, site)
    scored = take_scored(resid, split.suffix, split.targets.shape[2])
    unperturbed = take_read(resid[:, 0], split.suffix)
    found = read_rows(model, scored, split.targets, split.real, 1, 2, unperturbed)
    assert found.spread is not None
    logits = model.logits(scored[:, :, 0])
    own = jnp.take_along_axis(logits, split.targets[:, 0, :1][:, None], axis=-1)
    rank = 1 + (logits > own).sum(-1)
    return found.log_probability[..., 0], rank, found.spread.top_token, found.spread.kl[:, 1]
