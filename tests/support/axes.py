"""Checks the axes that annotations name, while tests run: `pytest -p tests.support.axes`.

A letter of `Float[jax.Array, "P R D"]` stands for one size throughout a call: in the parameters and
the result, and in their NamedTuples. Everything else that annotations say is left to mypy, and what
a record says in `__post_init__` to the record, which converts first.
"""

import functools
from collections.abc import Callable
from types import NoneType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

from beartype import beartype
from beartype.door import is_bearable
from beartype.vale import Is
from jaxtyping import AbstractArray, install_import_hook

ROOMS = (
    *("negjax.measurements", "negjax.generation", "negjax.replay", "negjax.execution"),
    "negjax.inputs",
)

Function = TypeVar("Function", bound=Callable[..., Any])


def pytest_load_initial_conftests() -> None:
    """Annotations of the rooms run from here on; none of their modules is imported yet."""
    install_import_hook(ROOMS, f"{__name__}.{checked.__name__}")


def checked(function: Function) -> Function:
    """A typechecker for `jaxtyping.jaxtyped`: looks at nothing but axes."""
    hints = {name: expanded(hint) for name, hint in function.__annotations__.items()}
    of_parameters = [hint for name, hint in function.__annotations__.items() if name != "return"]
    if function.__annotations__.get("return") in of_parameters:
        del hints["return"]  # A changed record may have other sizes.
    inside = "<locals>" in function.__qualname__  # of a function, where records are of all shapes
    function.__annotations__ = {
        name: hint for name, hint in hints.items() if names_axes(hint) and not inside
    }
    found: Function = beartype(function)
    if not function.__qualname__.endswith(".__init__"):
        return found

    def unless_it_converts(self: Any, *arguments: Any, **named: Any) -> Any:
        return None if hasattr(self, "__post_init__") else found(self, *arguments, **named)

    return unless_it_converts  # type: ignore[return-value]


def names_axes(hint: Any) -> bool:
    """Whether a type is an array with named axes, or holds one."""
    if isinstance(hint, type) and issubclass(hint, AbstractArray):
        return True
    return get_origin(hint) is Annotated or any(map(names_axes, get_args(hint)))


def expanded(hint: Any) -> Any:
    """A type in which a NamedTuple, alone or in a union, stands for what its fields are."""
    kind = get_origin(hint) or hint
    if isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields"):
        fields = {name: expanded(h) for name, h in get_type_hints(kind).items()}
        named = {name: field for name, field in fields.items() if names_axes(field)}
        return Annotated[tuple, Is[functools.partial(fits, named)]] if named else kind
    if NoneType in get_args(hint):
        return Union[tuple(map(expanded, get_args(hint)))]  # noqa: UP007 — of a tuple.
    return hint


def fits(fields: dict[str, Any], record: Any) -> bool:
    """Whether the fields of a record have the axes that they name."""
    return all(is_bearable(getattr(record, name), hint) for name, hint in fields.items())
