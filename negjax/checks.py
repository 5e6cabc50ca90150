"""Arguments as callers give them, checked: errors name the argument, its value and the remedy."""

import math
import os
import re
from collections.abc import Iterable, Mapping, Sized
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import TypeGuard, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from negjax.errors import Argument, ArgumentError

Kind = TypeVar("Kind")

# Characters of a wrong value that an error shows.
SHOWN = 60

MOST_WHOLE = 2**63 - 1
"""The largest whole number that an array holds."""


def real_numbers(value: object, name: str) -> np.ndarray:
    """A number or an array of numbers, as float64 of the same shape.

    Raises:
        ArgumentError: it is something else: text, None, truth values, complex or ragged numbers.
    """
    array = as_array(value)
    if not (jnp.issubdtype(array.dtype, jnp.floating) or jnp.issubdtype(array.dtype, jnp.integer)):
        raise ArgumentError(
            Argument(name), f" is {shown(value)}, expected a number or an array of numbers"
        )
    return array.astype(np.float64)


def real_number(
    value: object,
    name: str,
    *,
    above: float | None = None,
    below: float | None = None,
    least: float | None = None,
    most: float | None = None,
) -> float:
    """One finite number within bounds; `above` and `below` are excluded, the others included.

    Raises:
        ArgumentError: it is something else, several, not finite, or out of bounds.
    """
    array = as_array(value)
    is_number = jnp.issubdtype(array.dtype, jnp.floating) or jnp.issubdtype(
        array.dtype, jnp.integer
    )
    found = float(array) if is_number and not array.ndim else math.nan
    inside = (
        math.isfinite(found)
        and (above is None or found > above)
        and (below is None or found < below)
        and (least is None or found >= least)
        and (most is None or found <= most)
    )
    if not inside:
        bounds = {"above": above, "below": below, "of at least": least, "of at most": most}
        told = [f"{words} {bound:g}" for words, bound in bounds.items() if bound is not None]
        expected = f"a finite number {' and '.join(told)}".strip()
        if told == ["above 0"]:
            expected = "a positive number, and a finite one"
        if told == ["above 0", "below 1"]:
            expected = "a share between 0 and 1"
        raise ArgumentError(Argument(name), f" is {shown(value)}, expected {expected}")
    return found


def finite_in(values: object, name: str, dtype: jnp.dtype) -> np.ndarray:
    """Numbers of any shape in a floating dtype, all of them finite there.

    Raises:
        ArgumentError: what is no number, is not finite, or is too large for the dtype.
    """
    given = real_numbers(values, name)
    with np.errstate(over="ignore"):
        found = given.astype(dtype)
    wrong = given[~np.isfinite(found)]
    if wrong.size:
        why = f", which {np.dtype(dtype).name} cannot hold" if np.isfinite(wrong[0]) else ""
        raise ArgumentError(Argument(name), f" holds {wrong[0]:g}{why}: expected finite numbers")
    return found


def shift_list(value: object, name: str, dtype: jnp.dtype) -> np.ndarray:
    """Shifts [X], X ≥ 1, in a model's compute dtype.

    Raises:
        ArgumentError: no numbers, not one axis of them, or one that is not finite in the dtype.
    """
    given = real_numbers(value, name)
    if given.ndim != 1 or not given.size:
        raise ArgumentError(
            Argument(name),
            f" is {shown(value)}, expected a list of finite numbers [X], one or more",
        )
    return finite_in(value, name, dtype)


def shifts_within(value: object, radius: float, function: str) -> np.ndarray:
    """Shifts [X] within ±radius, which is as far as a function measured.

    Raises:
        ValueError: they are none, or one lies outside.
    """
    shifts = shift_list(value, "shifts", np.dtype(np.float64))
    if not (np.abs(shifts) <= radius * (1 + 1e-9)).all():
        raise ValueError(
            f"shifts {shown(shifts.tolist())} must be a list within ±{radius}, the range measured; "
            f"pass a larger radius to {function}()"
        )
    return shifts


def whole_number(value: object, name: str, least: int, most: int = MOST_WHOLE) -> int:
    """A whole number from `least` to `most`.

    Raises:
        ArgumentError: it is something else, or out of bounds.
    """
    if not is_whole(value) or not least <= value <= most:
        limit = "" if most == MOST_WHOLE else f", {most} at most"
        raise ArgumentError(
            Argument(name), f" is {shown(value)}, expected a whole number, {least} or more{limit}"
        )
    return int(value)


