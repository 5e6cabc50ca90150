"""Errors that know which of their words are arguments: a command line puts its flags there."""

import dataclasses
from collections.abc import Callable


@dataclasses.dataclass(frozen=True, init=False)
class Argument:
    """An argument in an error's message, with the values that it is advised to have."""

    name: str
    values: tuple[object, ...]

    def __init__(self, name: str, *values: object) -> None:
        """As many values as may be advised; none where the message speaks of the argument alone."""
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "values", values)

    def __str__(self) -> str:
        """Returns it as a call writes it: `name`, `name=1`, `name="a" or "b"`."""
        quoted = [f'"{value}"' if isinstance(value, str) else str(value) for value in self.values]
        return f"{self.name}={' or '.join(quoted)}" if quoted else self.name


class Message(str):
    """A text that remembers which of its parts are arguments."""

    __slots__ = ("parts",)
    parts: tuple["str | Argument", ...]

    def __new__(cls, *parts: "str | Argument") -> "Message":
        """Joins the parts in their order; blanks are in them."""
        text = super().__new__(cls, "".join(map(str, parts)))
        # A message within a message brings its arguments along.
        text.parts = tuple(
            inner
            for part in parts
            for inner in (part.parts if isinstance(part, Message) else (part,))
        )
        return text

    def spelled(self, spelling: Callable[[Argument], str]) -> str:
        """Returns the text with its arguments written by `spelling`."""
        return "".join(
            spelling(part) if isinstance(part, Argument) else part for part in self.parts
        )


class ArgumentError(ValueError):
    """A value that an argument does not take, or that does not go with what else was given.

    Fields: `message`, and `arguments`, the names in it.
    """

    def __init__(self, *parts: str | Argument) -> None:
        """Takes the parts of the message in their order."""
        self.message = Message(*parts)
        super().__init__(self.message)

    @property
    def arguments(self) -> tuple[str, ...]:
        """Names of the arguments that the message speaks of, in their order."""
        return tuple(part.name for part in self.message.parts if isinstance(part, Argument))
