"""Effects: the derivative of every token's probability along a neuron, by jvp."""

import functools
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Float
from numpy.typing import ArrayLike

from negjax.execution import batching
from negjax.execution.batching import DEFAULT_BUDGET_BYTES
from negjax.execution.passes import unperturbed_pass
from negjax.execution.plans import filled_up, fitting, one_by_one, sizes_of
from negjax.execution.running import Run, in_order, run_batches
from negjax.inputs.neurons import check_neurons
from negjax.inputs.probes import Probes, check_asked
from negjax.model.config import Site
from negjax.model.language_model import LanguageModel
from negjax.model.meshes import to_host
from negjax.process.bars import with_bar
from negjax.replay.shifted_suffixes import no_shift, replay_suffix
from negjax.replay.suffixes import Prefix, Suffix, take_scored

# Neurons of one call.
MOST_NEURONS = 256
# Length buckets an octave.
STEPS = 2


@with_bar
def effects(
    lm: LanguageModel,
    probes: Probes,
    neurons: ArrayLike,
    site: str | None = None,
    *,
    budget_bytes: int = DEFAULT_BUDGET_BYTES,
    progress: bool | None = None,
) -> Float[np.ndarray, "B N V"]:
    """Derivative of every token's probability with respect to each neuron, at the read position.

    Args:
        neurons: [N, 2] or [B, N, 2], (layer, index).
        progress: whether a bar shows how far it is; None: to people, after two seconds.

    Returns:
        ∂P(token)/∂a. Sums to 0 over the tokens.

    Raises:
        ValueError: no encoded probes, an unknown site, neurons that the model does not have, a
            budget that holds not even one; an effect that overflows.
    """
    check_asked(lm, probes)
    c = lm.config
    chosen = c.site(site)
    neurons = check_neurons(c, neurons, len(probes))
    sizes = sizes_of(lm, probes, steps=STEPS, alone=True)
    # The prompt's pass, and beside it as many neurons as still fit.
    one = sizes.prefix_bytes + sizes.effects_bytes
    fitting(budget_bytes, one, 1, "one neuron")
    more = (budget_bytes - one) // sizes.effects_bytes
    largest = batching.largest_bucket(min(MOST_NEURONS, 1 + more))

    def kernel(run: Run) -> np.ndarray:
        split = run.split
        if c.causal:
            # Only the read position is read: the tokens of a joint target play no part.
            full = split.suffix
            first = Suffix(
                tokens=full.tokens[:, :1],
                positions=full.positions[:, :1],
                mask=full.mask[:, :1],
                read=full.read,
                at=full.at,
            )
            split = split._replace(suffix=first)
        passed = run(unperturbed_pass, split)
        before = passed.prefix, passed.trace.routes
        (own,) = neurons[run.batch.members]

        def arguments(chunk: int, start: int = 0) -> tuple[Any, ...]:
            some = own[start : start + chunk]
            rows = batching.bucket_count(len(some))
            return split.suffix, *before, filled_up(some, rows), chosen

        chunk = run.largest_fitting(_effects, batching.smaller_buckets(largest), arguments)
        parts = []
        for start in range(0, len(own), chunk):
            part = to_host(run(_effects, *arguments(chunk, start)))
            parts.append(part[: len(own) - start])
            run.reached(min(1, (start + chunk) / len(own)))
        return np.concatenate(parts)[None]

    plan = one_by_one(
        probes, sizes.prefix_bytes + min(largest, len(neurons[0])) * sizes.effects_bytes
    )
    batches = run_batches(
        lm,
        probes,
        plan,
        kernel,
        target=0,
        steps=STEPS,
        rows_each=neurons.shape[1],
        budget_bytes=budget_bytes,
    )
    result: np.ndarray = in_order(lm, len(probes), batches, ["effect of neurons"])
    return result


@functools.partial(jax.jit, static_argnums=(0, 6))
def _effects(
    graphdef: nnx.GraphDef[Any],
    params: nnx.State[Any, Any],
    suffix: Suffix,
    prefix: Prefix | None,
    routes: jax.Array | None,
    neurons: jax.Array,
    site: Site,
) -> jax.Array:
    """[N, V] of one prompt: a jvp of replay along each neuron, the unperturbed pass shared."""
    model = nnx.merge(graphdef, params)
    zero = no_shift(model, 1)

    def probabilities(shift: jax.Array) -> jax.Array:
        resid = replay_suffix(model, prefix, suffix, routes, shift, site)
        return jax.nn.softmax(model.logits(take_scored(resid, suffix, 1)[0, 0, 0]))

    def along(neuron: jax.Array) -> jax.Array:
        tangent = zero.at[neuron[0], 0, 0, neuron[1]].set(1)
        result: jax.Array = jax.jvp(probabilities, (zero,), (tangent,))[1]
        return result

    return jax.vmap(along)(neurons)
