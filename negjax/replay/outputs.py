"""Outputs beyond a target's probability and logit: functions of the logits at the read position.

What they depend on is the whole distribution, so that their logits are made as a whole, some rows
at a time.
"""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from negjax.model.layers import MASKED_SCORE
from negjax.model.transformer import Transformer

OutputFunction = Callable[[jax.Array], jax.Array]
"""Of log-probabilities [V] of the next token: one number."""
AnyOutput = (
    Literal[
        "probability",
        "log_probability",
        "logit",
        "log_odds",
        "logit_difference",
        "entropy",
        "kl",
    ]
    | OutputFunction
)
"""What is measured. `log_odds`: log P − log(1 − P) of a target; `logit_difference`: the first
target's logit less the second's; `entropy`: of the next token's distribution, and `kl`: of the
unperturbed distribution from it, both in nats."""
WholeOutput = Literal["log_odds", "entropy"] | OutputFunction
"""Those that are made here."""


def log_odds(
    logits: Float[jax.Array, "P R M V"],
    targets: Int[jax.Array, "P K M"],
    real: Bool[jax.Array, "P K M"],
) -> Float[jax.Array, "P R K"]:
    """Log-odds of targets; of several tokens, those of their joint probability.

    From the logits themselves, so that they are as precise for P near 1 as for P near 0.

    Args:
        targets: token ids; real: False for padding.
    """
    numbers = jnp.arange(logits.shape[-1])

    def of_target(k: int) -> jax.Array:
        index = targets[:, k][:, None, :, None]
        picked = jnp.take_along_axis(logits, index, axis=-1)[..., 0]
        others = jnp.where(numbers == index, MASKED_SCORE, logits)
        each = picked - jax.nn.logsumexp(others, axis=-1)
        if each.shape[-1] == 1:
            return each[..., 0]
        # log P = -log(1 + exp(-λ)) of each token; the joint one is their sum.
        joint = jnp.where(real[:, k][:, None], -jax.nn.softplus(-each), 0).sum(-1)
        return joint - jnp.log(-jnp.expm1(joint))

    return jnp.stack([of_target(k) for k in range(targets.shape[1])], axis=-1)


def whole_values(
    logits: Float[jax.Array, "P R M V"],
    targets: Int[jax.Array, "P K M"],
    real: Bool[jax.Array, "P K M"],
    output: WholeOutput,
) -> Float[jax.Array, "P R O"]:
    """Values of an output, one a target or one.

    Args:
        logits: at the scored positions, the read position first.
        targets: token ids; real: False for padding.
    """
    if output == "log_odds":
        return log_odds(logits, targets, real)
    log_p = jax.nn.log_softmax(logits[:, :, 0], axis=-1)
    if callable(output):
        return jax.vmap(jax.vmap(output))(log_p)[..., None]
    return -(jnp.exp(log_p) * log_p).sum(-1, keepdims=True)


def whole_derivatives(
    model: Transformer,
    features: Float[jax.Array, "P R M D"],
    targets: Int[jax.Array, "P K M"],
    real: Bool[jax.Array, "P K M"],
    output: WholeOutput,
) -> Float[jax.Array, "O P R M D"]:
    """Derivatives of an output by the features that the output embedding reads.

    Args:
        targets: token ids; real: False for padding.
    """
    logits = model.unembed(features)
    values, pull = jax.vjp(lambda logits: whole_values(logits, targets, real, output), logits)
    cap_slope = model.cap_slope(logits)
    embedding = model.output_embedding().astype(features.dtype)

    def of_output(one: jax.Array) -> jax.Array:
        # Prompts and rows do not interact: one cotangent an output serves all of them at once.
        (slope,) = pull(jnp.broadcast_to(one, values.shape))
        slope = slope if cap_slope is None else slope * cap_slope
        slope = slope.reshape(-1, slope.shape[-1])
        # One row alone would be summed token by token, see `targets.target_derivatives`.
        spare = max(0, 2 - len(slope))
        found = jnp.pad(slope, ((0, spare), (0, 0))) @ embedding
        return found[: len(slope)].reshape(features.shape)

    each = jnp.eye(values.shape[-1], dtype=values.dtype)
    result: jax.Array = jax.lax.map(of_output, each)
    return result


def read_values(
    model: Transformer,
    resid: Float[jax.Array, "P R M D"],
    targets: Int[jax.Array, "P K M"],
    real: Bool[jax.Array, "P K M"],
    chunks: Int[jax.Array, ""] | int,
    chunk: int,
    output: WholeOutput,
) -> Float[jax.Array, "P R O"]:
    """Values of an output of the first `chunks` chunks of rows; those of further rows mean nothing.

    Args:
        resid: last residuals at the scored positions, the read position first.
        targets, real: token ids and which of them count.
        chunk: rows of each prompt read at once; divides R.
    """

    def of(some: jax.Array) -> jax.Array:
        return whole_values(model.logits(some), targets, real, output)

    def add_chunk(i: jax.Array, values: jax.Array) -> jax.Array:
        some = jax.lax.dynamic_slice_in_dim(resid, i * chunk, chunk, axis=1)
        return jax.lax.dynamic_update_slice_in_dim(values, of(some), i * chunk, axis=1)

    shape = jax.eval_shape(of, resid[:, :chunk])
    nothing = jnp.zeros((*resid.shape[:2], shape.shape[-1]), shape.dtype)
    result: jax.Array = jax.lax.fori_loop(0, chunks, add_chunk, nothing)
    return result
