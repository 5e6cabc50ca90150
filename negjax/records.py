"""Records that people can read: `repr` on at most three lines, without the arrays' contents.

    NeurGrad(site='up', output='probability')
      probability [B=2, K=1], activation [B=2, L=30, F=1536], computed [B=2, K=1, L=30, F=1536]

First what is a number or a word (of too many, those that are not at their defaults), then names and
shapes of arrays, then how much there is of anything else. The letters of the axes are those that a
field's annotation names, as in `Float[np.ndarray, "B K"]`. Where it names none, they are those that
the text beside the field begins with ("[B, K]."), read from the class's source when it is asked
for; without a source, sizes are shown alone.
"""

import ast
import dataclasses
import html
import inspect
import numbers
import sys
from collections.abc import Iterable, Mapping, Sequence, Set, Sized
from pathlib import Path
from typing import Any, Self, TypeVar, get_args

import numpy as np

from negjax.checks import is_whole, shown

_Class = TypeVar("_Class", bound=type)

MOST = 400
"""Characters of a record's repr, but for a few that say that something was left out."""
MOST_SHAPES, MOST_OTHERS = 260, 110
"""Of these, what shapes and what the last line may take."""
TEXT, SMALL, FIRST = 40, 64, 30
"""Characters that are shown of a text or a list of words or numbers, of a record in a record, and
of the first of many texts."""


def readable(record: _Class) -> _Class:
    """A class decorator: gives a dataclass or a NamedTuple a `repr` of at most three lines, which
    notebooks show, too, where the class has nothing of its own for them."""
    record.__repr__ = _repr  # type: ignore[assignment]
    if not hasattr(record, "_repr_html_"):
        record._repr_html_ = as_html  # type: ignore[attr-defined]
    return record


def as_html(record: object) -> str:
    """A record's `repr` as a notebook shows it."""
    return f"<pre>{html.escape(repr(record))}</pre>"


class PerPrompt:
    """Results of B prompts: `len` is B, and an index or a slice selects prompts."""

    def __len__(self) -> int:
        """B."""
        return len(next(iter(self._by_prompt().values())))

    def __getitem__(self, which: int | slice) -> Self:
        """The results of one prompt, whose axis stays with B = 1, or of a slice of them.

        Raises:
            IndexError: there is no such prompt.
            TypeError: neither a whole number nor a slice.
        """
        at = chosen_prompts(which, len(self))
        selected: Any = {name: values[at] for name, values in self._by_prompt().items()}
        result: Self = dataclasses.replace(self, **selected)  # type: ignore[type-var]
        return result

    def __array__(self, *_: object, **__: object) -> np.ndarray:
        """Refused: numpy would take what has a length and an index for nested lists, without end.

        Raises:
            TypeError: always.
        """
        raise TypeError(f"a {type(self).__name__} is no array; its fields are")

    def _by_prompt(self) -> dict[str, np.ndarray]:
        """Arrays whose first axis is B, by the annotation of their field."""
        axes = _annotated_axes(type(self))
        values = {name: getattr(self, name) for name in axes if axes[name][:1] == ["B"]}
        return {name: value for name, value in values.items() if value is not None}


def array_axes(record: Any) -> dict[str, tuple[np.ndarray, tuple[str, ...]]]:
    """The arrays among a dataclass's fields, and the letter of each of their axes."""
    axes = _annotated_axes(type(record))
    arrays = {
        field.name: getattr(record, field.name)
        for field in dataclasses.fields(record)
        if field.name in axes
    }
    return {
        name: (values, tuple(_spread(axes[name], values.ndim)))
        for name, values in arrays.items()
        if values is not None
    }


def chosen_prompts(which: object, count: int) -> list[int]:
    """Numbers of the prompts that an index or a slice selects of `count`, one or more.

    Raises:
        IndexError: none.
        TypeError: neither a whole number nor a slice.
    """
    if isinstance(which, slice):
        if found := list(range(count)[which]):
            return found
        raise IndexError(f"{which} selects none of the {count} prompts")
    if not is_whole(which):
        raise TypeError(
            f"prompts are selected by a whole number or a slice, not by {shown(which)}; a list of "
            "numbers goes through Probes.select before anything is measured"
        )
    if not -count <= which < count:
        raise IndexError(f"prompt {which}: there are {count}, numbered from 0")
    return [int(which) % count]


def cut(text: str, most: int = TEXT) -> str:
    """A text, its middle left out if it is long."""
    if len(text) <= most:
        return text
    kept = most - 1
    return f"{text[: kept - kept // 2]}…{text[len(text) - kept // 2 :]}"


def _repr(self: Any) -> str:
    words: dict[str, str] = {}
    shapes: dict[str, list[str]] = {}
    others: list[str] = []
    axes, optional = _axes(type(self)), _optional_records(type(self))
    for name in _fields(self):
        value = getattr(self, name)
        if isinstance(value, np.generic):
            value = value.item()
        if _is_array(value):
            shapes.setdefault(_shape(value, axes.get(name, ())), []).append(name)
        elif value is None and (name in axes or name in optional):
            continue  # An array or a record that was not asked for.
        else:
            word = _word(value)
            if word is None:
                others.append(f"{name}: {_amount(value)}")
            else:
                words[name] = f"{name}={word}"
    arrays = [f"{', '.join(names)} {shape}" for shape, names in shapes.items()]
    below = [_line(arrays, MOST_SHAPES), _line(others, MOST_OTHERS)]
    room = MOST - sum(map(len, below))
    if sum(map(len, words.values())) + 2 * len(words) > room:
        # Of many settings those that are none of the usual ones.
        usual = _defaults(self)
        words = {name: word for name, word in words.items() if name not in usual}
    told = _line(words.values(), room)
    first = f"{type(self).__name__}({told})" if told else type(self).__name__
    return "\n  ".join([first, *(line for line in below if line)])


