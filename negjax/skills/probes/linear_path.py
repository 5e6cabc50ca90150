"""A regularisation path over all neurons of a stream of prompts, of which few are in memory.

A feature is one label's sign at one neuron. A penalty strong enough leaves most features' weights
at 0, and which they are shows in the gradient alone: |∂ loss / ∂ W| ≤ l1. So for each strength the
weights of a working set of features are solved for on the device; one pass over the stream sums the
gradients of all features for all strengths at once, minibatch by minibatch; features beyond l1 join
the set, until there is none. The solution is then that of all features together, certified by its
Karush-Kuhn-Tucker conditions.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from negjax.skills.checks import check_gold, check_scores
from negjax.skills.probes.codes import order_keys
from negjax.skills.probes.proximal import PRECISION, Penalty, Solved, Weights, solve

Batches = Callable[[], Iterable[tuple[np.ndarray | jax.Array, np.ndarray]]]
"""Makes the batches anew, in the same order: scores [B, K, N], or what codes decode to, and gold
[B]."""

FIRST = 1024
"""Features of a working set at the beginning."""
SOLVER_BYTES = 2**29
"""Memory for a working set's features, as float32, while weights are solved for."""


class Stage(NamedTuple):
    """The solution for one strength of the penalty."""

    fraction: float
    """The strength, in units of the largest gradient of weights of 0."""
    neurons: np.ndarray
    """[A], flat, ascending: those with any weight."""
    weight: np.ndarray
    """[K, K, A], float32: of the label predicted, the label whose sign is read, the neuron."""
    bias: np.ndarray
    """[K], float32."""
    loss: float
    """Mean cross-entropy of the training prompts, in nats."""
    violation: float
    """Largest distance of 0 from a subgradient, over all features, in units of the strength."""


class _Kept(NamedTuple):
    """What is in memory of the training prompts."""

    gold: np.ndarray
    """[n]."""
    signs: np.ndarray
    """[n, …], int8, of the features that are or were in a working set."""
    column: np.ndarray
    """[K · N], where in `signs` a feature is, −1 where it is not."""

    def of(self, features: np.ndarray) -> np.ndarray:
        """Signs [n, C] of some features."""
        return self.signs[:, self.column[features]]


class _Work(NamedTuple):
    """The solution of a working set."""

    features: np.ndarray
    """[C], numbers of features, label · N + neuron."""
    solved: Solved


