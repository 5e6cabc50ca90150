"""Multinomial regression with an L1 and an L2 penalty, solved on the device by proximal gradients.

Of n prompts with features x[b, c], the minimum of

    mean over prompts of −log softmax(z)[gold]  +  l1 · Σ |W|  +  l2 / 2 · Σ W²
    z[b, k] = bias[k] + Σ over c of W[k, c] · x[b, c]

A gradient step on the smooth part is followed by the proximal step of the L1 norm, which moves
every weight towards 0 by step · l1 and stops there: weights become exactly 0. Steps are made in
centred features, x − mean, whose curvature is several times smaller; the bias takes up the rest.
Sources: Beck, Teboulle, A fast iterative shrinkage-thresholding algorithm, 2009; its restarts:
O'Donoghue, Candès, arXiv 1204.3982.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

# Steps between two looks at how far the minimum is, and most looks.
STEPS, LOOKS = 20, 100
POWER_STEPS = 40
# Power iteration comes from below: this much more curvature is taken than it finds.
MARGIN = 1.1
PRECISION = "highest"


class Weights(NamedTuple):
    """Of C features."""

    weight: jax.Array
    """[K, C]."""
    bias: jax.Array
    """[K], not penalised."""


class Penalty(NamedTuple):
    """Strengths of the two norms."""

    l1: ArrayLike
    l2: ArrayLike


class Solved(NamedTuple):
    """A minimum."""

    weights: Weights
    loss: jax.Array
    """Mean cross-entropy, in nats, without the penalty."""
    violation: jax.Array
    """Largest distance of 0 from a subgradient: what is left of the Karush-Kuhn-Tucker conditions
    of these features."""


class Accelerated(NamedTuple):
    """The state of `accelerated`."""

    point: Weights
    """The last proximal point; the parameters are extrapolated beyond it."""
    momentum: jax.Array


def accelerated(
    step: ArrayLike, proximal: Callable[[Weights], Weights]
) -> optax.GradientTransformation:
    """Accelerated proximal gradients with restarts, as an optax transformation.

    Args:
        step: length of a gradient step, at most 1 / the smooth part's largest curvature.
        proximal: the proximal step that follows it.
    """

    def init(params: Weights) -> Accelerated:
        return Accelerated(params, jnp.ones((), jnp.float32))

    def update(
        gradient: Weights, state: Accelerated, params: Weights
    ) -> tuple[Weights, Accelerated]:
        point = proximal(jax.tree.map(lambda p, g: p - step * g, params, gradient))
        moved = optax.tree.sub(point, state.point)
        # Where the last move goes against the gradient, momentum has carried too far.
        against = optax.tree.vdot(optax.tree.sub(params, point), moved) > 0
        before = jnp.where(against, 1.0, state.momentum)
        momentum = (1 + jnp.sqrt(1 + 4 * before**2)) / 2
        ahead = optax.tree.add_scale(point, (before - 1) / momentum, moved)
        return optax.tree.sub(ahead, params), Accelerated(point, momentum)

    return optax.GradientTransformation(init, update)


@jax.jit
def solve(
    features: ArrayLike,
    gold: ArrayLike,
    start: Weights,
    penalty: Penalty,
    tolerance: ArrayLike,
) -> Solved:
    """The weights of the smallest penalised loss.

    Args:
        features: [B, C]; those that are 0 everywhere keep weights of 0.
        gold: [B].
        start: weights to start from.
        tolerance: violation to stop at, in nats per unit of weight. Where float32 or the number of
            steps do not get there, `Solved.violation` says so.
    """
    features = jnp.asarray(features, jnp.float32)
    mean = features.mean(0)
    x = features - mean

    def loss(weights: Weights) -> jax.Array:
        z = x @ weights.weight.T + weights.bias
        result: jax.Array = optax.losses.softmax_cross_entropy_with_integer_labels(z, gold).mean()
        return result

    def gradient(weights: Weights) -> Weights:
        found = jax.grad(loss)(weights)
        result: Weights = found._replace(weight=found.weight + penalty.l2 * weights.weight)
        return result

    def proximal(weights: Weights) -> Weights:
        size = jnp.maximum(jnp.abs(weights.weight) - step * penalty.l1, 0)
        return weights._replace(weight=jnp.sign(weights.weight) * size)

    def one_step(_: int, carry: tuple[Weights, Accelerated]) -> tuple[Weights, Accelerated]:
        params, state = carry
        updates, state = optimizer.update(gradient(params), state, params)
        return optax.apply_updates(params, updates), state

    def look(carry: _Search) -> _Search:
        params, state = jax.lax.fori_loop(0, STEPS, one_step, (carry.params, carry.state))
        return _Search(params=params, state=state, left=left(state.point), looks=carry.looks + 1)

    def left(weights: Weights) -> jax.Array:
        found = gradient(weights)
        # As it is in the features themselves.
        weight = found.weight + found.bias[:, None] * mean
        return violation(found._replace(weight=weight), weights, penalty)

    with jax.default_matmul_precision(PRECISION):
        step = 1 / (_largest_curvature(x) + penalty.l2)
        optimizer = accelerated(step, proximal)
        begin = start._replace(bias=start.bias + start.weight @ mean)
        end = jax.lax.while_loop(
            lambda carry: (carry.left > tolerance) & (carry.looks < LOOKS),
            look,
            _Search(
                params=begin,
                state=optimizer.init(begin),
                left=left(begin),
                looks=jnp.zeros((), jnp.int32),
            ),
        )
        point = end.state.point
        weights = point._replace(bias=point.bias - point.weight @ mean)
        return Solved(weights, loss(point), end.left)


def violation(gradient: Weights, weights: Weights, penalty: Penalty) -> jax.Array:
    """Largest distance of 0 from the penalised loss's subgradients; the gradient is of its rest."""
    weight, g = weights.weight, gradient.weight
    at_zero = jnp.maximum(jnp.abs(g) - penalty.l1, 0)
    elsewhere = jnp.abs(g + penalty.l1 * jnp.sign(weight))
    return jnp.maximum(
        jnp.where(weight == 0, at_zero, elsewhere).max(), jnp.abs(gradient.bias).max()
    )


class _Search(NamedTuple):
    params: Weights
    state: Accelerated
    left: jax.Array
    """The violation at the last proximal point."""
    looks: jax.Array


def _largest_curvature(x: jax.Array) -> jax.Array:
    """A bound on the cross-entropy's second derivatives in weights and bias, of centred features.

    The softmax's own are at most 1/2; x brings in its largest singular value, the bias 1.
    """
    start = jax.random.normal(jax.random.key(0), x.shape[1:])

    def body(_: int, direction: jax.Array) -> jax.Array:
        image = x.T @ (x @ direction)
        return image / jnp.maximum(jnp.linalg.norm(image), jnp.finfo(image.dtype).tiny)

    direction = jax.lax.fori_loop(0, POWER_STEPS, body, start)
    return MARGIN * jnp.maximum(jnp.sum((x @ direction) ** 2) / len(x), 1) / 2
