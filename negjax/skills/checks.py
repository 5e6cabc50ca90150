"""What probes are given, checked: errors name the argument, its value and what was expected."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np
from numpy.typing import ArrayLike

from negjax.checks import as_array, described, integers, is_whole, shown

MOST_LABELS = 10_000
"""Of a task: each is a column of what probes hold."""


def check_scores(
    scores: ArrayLike, *, labels: int | None = None, total: int | None = None
) -> np.ndarray:
    """Scores as [B, K, N]; float64 becomes float32 unless JAX is told to compute in 64 bits.

    Args:
        scores: [B, K, L, F] or [B, K, N]: floats, or the int8 that codes decode to.
        labels: K, if it is known.
        total: N = L · F, if it is known.

    Raises:
        ValueError: another shape, no prompts, fewer than 2 labels, a value that is not finite.
    """
    array = as_array(scores)
    if array.ndim not in (3, 4) or not (array.dtype.kind == "f" or array.dtype == np.int8):
        raise ValueError(f"scores are {described(scores)}, expected floats or int8, [B, K, L, F]")
    array = array.reshape(*array.shape[:2], -1) if array.size else array
    if array.size == 0 or array.shape[1] < 2:
        raise ValueError(
            f"scores are {list(array.shape)}, expected one prompt and two labels, or more"
        )
    if labels is not None and array.shape[1] != labels:
        raise ValueError(f"scores are of {array.shape[1]} labels, expected {labels}")
    return _check_values("scores", array, total)


def check_codes(codes: ArrayLike, total: int | None = None, *, least: int = 1) -> np.ndarray:
    """Codes [B, N] of N neurons; which unsigned integers is checked where they are decoded.

    Args:
        total: N, if it is known.
        least: the smallest N that will do, where it is not.

    Raises:
        ValueError: another shape, or what is no unsigned integers.
    """
    array = as_array(codes)
    fits = array.ndim == 2 and (array.shape[1] == total if total else array.shape[1] >= least)
    if not fits or array.dtype.kind != "u":
        neurons = str(total) if total else f"{least} or more"
        raise ValueError(
            f"codes are {described(codes)}, expected [B, {neurons}] as encode_scores makes them"
        )
    return array


def check_batches(batches: object) -> Iterator[tuple[Any, Any]]:
    """Batches, one after the other: pairs of what is read of prompts, and their gold.

    Raises:
        ValueError: they cannot be gone through; of a member that is no pair, when its turn comes.
    """
    expected = "(values, gold) pairs"
    if isinstance(batches, str | bytes | np.ndarray) or not isinstance(batches, Iterable):
        raise ValueError(f"batches is {shown(batches)}, expected {expected}")
    return _pairs(batches, expected)


def check_maker(batches: object) -> Callable[[], Iterator[tuple[Any, Any]]]:
    """What makes the batches anew: a function without arguments.

    Raises:
        ValueError: it cannot be called.
    """
    if not callable(batches):
        raise ValueError(
            f"batches is {shown(batches)}, expected a function that makes (values, gold) pairs "
            "anew: lambda: [(values, gold)]"
        )
    return lambda: check_batches(batches())


def _pairs(batches: Iterable[object], expected: str) -> Iterator[tuple[Any, Any]]:
    for number, pair in enumerate(batches):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise ValueError(f"batches: number {number} is {shown(pair)}, expected {expected}")
        yield pair[0], pair[1]


def check_activations(activations: ArrayLike, *, total: int | None = None) -> np.ndarray:
    """Activations as [B, N], floats; float64 as in `check_scores`.

    Args:
        activations: [B, L, F] or [B, N], floats.
        total: N = L · F, if it is known.

    Raises:
        ValueError: another shape, no prompts, a value that is not finite.
    """
    array = as_array(activations)
    if array.ndim not in (2, 3) or array.size == 0 or array.dtype.kind != "f":
        raise ValueError(f"activations are {described(activations)}, expected floats [B, L, F]")
    return _check_values("activations", array.reshape(len(array), -1), total)


def labels_of(gold: object, labels: int | None) -> int:
    """K: as given, or the number of labels up to the largest in gold [B]."""
    if labels is not None:
        return check_labels(labels)
    array = as_array(gold)
    # What is no gold at all is for `check_gold` to refuse.
    return max(2, int(array.max()) + 1) if array.dtype.kind in "iu" and array.size else 2


def check_labels(labels: int) -> int:
    """The task's number of labels.

    Raises:
        ValueError: fewer than 2, more than `MOST_LABELS`, or no integer.
    """
    if not is_whole(labels) or not 2 <= labels <= MOST_LABELS:
        raise ValueError(
            f"labels is {shown(labels)}, expected the number of the task's labels, 2 to "
            f"{MOST_LABELS}"
        )
    return int(labels)


def check_gold(gold: object, prompts: int, labels: int, *, every: bool = False) -> np.ndarray:
    """Gold labels as [B], int64.

    Args:
        gold: [B], the numbers of the labels, from 0.
        prompts: B.
        labels: K, of the task.
        every: each label must be some prompt's.

    Raises:
        ValueError: no prompts, no integers, another shape, a number that is no label's, a label
            without a prompt.
    """
    array = as_array(gold)
    if array.shape != (prompts,) or not prompts or array.dtype.kind not in "iu":
        raise ValueError(
            f"gold is {described(gold)}, expected integers [{prompts}]: one label a "
            "prompt, of one prompt or more"
        )
    array = array.astype(np.int64)
    wrong = np.flatnonzero((array < 0) | (array >= labels))
    if len(wrong):
        raise ValueError(
            f"gold of prompt {wrong[0]} is {array[wrong[0]]}, expected 0 … {labels - 1}: the "
            f"number of one of {labels} labels"
        )
    missing = np.setdiff1d(np.arange(labels), array)
    if every and len(missing):
        raise ValueError(
            f"no prompt of {prompts} has label {missing[0]} of {labels}; train on prompts of every "
            "label"
        )
    return array


def check_count(name: str, count: int, most: int, what: str) -> int:
    """A count from 1 to `most`; `what` is counted.

    Raises:
        ValueError: outside, or no integer.
    """
    if not is_whole(count) or not 1 <= count <= most:
        raise ValueError(f"{name} is {shown(count)}, expected 1 to {most}: there are {most} {what}")
    return int(count)


def check_trained(votes: ArrayLike, name: str = "votes") -> np.ndarray:
    """Sums R [N] over prompts, as `polar_votes` and `magn_votes` make them.

    Raises:
        ValueError: another shape or type.
    """
    array = as_array(votes)
    if array.ndim != 1 or array.dtype.kind != "i" or not len(array):
        raise ValueError(f"{name} are {described(votes)}, expected integers [N]")
    return array


def _check_values(name: str, array: np.ndarray, total: int | None) -> np.ndarray:
    """`array` is [B, …, N]."""
    if total is not None and array.shape[-1] != total:
        raise ValueError(f"{name} are of {array.shape[-1]} neurons, expected {total}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        where = np.argwhere(~np.isfinite(array))[0]
        raise ValueError(
            f"{name} of prompt {where[0]}, neuron {where[-1]} are {array[tuple(where)]}, expected "
            "finite numbers"
        )
    return array.astype(jax.dtypes.canonicalize_dtype(array.dtype), copy=False)


def as_layer_index(neurons: np.ndarray, shape: object, total: int) -> np.ndarray:
    """(layer, index) [k, 2] of flat numbers [k], in a model of a shape (L, F).

    Args:
        total: N, of the model that the numbers are of.

    Raises:
        ValueError: no shape, or one of another number of neurons.
    """
    expected = "(layers, neurons of a layer), each 1 or more"
    sizes = integers(shape, "shape", expected)
    if sizes.shape != (2,) or sizes.min() < 1:
        raise ValueError(f"shape: {described(shape)} was given, expected {expected}")
    layers, width = map(int, sizes)
    if layers * width != total:
        raise ValueError(
            f"shape: the model has {layers} × {width} neurons, the probe is of one with {total}"
        )
    return np.stack(np.divmod(neurons, width), axis=-1)