def regularisation_path(
    batches: Batches,
    labels: int,
    fractions: Sequence[float],
    *,
    l1: float,
    l2: float,
    tolerance: float,
    budget_bytes: int = SOLVER_BYTES,
) -> tuple[int, list[Stage]]:
    """Solutions for penalties of falling strength.

    Args:
        batches: training prompts of every label.
        labels: K.
        fractions: strengths s, descending, in units of the largest gradient G of weights of 0: the
            penalty is s · G · (l1 · Σ |W| + l2 / 2 · Σ W²).
        tolerance: violation to stop at, in units of s · G.
        budget_bytes: the path ends before the first strength whose working set needs more.

    Returns:
        N, and the stages.

    Raises:
        ValueError: scores or gold that `Polar.fit` would refuse; signs that do not differ between
            labels; not even the first strength's features fit the budget.
    """
    gold, size = _first_gradients(batches, labels)
    levels = np.asarray(fractions) * size.max()
    most = max(1, budget_bytes // (4 * len(gold)))
    first = np.argsort(-size, kind="stable")[: min(FIRST, most)]
    kept = _Kept(gold, np.zeros((len(gold), 0), np.int8), np.full(len(size), -1))
    work = [_Work(first, _start(gold, labels))] * len(levels)
    while True:
        kept = _gather(batches, kept, np.unique(np.concatenate([w.features for w in work])))
        work = _solve_all(kept, work, levels, (l1, l2), tolerance)
        beyond = _largest_gradients(batches, kept, work) - l1 * levels[:, None]
        for stage, row in zip(work, beyond, strict=True):
            row[stage.features] = 0
        wanted = (beyond > tolerance * levels[:, None]).sum(1)
        if not wanted.any():
            break
        sizes = np.asarray([len(stage.features) for stage in work])
        # At most as many more as there are: once they have weights, fewer others are wanted.
        joining = np.minimum(wanted, sizes)
        stages = int(np.argmin([*(sizes + joining <= most), False]))
        if not stages:
            raise ValueError(
                f"more than {most} of {len(size)} features would have weights and need more than "
                f"{budget_bytes} bytes; pass a larger l1, or more budget_bytes"
            )
        levels, work = levels[:stages], work[:stages]
        work = [
            _Work(np.append(stage.features, np.argsort(-row, kind="stable")[:count]), stage.solved)
            for stage, row, count in zip(work, beyond[:stages], joining[:stages], strict=True)
        ]
    total = len(size) // labels
    return total, [
        _stage(stage, fraction, float(max(stage.solved.violation, outside) / level), total)
        for stage, fraction, outside, level in zip(
            work, fractions[: len(work)], beyond.max(1), levels, strict=True
        )
    ]


def _start(gold: np.ndarray, labels: int) -> Solved:
    """Biases alone, which give every label its frequency."""
    frequency = np.bincount(gold, minlength=labels) / len(gold)
    bias = jnp.log(jnp.asarray(frequency, jnp.float32))
    nothing = jnp.zeros((), jnp.float32)
    return Solved(Weights(jnp.zeros((labels, 0), jnp.float32), bias), nothing, nothing)


def _first_gradients(batches: Batches, labels: int) -> tuple[np.ndarray, np.ndarray]:
    """Gold [n], and max |∂ loss / ∂ W| of a feature, [K · N], where all weights are 0.

    Everything that the batches hold is checked here.
    """
    sums, golds, total = np.zeros(()), [np.zeros(0, np.int64)], None
    for scores, gold in batches():
        array = check_scores(scores, labels=labels, total=total)
        golds.append(check_gold(gold, len(array), labels))
        sums = sums + np.asarray(_sum_signs(array, _one_hot(golds[-1], labels)[None])[0])
        total = array.shape[-1]
    every = np.concatenate(golds)
    check_gold(every, len(every), labels, every=True)
    frequency = np.bincount(every, minlength=labels) / len(every)
    size = np.abs(frequency[:, None] * sums.sum(0) - sums).max(0) / len(every)
    if not size.any():
        raise ValueError("no neuron's signs differ from label to label: nothing to learn from")
    return every, size


def _gather(batches: Batches, kept: _Kept, features: np.ndarray) -> _Kept:
    """With the signs of these features."""
    new = features[kept.column[features] < 0]
    if not len(new):
        return kept
    rows = [np.asarray(scores).reshape(len(gold), -1)[:, new] for scores, gold in batches()]
    column = kept.column.copy()
    column[new] = kept.signs.shape[1] + np.arange(len(new))
    signs = np.sign(np.concatenate(rows)).astype(np.int8)
    return _Kept(kept.gold, np.concatenate([kept.signs, signs], axis=1), column)


def _solve_all(
    kept: _Kept,
    work: list[_Work],
    levels: np.ndarray,
    penalty: tuple[float, float],
    tolerance: float,
) -> list[_Work]:
    """A solution for each strength whose set has grown: from its last one, at first from the
    strength's before.
    """
    found: list[_Work] = []
    for stage, level in zip(work, levels, strict=True):
        own, size = stage.solved.weights, len(stage.features)
        if own.weight.shape[1] == size:
            found.append(stage)
            continue
        start = own if own.weight.size or not found else found[-1].solved.weights
        # Filled up with features that never fire, so that few sizes compile.
        full = FIRST * math.ceil(size / FIRST)
        solved = solve(
            np.pad(kept.of(stage.features), ((0, 0), (0, full - size))),
            kept.gold,
            start._replace(weight=_widen(start.weight, full)),
            Penalty(*(np.float32(level * norm) for norm in penalty)),
            np.float32(tolerance * level),
        )
        weights = solved.weights._replace(weight=solved.weights.weight[:, :size])
        found.append(_Work(stage.features, solved._replace(weights=weights)))
    return found


def _widen(weight: jax.Array, size: int) -> jax.Array:
    return jnp.pad(weight, ((0, 0), (0, size - weight.shape[1])))


def _largest_gradients(batches: Batches, kept: _Kept, work: list[_Work]) -> np.ndarray:
    """[S, K · N], max |∂ loss / ∂ W| over a feature's K weights, for each of S solutions."""
    one_hot = _one_hot(kept.gold, work[0].solved.weights.weight.shape[0])
    error_skb = np.stack(
        [_probabilities(w.solved.weights, kept.of(w.features)).T - one_hot for w in work]
    )
    total, seen = np.zeros(()), 0
    for scores, gold in batches():
        end = seen + len(gold)
        total = total + np.asarray(_sum_signs(scores, error_skb[..., seen:end]))
        seen = end
    result: np.ndarray = np.abs(total).max(1) / len(kept.gold)
    return result


@jax.jit
def _sum_signs(scores: np.ndarray | jax.Array, factors: np.ndarray) -> jax.Array:
    """[S, K, K · N], Σ over prompts factor · sign: of factors [S, K, B], scores [B, K, N]."""
    with jax.default_matmul_precision(PRECISION):
        signs = jnp.sign(order_keys(scores)).astype(jnp.float32)
        rows = signs.reshape(len(signs), -1)
        return jnp.einsum("skb,bc->skc", jnp.asarray(factors, jnp.float32), rows)


def _probabilities(weights: Weights, features: np.ndarray) -> np.ndarray:
    """[n, K]."""
    weight, bias = (np.asarray(part, np.float64) for part in weights)
    used = np.flatnonzero(weight.any(0))
    z = features[:, used] @ weight[:, used].T + bias
    odds = np.exp(z - z.max(1, keepdims=True))
    result: np.ndarray = odds / odds.sum(1, keepdims=True)
    return result


def _one_hot(gold: np.ndarray, labels: int) -> np.ndarray:
    """[K, B], float32."""
    result: np.ndarray = (gold == np.arange(labels)[:, None]).astype(np.float32)
    return result


def _stage(work: _Work, fraction: float, violation: float, total: int) -> Stage:
    weight = np.asarray(work.solved.weights.weight)
    used = np.flatnonzero(weight.any(0))
    label, neuron = np.divmod(work.features[used], total)
    neurons, place = np.unique(neuron, return_inverse=True)
    by_neuron = np.zeros((len(weight), len(weight), len(neurons)), np.float32)
    by_neuron[:, label, place] = weight[:, used]
    bias = np.asarray(work.solved.weights.bias)
    return Stage(
        fraction=fraction,
        neurons=neurons,
        weight=by_neuron,
        bias=bias,
        loss=float(work.solved.loss),
        violation=violation,
    )
