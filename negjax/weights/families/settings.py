"""A reader of config.json that refuses what it does not understand."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

from negjax.checks import shown
from negjax.weights.families.harmless import HARMLESS

_T = TypeVar("_T")

ACTIVATIONS_BY_HF_NAME = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_fast": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}


_HARMLESS = object()
"""Stands for the value of a key that is known to change nothing."""


class UnknownSettingsError(ValueError):
    """Settings of a file that negjax does not know and that may change what the model computes."""

    def __init__(self, origin: str, values: Mapping[str, object], assumed: Sequence[str]) -> None:
        """As many settings as there are.

        Args:
            values: by key; that of a setting inside an object is `outer.inner`.
            assumed: others, which the caller says are harmless.
        """
        self.names = sorted({*values, *assumed})
        listed = ", ".join(f"{key} = {shown(values[key])}" for key in sorted(values))
        self.found = (
            f"{origin}: settings that negjax does not know and that may change what the model "
            f"computes: {listed}"
        )
        super().__init__(f"{self.found}; if they change nothing, pass assume_harmless={self.names}")


class WrongAssumptionError(ValueError):
    """A setting that cannot be assumed to be harmless."""

    def __init__(self, name: str, why: str) -> None:
        """One setting.

        Args:
            name: as it was given.
            why: what is wrong with it, and what to do.
        """
        self.name, self.why = name, why
        super().__init__(f"assume_harmless names {shown(name)}: {why}")


def unwritable(field: str, value: object) -> ValueError:
    """The error that config.json cannot say what a model computes, for the caller to raise."""
    return ValueError(f"model config: {field} is {value!r}; config.json has no way to say this")


class Settings:
    """A config.json being read: every key is taken, known to be harmless, or an error at the end.

    Raises (all methods): ValueError, naming the file, the key, its value and what was expected.
    """

    def __init__(self, raw: Mapping[str, Any], origin: str) -> None:
        self._raw = dict(raw)
        self._taken: set[str] = set()
        self._nested: dict[str, Settings] = {}
        self.origin = origin

    def __contains__(self, key: str) -> bool:
        return key in self._raw

    def wrong(self, key: str, expected: str) -> ValueError:
        """The error that a value is not what is expected, for the caller to raise."""
        value = shown(self._raw[key]) if key in self._raw else "missing"
        return ValueError(f"{self.origin}: {key} is {value}, expected {expected}")

    def null(self, key: str) -> bool:
        """Whether the file says that there is none."""
        self._taken.add(key)
        return key in self._raw and self._raw[key] is None

    def raw(self, key: str, default: _T) -> Any | _T:
        """The value of any kind, or `default` where the key is missing or null."""
        self._taken.add(key)
        value = self._raw.get(key)
        return default if value is None else value

    def integer(self, key: str, default: int | None = None) -> int:
        """A positive integer."""
        value = self.raw(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
            raise self.wrong(key, "a positive integer")
        return value

    def whole(self, key: str, default: int) -> int:
        """A whole number, 0 or more; missing, but not null, where it may be left out."""
        value = None if self.null(key) else self.raw(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise self.wrong(key, "a whole number, 0 or more")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """A positive number."""
        value = self.raw(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise self.wrong(key, "a positive number")
        return float(value)

    def numbers(self, key: str, count: int) -> tuple[float, ...]:
        """A list of so many positive numbers."""
        value = self.raw(key, None)
        listed = value if isinstance(value, list) else []
        known = (isinstance(x, int | float) and not isinstance(x, bool) and x > 0 for x in listed)
        if len(listed) != count or not all(known):
            raise self.wrong(key, f"a list of {count} positive numbers")
        return tuple(float(x) for x in listed)

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self.raw(key, default)
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value

    def only(self, key: str, *allowed: object) -> None:
        """Null, missing or one of `allowed`: no other value is implemented."""
        if self.raw(key, allowed[0]) not in allowed:
            known = " or ".join(repr(value) for value in allowed)
            raise self.wrong(key, f"{known}: negjax does not implement anything else")

    def activation(self, key: str, default: str | None = None) -> str:
        """The library's name of an activation."""
        value = self.raw(key, default)
        if not isinstance(value, str) or value not in ACTIVATIONS_BY_HF_NAME:
            raise self.wrong(key, f"one of {', '.join(ACTIVATIONS_BY_HF_NAME)}")
        return ACTIVATIONS_BY_HF_NAME[value]

    def each_of(self, key: str, *allowed: str) -> None:
        """A list of nothing but `allowed`."""
        value = self.raw(key, None)
        if not isinstance(value, list) or not set(map(str, value)) <= set(allowed):
            raise self.wrong(key, f"a list of {' and '.join(map(repr, allowed))}")

    def divides(self, part: str, whole: str) -> None:
        """The integer under `part` divides that under `whole`."""
        if self.integer(whole) % self.integer(part):
            raise self.wrong(part, f"a divisor of {whole}, {self._raw[whole]}")

    def same(self, other: str, key: str) -> None:
        """`other` is a second name of `key`: it stands for it, and agrees with it."""
        self._taken.add(other)
        value = self._raw.get(other)
        if value is not None and self._raw.setdefault(key, value) != value:
            raise self.wrong(other, f"the same as {key}, {shown(self._raw[key])}")

    def nested(self, key: str) -> "Settings | None":
        """The settings under a key, None where it is missing or null; finished with these."""
        value = self.raw(key, None)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.wrong(key, "an object")
        self._nested[key] = Settings(value, f"{self.origin}: {key}")
        return self._nested[key]

    def finish(self, harmless: Collection[str] = (), assumed: Sequence[str] = ()) -> None:
        """Refuses keys that nobody took, are not known to be harmless and are not null or empty.

        Args:
            harmless: keys that change nothing, beside `HARMLESS`.
            assumed: keys that the caller says change nothing; of nested ones `outer.inner`.

        Raises:
            UnknownSettingsError: there are such keys; it names all, those of objects included.
            WrongAssumptionError: a key that is assumed to be harmless is not there, or is read.
        """
        unread = self._unread("", HARMLESS | set(harmless))
        for name in assumed:
            if name not in unread:
                raise self._wrong_assumption(name, unread)
        unknown = {
            key: value
            for key, value in unread.items()
            if not (value is _HARMLESS or key in assumed or value in (None, [], {}))
        }
        if unknown:
            raise UnknownSettingsError(self.origin, unknown, assumed)

    def _unread(self, prefix: str, harmless: Collection[str]) -> dict[str, object]:
        """Values by key of what nobody took."""
        found: dict[str, object] = {}
        for key, value in self._raw.items():
            if key not in self._taken:
                # A key of a nested object means something else than that of the same name outside.
                known = not prefix and key in harmless
                found[f"{prefix}{key}"] = _HARMLESS if known else value
        for key, settings in self._nested.items():
            found |= settings._unread(f"{prefix}{key}.", harmless)
        return found

    def _wrong_assumption(self, name: object, unread: Mapping[str, object]) -> WrongAssumptionError:
        outer, _, inner = str(name).partition(".")
        settings = self._nested.get(outer) if inner else self
        key = inner or outer
        if settings is not None and key in settings and key in settings._taken:
            why = f"negjax reads this setting of {self.origin}; leave it out"
        else:
            others = [key for key, value in unread.items() if value is not _HARMLESS]
            hint = f"; negjax does not know its {', '.join(sorted(others))}" if others else ""
            why = f"{self.origin} has no such setting{hint}; correct the name or leave it out"
        return WrongAssumptionError(str(name), why)