def is_whole(value: object) -> TypeGuard[int]:
    """Whether it is one whole number; True and False, which Python counts as such, are none."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def integers(value: object, name: str, expected: str) -> np.ndarray:
    """Whole numbers of any shape, as an integer array.

    Args:
        expected: what the error says should have been given.

    Raises:
        ArgumentError: anything else: floats, truth values, text, None, ragged lists.
    """
    array = as_array(value)
    if not np.issubdtype(array.dtype, np.integer):
        raise ArgumentError(Argument(name), f" are {described(value)}, expected {expected}")
    return array


def truths(value: object, name: str) -> np.ndarray:
    """An array of truth values.

    Raises:
        ArgumentError: it is something else.
    """
    array = as_array(value)
    if array.dtype != bool:
        raise ArgumentError(
            Argument(name), f" is {shown(value)}, expected an array of truth values"
        )
    return array


def flag(value: object, name: str) -> bool:
    """True or False.

    Raises:
        ArgumentError: anything else.
    """
    if not isinstance(value, bool | np.bool_):
        raise ArgumentError(Argument(name), f" is {shown(value)}, expected True or False")
    return bool(value)


def one_of(value: object, name: str, known: Iterable[str]) -> str:
    """One of some words.

    Raises:
        ArgumentError: anything else, of whatever type.
    """
    words = tuple(known)
    if not isinstance(value, str) or value not in words:
        raise ArgumentError(
            Argument(name), f" is {shown(value)}, expected one of {', '.join(words)}"
        )
    return value


def text(value: object, name: str) -> str:
    """A string.

    Raises:
        ArgumentError: anything else, bytes too; or a string with half a surrogate pair, which no
            file and no vocabulary holds.
    """
    if isinstance(value, bytes | bytearray):
        raise ArgumentError(
            Argument(name), f" is {shown(value)}, expected text: decode the bytes first"
        )
    if not isinstance(value, str):
        raise ArgumentError(Argument(name), f" is {shown(value)}, expected text")
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ArgumentError(
            Argument(name),
            f" is {shown(value)}, which holds half a surrogate pair: expected text that can "
            "be written as UTF-8",
        )
    return value


def listed(value: object, name: str, expected: str) -> list[object]:
    """The members of a list, tuple, array or other ordered collection of any objects.

    Args:
        expected: what the error says should have been given.

    Raises:
        ArgumentError: it is text, bytes, a mapping, a set, or cannot be gone through.
    """
    alone = isinstance(value, str | bytes | bytearray | Mapping | AbstractSet)
    # An array without axes has the methods of what can be gone through, and cannot.
    no_axes = isinstance(value, np.ndarray | jax.Array) and not value.ndim
    if alone or no_axes or not isinstance(value, Iterable):
        raise ArgumentError(Argument(name), f" is {shown(value)}, expected {expected}")
    return list(value)


def texts(value: object, name: str) -> tuple[str, ...]:
    """The strings of a list; it may be empty.

    Raises:
        ArgumentError: it is no list, a single text among others, or holds what is no text.
    """
    members = listed(value, name, f"a list of texts (one is [{name.rstrip('s')}])")
    return tuple(text(member, f"{name}[{number}]") for number, member in enumerate(members))


def instance(value: object, name: str, kind: type[Kind], made_by: str) -> Kind:
    """A record of a class.

    Args:
        made_by: the call that makes one.

    Raises:
        ArgumentError: anything else.
    """
    if not isinstance(value, kind):
        article = "an" if kind.__name__[0] in "AEIOU" else "a"
        raise ArgumentError(
            Argument(name), f" is {shown(value)}, expected {article} {kind.__name__}: {made_by}"
        )
    return value


def path(value: object, name: str) -> Path:
    """A path with the user's home folder in place of `~`.

    Raises:
        ArgumentError: it is no string and no path, or empty, or holds a character that no path has,
            or is the address of something that is on no disk of this machine.
    """
    if not isinstance(value, str | os.PathLike) or isinstance(os.fspath(value), bytes):
        raise ArgumentError(
            Argument(name), f" is {shown(value)}, expected a path: text or pathlib.Path"
        )
    given = os.fspath(value)
    try:
        os.fsencode(given)
    except UnicodeEncodeError:
        raise ArgumentError(
            Argument(name), f" is {shown(value)}, which no file system takes"
        ) from None
    if not given or "\0" in given:
        raise ArgumentError(Argument(name), f" is {shown(value)}, expected a path")
    # pathlib writes one of the two slashes.
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", given):
        raise ArgumentError(
            *(Argument(name), f" is {shown(value)}, which lies on no disk of this machine: copy "),
            "it into a folder, or mount it as one, and pass that",
        )
    try:
        return Path(given).expanduser()
    except RuntimeError as error:
        raise ArgumentError(
            Argument(name), f" is {shown(value)}: {error}; write the folder out instead of ~"
        ) from error


def as_array(value: object) -> np.ndarray:
    """Anything as an array; of objects where it is ragged or holds something other than numbers."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, OverflowError):
        return np.asarray(None)
    return np.asarray(None) if array.dtype != bool and _holds_truth(value) else array


def described(value: object) -> str:
    """A wrong array by its type and shape, anything else as `shown` says."""
    array = as_array(value)
    if array.ndim and array.dtype != object:
        return f"{array.dtype}{list(array.shape)}"
    return shown(value)


def shown(value: object) -> str:
    """A wrong value, for an error."""
    if isinstance(value, np.ndarray | jax.Array) and value.ndim:
        return f"an array {value.dtype}{list(value.shape)}"
    written = repr(value)
    if len(written) <= SHOWN and "\n" not in written:
        return written
    size = f" of {len(value)}" if isinstance(value, Sized) else ""
    return f"a {type(value).__name__}{size}"


def _holds_truth(value: object) -> bool:
    """Whether True or False stands among the members of nested lists: numpy takes them for 1, 0."""
    if isinstance(value, list | tuple):
        return any(map(_holds_truth, value))
    return isinstance(value, bool)
