"""Settings of a study: one frozen dataclass makes its flags, is read from them, and is recorded.

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        draws: int = setting(2, "Sets of each size that are drawn for a prompt.", least=1)

    FLAGS = settings.define(Settings)
    FLAGS.read().draws

A field is a flag of its name. Its kind says what the flag holds: `bool`, `int`, `float`, `str` and
these or None; `list[str]`, `list[int]` (from 1 on, ascending) and `list[float]` (ascending, none
0), separated by commas.
"""

import dataclasses
import typing
from collections.abc import Iterable
from typing import Any, Generic, TypeVar

import numpy as np
from absl import flags

from experiments.running import flag_lists, messages

# A flag belongs to the module of its study, not to this one.
flags.disclaim_key_flags()

S = TypeVar("S")


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Rule:
    """What a flag is, and what its values must be."""

    text: str
    choices: tuple[str, ...] | None
    least: float | None
    most: float | None
    above: float | None
    below: float | None
    count: int
    recorded: bool


def setting(
    default: Any,
    text: str,
    *,
    choices: Iterable[str] | None = None,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    count: int = 1,
    recorded: bool = True,
) -> Any:
    """A field of a study's settings.

    Args:
        default: of the flag; of lists, a sequence of their members.
        text: help of the flag.
        choices: names that it takes; of a list, that its members are among.
        least, most: that numbers may be, of lists each member.
        above, below: that numbers must be above or below.
        count: members that a list of numbers must have.
        recorded: whether the measurements depend on it; else it only says what is shown of them.
    """
    rule = _Rule(
        text=text,
        choices=None if choices is None else tuple(choices),
        least=least,
        most=most,
        above=above,
        below=below,
        count=count,
        recorded=recorded,
    )
    if isinstance(default, (list, tuple)):
        members = list(default)
        return dataclasses.field(default_factory=members.copy, metadata={"rule": rule})
    return dataclasses.field(default=default, metadata={"rule": rule})


def recorded(settings: Any) -> dict[str, Any]:
    """Settings that measurements depend on, for the run's folder."""
    return {
        field.name: getattr(settings, field.name)
        for field in dataclasses.fields(settings)
        if field.metadata["rule"].recorded
    }


class Flags(Generic[S]):
    """The flags of a study's settings, by the names of its fields."""

    def __init__(self, kind: type[S]):
        self._kind = kind
        self._types = typing.get_type_hints(kind)
        self._holders = {field.name: self._define(field) for field in dataclasses.fields(kind)}  # type: ignore[arg-type]

    def __getitem__(self, name: str) -> flags.FlagHolder[Any]:
        """The flag, for errors that name it."""
        return self._holders[name]

    def read(self) -> S:
        """The settings as the flags say.

        Raises:
            ValueError: a flag's value is not what its field allows; the message names the flag.
        """
        fields = dataclasses.fields(self._kind)  # type: ignore[arg-type]
        return self._kind(**{field.name: self._read(field) for field in fields})

    def _define(self, field: dataclasses.Field[Any]) -> flags.FlagHolder[Any]:
        rule, kind = field.metadata["rule"], self._types[field.name]
        name, text = field.name, rule.text
        if typing.get_origin(kind) is list:
            assert field.default_factory is not dataclasses.MISSING
            words = [
                f"{member:g}" if isinstance(member, float) else str(member)
                for member in field.default_factory()
            ]
            return flags.DEFINE_list(name, words, text)
        of = next(some for some in typing.get_args(kind) or (kind,) if some is not type(None))
        default: Any = field.default
        if of is bool:
            return flags.DEFINE_bool(name, default, text)
        if of is int:
            return flags.DEFINE_integer(name, default, text, rule.least, rule.most)
        if of is float:
            return flags.DEFINE_float(name, default, text, rule.least, rule.most)
        if rule.choices is not None:
            return flags.DEFINE_enum(name, default, list(rule.choices), text)
        return flags.DEFINE_string(name, default, text)

    def _read(self, field: dataclasses.Field[Any]) -> Any:
        rule, kind, flag = field.metadata["rule"], self._types[field.name], self[field.name]
        if kind == list[str]:
            return flag.value if rule.choices is None else flag_lists.names(flag, rule.choices)
        if kind in (list[int], list[float]):
            members: list[Any] = (
                flag_lists.whole_numbers(flag)
                if kind == list[int]
                else flag_lists.numbers(flag, rule.count).tolist()
            )
            for member in members:
                _check(flag, rule, member, "expected numbers")
            return members
        if isinstance(flag.value, int | float):
            _check(flag, rule, flag.value, "expected a number")
        return flag.value


def define(kind: type[S]) -> Flags[S]:
    """Defines the flags of a dataclass whose fields are `setting`s."""
    return Flags(kind)


def _check(flag: flags.FlagHolder[Any], rule: _Rule, value: float, expected: str) -> None:
    bounds = (
        ("of at least", rule.least, np.greater_equal),
        ("of at most", rule.most, np.less_equal),
        ("above", rule.above, np.greater),
        ("below", rule.below, np.less),
    )
    words = " and ".join(f"{word} {bound:g}" for word, bound, _ in bounds if bound is not None)
    holds = all(test(value, bound) for _, bound, test in bounds if bound is not None)
    with messages.of_flag(flag):
        if not np.isfinite(value):
            raise ValueError("expected a finite number")
        if not holds:
            raise ValueError(f"{expected} {words}")
