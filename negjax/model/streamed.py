"""Parameters of all layers that are not held: a layer's are fetched where they are used.

Everything here walks the layers in order, and asks for each layer's parameters once on its way
(`layer_of`). So a stack of them may be in memory, or nothing but the means to get a layer's: the
programs are the same.
"""

import dataclasses
import math
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from flax import nnx


class Source(Protocol):
    """Where layers' parameters come from. Sources are compared by identity."""

    def fetched(self, path: str, layer: jax.Array) -> jax.Array:
        """A layer's entry of a parameter, as an operation of the program that is being traced.

        Args:
            path: of the parameter, dotted.
            layer: its number, an integer, which may be traced.
        """

    def hashed(self, path: str) -> bytes:
        """What tells a parameter from another, all layers of it."""

    def failure(self) -> Exception | None:
        """Why the last layer could not be read; asked once."""


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Streamed:
    """In the place of an array [L, ...] in a tree of parameters: no array, and no leaf of it."""

    shape: tuple[int, ...]
    """[L, ...]."""
    dtype: jnp.dtype
    path: str
    source: Source

    @property
    def size(self) -> int:
        """Entries."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all layers."""
        return self.size * self.dtype.itemsize

    def at(self, layer: Any) -> jax.Array:
        """A layer's entry, [...]."""
        return self.source.fetched(self.path, jnp.asarray(layer, jnp.int32))

    def __getitem__(self, index: object) -> jax.Array:
        """Refuses what would need all layers at once.

        Raises:
            ValueError: always.
        """
        raise _all_asked(self)

    def __array__(self, *_: object, **__: object) -> Any:
        """The same.

        Raises:
            ValueError: always.
        """
        raise _all_asked(self)


def _all_asked(leaf: Streamed) -> ValueError:
    return ValueError(
        f"parameter {leaf.path} is streamed, layer by layer, and this needs all layers at once: "
        "load the model with weights='resident'"
    )


def is_streamed(leaf: object) -> bool:
    """Whether what stands in a tree of parameters is no array."""
    return isinstance(leaf, Streamed)


def leaves(params: nnx.State[Any, Any]) -> list[Any]:
    """Arrays of parameters, and what stands in the place of those that are not held."""
    found: list[Any] = jax.tree.leaves(params, is_leaf=is_streamed)
    return found


def read_failure(params: nnx.State[Any, Any]) -> Exception | None:
    """Why parameters could not be read, if it was that."""
    sources = dict.fromkeys(leaf.source for leaf in leaves(params) if is_streamed(leaf))
    failures = [source.failure() for source in sources]
    return next((failure for failure in failures if failure is not None), None)


def layer_of(params: nnx.State[Any, Any], layer: Any) -> nnx.State[Any, Any]:
    """Parameters of a layer, from those of all, [L, ...] each."""

    result: nnx.State[Any, Any] = jax.tree.map(
        lambda leaf: entry_of(leaf, layer), params, is_leaf=is_streamed
    )
    return result


def entry_of(parameter: Any, layer: Any) -> jax.Array:
    """A layer's entry [...] of a parameter [L, ...]."""
    result: jax.Array = parameter.at(layer) if is_streamed(parameter) else parameter[layer]
    return result


def held_of(params: nnx.State[Any, Any], layer: Any) -> nnx.State[Any, Any]:
    """The same, without what is streamed, of which nothing may be used."""
    result: nnx.State[Any, Any] = jax.tree.map(
        lambda leaf: leaf if is_streamed(leaf) else leaf[layer], params, is_leaf=is_streamed
    )
    return result


def rows_of(parameter: Any, layer: jax.Array, row: jax.Array) -> jax.Array:
    """Rows of layers' matrices: entries [..., D] of a parameter [L, F, D], by number [...] each.

    Of a streamed one, the layers that are asked for are walked from the lowest on.
    """
    if not is_streamed(parameter):
        result: jax.Array = parameter[layer, row]
        return result
    last = layer.max()

    def take(carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        at, rows = carry
        rows = jnp.where((layer == at)[..., None], parameter.at(at)[row], rows)
        return jnp.where(layer > at, layer, last + 1).min(), rows

    rows = jnp.zeros((*layer.shape, parameter.shape[-1]), parameter.dtype)
    _, found = jax.lax.while_loop(lambda carry: carry[0] <= last, take, (layer.min(), rows))
    return found
