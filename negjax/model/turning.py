"""RoPE as a block computes it, in layers that may differ."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from negjax.model.rope import Rope


@dataclasses.dataclass(frozen=True)
class Turning:
    """Turns pairs of entries of queries and keys by position × the layer's frequencies."""

    ropes: tuple[Rope | None, ...]
    """[L], of each layer; those that are there turn the same entries."""
    head_width: int

    @property
    def _shape(self) -> tuple[int, bool]:
        """How many entries turn, and whether they turn against their neighbours."""
        known = (rope for rope in self.ropes if rope is not None)
        return next(((rope.turned(self.head_width), rope.neighbours) for rope in known), (0, False))

    def turned(
        self, x: jax.Array, positions: jax.Array, layer: jax.Array | int | None
    ) -> jax.Array:
        """x [..., S, heads, C] turned by positions [..., S], integers."""
        width, neighbours = self._shape
        if not width:
            return x
        angle = positions[..., None, None].astype(jnp.float32) * self._frequencies(layer)
        cos, sin = jnp.cos(angle).astype(x.dtype), jnp.sin(angle).astype(x.dtype)
        turning, rest = x[..., :width], x[..., width:]
        if neighbours:
            first, second = turning[..., ::2], turning[..., 1::2]
        else:
            first, second = jnp.split(turning, 2, axis=-1)
        pair = first * cos - second * sin, second * cos + first * sin
        if neighbours:
            turning = jnp.stack(pair, axis=-1).reshape(turning.shape)
        else:
            turning = jnp.concatenate(pair, axis=-1)
        return turning if width == x.shape[-1] else jnp.concatenate([turning, rest], axis=-1)

    def scaled(self, x: jax.Array, layer: jax.Array | int | None) -> jax.Array:
        """x [..., C] times the layer's `attention_factor`, where it turns."""
        factors = np.asarray([1.0 if r is None else r.attention_factor for r in self.ropes])
        if (factors == 1).all():
            return x
        each = np.where(np.arange(self.head_width) < self._shape[0], factors[:, None], 1)
        return x * self._of(layer, each).astype(x.dtype)

    def _frequencies(self, layer: jax.Array | int | None) -> jax.Array | np.ndarray:
        """[n]. Where a layer has no RoPE they are 0, and turn nothing: to the bit."""
        none = np.zeros(self._shape[0] // 2, np.float32)
        each = [none if r is None else r.frequencies(self.head_width) for r in self.ropes]
        return self._of(layer, np.stack(each))

    def _of(self, layer: jax.Array | int | None, each: np.ndarray) -> jax.Array | np.ndarray:
        """A layer's entry of `each` [L, ...]."""
        if len(set(self.ropes)) == 1:
            result: np.ndarray = each[0]
            return result
        assert layer is not None
        return jnp.asarray(each)[layer]
