"""What last residuals say of the targets: scores, and derivatives that read the vocabulary once.

With x the features that the output embedding W reads, and p the next token's distribution,

    ∂ logit of token t / ∂x  =  W_t
    ∂ log p_t / ∂x           =  W_t − Σ_v p_v W_v
    ∂ p_t / ∂x               =  p_t · (W_t − Σ_v p_v W_v)

so of all that costs a pass over the vocabulary, Σ_v p_v W_v, one serves every target of a prompt.
Where logits are capped, each W_v counts with the slope of the cap at its logit.
"""

from typing import Literal, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from negjax.model.transformer import Transformer
from negjax.replay.outputs import WholeOutput, whole_derivatives

Output = Literal["probability", "log_probability", "logit"]
Array = TypeVar("Array", jax.Array, np.ndarray)


def target_scores(
    model: Transformer,
    resid: Float[jax.Array, "P R M D"],
    targets: Int[jax.Array, "P K M"],
    real: Bool[jax.Array, "P K M"],
) -> tuple[Float[jax.Array, "P R K"], Float[jax.Array, "P R K"]]:
    """Log-probability and logit of targets.

    Args:
        resid: at the scored positions.
        targets: token ids; real: False for padding.

    Of several tokens, the log-probability is the joint one; the logits are summed likewise.
    """
    logits = model.logits(resid)
    return _scores(logits, jax.nn.logsumexp(logits, axis=-1), targets, real)


def target_derivatives(
    model: Transformer,
    features: Float[jax.Array, "P R M D"],
    targets: Int[jax.Array, "P K M"],
    real: Bool[jax.Array, "P K M"],
    output: Output | WholeOutput,
) -> tuple[Float[jax.Array, "P R K"], Float[jax.Array, "O P R M D"]]:
    """Log-probability of targets, and the derivatives of an output, one a target or one.

    Args:
        features: what the output embedding reads at the scored positions; by these is
            differentiated.
        targets: token ids; real: False for padding.
    """
    logits = model.unembed(features)
    total = jax.nn.logsumexp(logits, axis=-1)
    log_probability, _ = _scores(logits, total, targets, real)
    if callable(output) or output in ("log_odds", "entropy"):
        return log_probability, whole_derivatives(model, features, targets, real, output)
    embedding = model.output_embedding()
    slope = embedding[targets.swapaxes(0, 1)].astype(features.dtype)[:, :, None]
    cap_slope = model.cap_slope(logits)
    if cap_slope is not None:
        slope = slope * _picked(cap_slope, targets).transpose(3, 0, 1, 2)[..., None]
    if output != "logit":
        weight = jnp.exp(logits - total[..., None])
        weight = weight if cap_slope is None else weight * cap_slope
        weight = weight.reshape(-1, logits.shape[-1])
        # One row alone would be a matrix-vector product, and on CPUs that is summed token by token:
        # over a vocabulary, 20 times the rounding of a matrix product.
        spare = max(0, 2 - len(weight))
        mean = jnp.pad(weight, ((0, spare), (0, 0))) @ embedding.astype(features.dtype)
        slope = slope - mean[: len(weight)].reshape(features.shape)
    slope = jnp.where(real.swapaxes(0, 1)[:, :, None, :, None], slope, 0)
    if output == "probability":
        slope = slope * jnp.exp(log_probability).transpose(2, 0, 1)[..., None, None]
    return log_probability, jnp.broadcast_to(slope, (targets.shape[1], *features.shape))


def output_of(
    output: Output, log_probability: Float[Array, "*axes"], logit: Float[Array, "*axes"]
) -> Float[Array, "*axes"]:
    """One of the outputs, of arrays of JAX, to be differentiated, or of NumPy."""
    if output == "probability":
        numbers = np if isinstance(log_probability, np.ndarray) else jnp
        result: Array = numbers.exp(log_probability)
        return result
    return log_probability if output == "log_probability" else logit


def _scores(
    logits: jax.Array, total: jax.Array, targets: jax.Array, real: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Of logits [P, R, M, V] and their log-sum-exp [P, R, M]."""
    picked = _picked(logits, targets).swapaxes(2, 3)
    logit = jnp.where(real[:, None], picked, 0)
    log_probability = jnp.where(real[:, None], picked - total[:, :, None], 0)
    return log_probability.sum(-1), logit.sum(-1)


def _picked(values: jax.Array, targets: jax.Array) -> jax.Array:
    """Entries of values [P, R, M, V] at targets [P, K, M]: [P, R, M, K]."""
    return jnp.take_along_axis(values, targets.swapaxes(1, 2)[:, None], axis=-1)
