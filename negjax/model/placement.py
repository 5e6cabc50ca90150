"""Where rows of tokens stand, and which tokens see which."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from negjax.model.packing import Packing


class Placement(NamedTuple):
    """Where rows of suffix tokens stand, what lies before them, and the layer that they are in."""

    positions: jax.Array
    """[P, S], position ids."""
    mask: jax.Array
    """[P, S], True where a token is real."""
    prefix_mask: jax.Array | None
    """[P, T], True where a prefix token is real, right-padded; None without a prefix."""
    head_mask: jax.Array | None = None
    """[T], True where a token of a common head is real; None without one."""
    packing: Packing | None = None
    """Of what attention reads, where the rows are packed."""
    at_origin: bool = False
    """Whether the tokens are taken as the origin of positions (`Attention.seen_from`)."""
    layer: jax.Array | int | None = None
    """Number of the layer, where layers differ."""
    routes: jax.Array | None = None
    """[L, P, S, k], experts to which tokens are routed; None: to those that the router chooses."""

    def at(self, layer: jax.Array | int) -> "Placement":
        """The same in a layer."""
        return self._replace(layer=layer)

    @property
    def routed(self) -> jax.Array | None:
        """[P, 1, S, k], experts in the layer."""
        return None if self.routes is None else self.routes[self.layer][:, None]

    @property
    def turns(self) -> jax.Array | None:
        """Positions [P, 1, S] by which queries and keys turn, packed where rows are; None: 0."""
        if self.at_origin:
            return None
        turns = self.positions[:, None]
        return turns if self.packing is None else self.packing.pack(turns)

    def near(self, rows: jax.Array, seen: int, causal: bool) -> jax.Array:
        """[P, n, seen], which of a row's own first tokens its tokens number `rows` [n] see."""
        shape = (self.mask.shape[0], len(rows), seen)
        allowed = jnp.broadcast_to(self.mask[:, None, :seen], shape)
        return allowed & (jnp.arange(seen) <= rows[:, None]) if causal else allowed

    def near_distance(self, rows: jax.Array, seen: int) -> jax.Array:
        """[P, n, seen], distances in the text between those tokens and a row's own first ones."""
        return jnp.abs(self.positions[:, rows, None] - self.positions[:, None, :seen])

    def prefix_distance(self, rows: jax.Array) -> jax.Array:
        """[P, n, T], distances in the text between those tokens and the ones of their prefix."""
        assert self.prefix_mask is not None
        first = 0 if self.head_mask is None else self.head_mask.sum(dtype=self.positions.dtype)
        before = first + jnp.arange(self.prefix_mask.shape[1])
        return jnp.abs(self.positions[:, rows, None] - before)

    def head_distance(self, rows: jax.Array) -> jax.Array:
        """[P, n, T], from those tokens back to the ones of the common head."""
        assert self.head_mask is not None
        return self.positions[:, rows, None] - jnp.arange(self.head_mask.shape[0])