def _fields(record: Any) -> list[str]:
    if dataclasses.is_dataclass(record):
        # What says `repr=False` is named where it is not as usual.
        every = dataclasses.fields(record)
        return [f.name for f in every if f.repr or getattr(record, f.name) != f.default]
    return list(record._fields)


def _defaults(record: Any) -> set[str]:
    """Names of a dataclass's fields that have their defaults."""
    fields = dataclasses.fields(record) if dataclasses.is_dataclass(record) else ()
    values = ((field, getattr(record, field.name)) for field in fields)
    return {f.name for f, value in values if not _is_array(value) and value == f.default}


def _optional_records(record: type) -> set[str]:
    """Names of fields that hold a record or None."""
    hints = inspect.get_annotations(record)
    return {name for name in hints if any(map(dataclasses.is_dataclass, get_args(hints[name])))}


def _is_array(value: object) -> bool:
    return hasattr(value, "dtype") and isinstance(getattr(value, "shape", None), tuple)


def _shape(array: Any, letters: Sequence[str]) -> str:
    letters = _spread(letters, len(array.shape))
    if len(letters) != len(array.shape):
        letters = [""] * len(array.shape)
    named = (
        f"{letter}={size}" if letter and letter != str(size) else str(size)
        for letter, size in zip(letters, array.shape, strict=True)
    )
    return f"[{', '.join(named)}]"


def _spread(letters: Sequence[str], count: int) -> list[str]:
    """Letters of `count` axes, of which one may stand for none or several: "*Q"."""
    several = count - len(letters) + 1
    return [
        name
        for letter in letters
        for name in ([letter[1:]] * several if letter.startswith("*") else [letter])
    ]


def _word(value: object) -> str | None:
    """A value that a few characters say, None for one that they do not."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if value is None or isinstance(value, numbers.Number):
        return repr(value)
    if isinstance(value, str):
        return repr(cut(value))
    if isinstance(value, Path):
        return repr(cut(str(value)))
    if inspect.isroutine(value):
        return value.__name__
    if dataclasses.is_dataclass(value):
        text = repr(value)
        return text if len(text) <= SMALL and "\n" not in text else None
    if not isinstance(value, tuple | list) or len(value) > TEXT:
        return None
    if not all(isinstance(item, str | numbers.Number) for item in value):
        return None
    words = ", ".join(str(_word(item)) for item in value)
    ending = "," if len(value) == 1 else ""
    text = f"[{words}]" if isinstance(value, list) else f"({words}{ending})"
    return text if len(text) <= TEXT else None


def _amount(value: object) -> str:
    """What a value is, and how much of it there is."""
    if isinstance(value, Mapping):
        return f"{len(value)} by name"
    if isinstance(value, tuple | list) and not hasattr(value, "_fields"):
        first = f", {cut(value[0], FIRST)!r} …" if value and isinstance(value[0], str) else ""
        return f"{len(value)}{first}"
    kind = type(value).__name__
    # Others may have to read a file to know it.
    counted = dataclasses.is_dataclass(value) or isinstance(value, Set)
    return f"{kind} of {len(value)}" if counted and isinstance(value, Sized) else kind


def _line(parts: Iterable[str], most: int) -> str:
    """As many parts as there is room for."""
    parts = list(parts)
    kept = len(parts)
    while kept > 1 and len(", ".join(parts[:kept])) > most:
        kept -= 1
    left = [f"and {len(parts) - kept} more"] if kept < len(parts) else []
    return ", ".join([*parts[:kept], *left])


def _axes(record: type) -> dict[str, list[str]]:
    """Letters of the axes of each field that has them, those of its bases too."""
    found: dict[str, list[str]] = {}
    for kind in reversed(record.__mro__):
        for name, text in _texts(kind).items():
            letters, closed, _ = text.removeprefix("[").partition("]")
            if text.startswith("[") and closed:
                found[name] = [letter.strip() for letter in letters.split(",") if letter.strip()]
        found |= _annotated_axes(kind, inherited=False)
    return found


def _annotated_axes(record: type, *, inherited: bool = True) -> dict[str, list[str]]:
    """Letters of the axes that annotations name."""
    found: dict[str, list[str]] = {}
    for kind in reversed(record.__mro__) if inherited else (record,):
        for name, hint in inspect.get_annotations(kind).items():
            # An array, or one that may be left out.
            for part in (hint, *get_args(hint)):
                if hasattr(part, "dim_str"):
                    found[name] = part.dim_str.split()
    return found


def _texts(kind: type) -> dict[str, str]:
    """The texts beside the fields that a class itself has."""
    if kind.__module__ == "builtins" or kind.__module__ not in sys.modules:
        return {}
    try:
        module = ast.parse(inspect.getsource(sys.modules[kind.__module__]))
    except (OSError, TypeError, SyntaxError):  # none there, or being edited
        return {}
    for node in module.body:
        if isinstance(node, ast.ClassDef) and node.name == kind.__name__:
            return {
                field.target.id: text.value.value
                for field, text in zip(node.body, node.body[1:], strict=False)
                if isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
                and isinstance(text.value.value, str)
            }
    return {}
