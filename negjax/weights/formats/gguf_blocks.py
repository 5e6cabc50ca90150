"""Blocks of GGUF files: numbers of a few bits with scales, decoded on the host or on a device.

On the host the `gguf` package decodes them. On a device the same formulas are part of the program
that uses the numbers, so that blocks are all that has to get there. All products in them are exact
in float32 (11 bits of a float16 scale, at most 7 of a scale's scale, at most 8 of a number), and of
the two terms that some formats have one sum is rounded: both decoders agree to the last bit.

Format: ggml's `ggml-common.h` says what is where in a block, `ggml-quants.c` what it means
(https://github.com/ggml-org/ggml).
"""

import dataclasses
from collections.abc import Callable

import gguf
import jax
import jax.numpy as jnp
import numpy as np
from gguf import GGMLQuantizationType as Kind
from gguf.constants import GGML_QUANT_SIZES

from negjax.weights.tensors import Array, Before, Block, Step

Blocks = jax.Array
"""[n, bytes of a block], uint8."""


def _as(blocks: Blocks, start: int, count: int, dtype: str) -> jax.Array:
    """`count` numbers of a type from byte `start` of each block, [n, count]."""
    size = jnp.dtype(dtype).itemsize
    data = blocks[:, start : start + count * size]
    data = data.reshape(len(blocks), count, size) if size > 1 else data
    return jax.lax.bitcast_convert_type(data, jnp.dtype(dtype))


def _scale(blocks: Blocks, start: int) -> jax.Array:
    """A float16 of each block as float32, [n, 1]."""
    return _as(blocks, start, 1, "float16").astype(jnp.float32)


def _nibbles(data: jax.Array, width: int) -> jax.Array:
    """[n, m] to [n, m / width, 2, width]: of every `width` bytes the low halves, then the high."""
    parts = data.reshape(len(data), -1, 1, width)
    return parts >> jnp.asarray([0, 4], jnp.uint8)[:, None] & 15


def _bits(data: jax.Array, count: int) -> jax.Array:
    """[n, m] to [n, count, m]: bit 0 of all bytes, then bit 1, and so on."""
    return data[:, None] >> jnp.arange(count, dtype=jnp.uint8)[:, None] & 1


def _flat(values: jax.Array) -> jax.Array:
    return values.reshape(len(values), -1)


def _fifth_bits(blocks: Blocks, start: int) -> jax.Array:
    """The fifth bits of 32 numbers, bit by bit of four bytes, as 0 or 16."""
    data = blocks[:, start : start + 4]
    return _flat(data[:, :, None] >> jnp.arange(8, dtype=jnp.uint8) & 1) << 4


def _q4_0(blocks: Blocks) -> jax.Array:
    numbers = _flat(_nibbles(blocks[:, 2:], 16)).astype(jnp.float32)
    return _scale(blocks, 0) * (numbers - 8)


def _q4_1(blocks: Blocks) -> jax.Array:
    numbers = _flat(_nibbles(blocks[:, 4:], 16)).astype(jnp.float32)
    return _scale(blocks, 0) * numbers + _scale(blocks, 2)


def _q5_0(blocks: Blocks) -> jax.Array:
    numbers = _flat(_nibbles(blocks[:, 6:], 16)) | _fifth_bits(blocks, 2)
    return _scale(blocks, 0) * (numbers.astype(jnp.float32) - 16)


def _q5_1(blocks: Blocks) -> jax.Array:
    numbers = _flat(_nibbles(blocks[:, 8:], 16)) | _fifth_bits(blocks, 4)
    return _scale(blocks, 0) * numbers.astype(jnp.float32) + _scale(blocks, 2)


def _q8_0(blocks: Blocks) -> jax.Array:
    return _scale(blocks, 0) * _as(blocks, 2, 32, "int8").astype(jnp.float32)


def _pairs(data: jax.Array) -> jax.Array:
    """[n, 64] to [n, 2, 4, 32]: of each 32 bytes the lowest two bits, then the next, and so on."""
    parts = data.reshape(len(data), 2, 1, 32)
    return parts >> jnp.asarray([0, 2, 4, 6], jnp.uint8)[:, None] & 3


def _of_groups(scale: jax.Array, groups: jax.Array) -> jax.Array:
    """scale [n, 1] · groups [n, g], as [n, g, 1]."""
    # XLA would make them anew for every number of a group, in more than half of all the time.
    found: jax.Array = jax.lax.optimization_barrier(scale * groups.astype(jnp.float32))
    return found[:, :, None]


def _scaled(scale: jax.Array, groups: jax.Array, numbers: jax.Array) -> jax.Array:
    """scale [n, 1] · groups [n, g] · numbers [n, 256], of which each group has its share."""
    factors = _of_groups(scale, groups)
    return _flat(factors * numbers.astype(jnp.float32).reshape(*groups.shape, -1))


def _lowered(starts: jax.Array, values: jax.Array) -> jax.Array:
    """values [n, 256] less a number of each group [n, g, 1]."""
    return _flat(values.reshape(*starts.shape[:2], -1) - starts)


def _q2_k(blocks: Blocks) -> jax.Array:
    scales, numbers = blocks[:, :16], _flat(_pairs(blocks[:, 16:80]))
    starts = _of_groups(_scale(blocks, 82), scales >> 4)
    return _lowered(starts, _scaled(_scale(blocks, 80), scales & 15, numbers))


def _q3_k(blocks: Blocks) -> jax.Array:
    third = _bits(blocks[:, :32], 8).reshape(-1, 2, 4, 32)
    numbers = _flat((_pairs(blocks[:, 32:96]) | third << 2).astype(jnp.int8) - 4)
    low = _flat(_nibbles(blocks[:, 96:104], 8))
    high = blocks[:, None, 104:108] >> jnp.asarray([0, 2, 4, 6], jnp.uint8)[:, None] & 3
    scales = (low | _flat(high) << 4).astype(jnp.int8) - 32
    return _scaled(_scale(blocks, 108), scales, numbers)


def _six_bits(data: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Eight scales and eight starts of 6 bits, [n, 8] each, from 12 bytes."""
    first, second, third = data[:, :4], data[:, 4:8], data[:, 8:]
    scales = jnp.concatenate([first & 63, third & 15 | first >> 6 << 4], 1)
    starts = jnp.concatenate([second & 63, third >> 4 | second >> 6 << 4], 1)
    return scales, starts


def _q4_k(blocks: Blocks) -> jax.Array:
    return _with_starts(blocks, _flat(_nibbles(blocks[:, 16:], 32)))


def _q5_k(blocks: Blocks) -> jax.Array:
    fifth = _flat(_bits(blocks[:, 16:48], 8))
    return _with_starts(blocks, _flat(_nibbles(blocks[:, 48:], 32)) | fifth << 4)


def _with_starts(blocks: Blocks, numbers: jax.Array) -> jax.Array:
    scales, starts = _six_bits(blocks[:, 4:16])
    return _lowered(
        _of_groups(_scale(blocks, 2), starts), _scaled(_scale(blocks, 0), scales, numbers)
    )


def _q6_k(blocks: Blocks) -> jax.Array:
    # Of each 64 bytes the low halves, then the high ones; of 32 bytes two bits for each of these.
    low = _flat(_nibbles(blocks[:, :128], 64)).reshape(-1, 2, 4, 32)
    numbers = _flat((low | _pairs(blocks[:, 128:192]) << 4).astype(jnp.int8) - 32)
    return _scaled(_scale(blocks, 208), _as(blocks, 192, 16, "int8"), numbers)


def _half(blocks: Blocks) -> jax.Array:
    return _scale(blocks, 0)


DECODERS: dict[gguf.GGMLQuantizationType, Callable[[Blocks], jax.Array]] = {
    Kind.F32: lambda blocks: _as(blocks, 0, 1, "float32"),
    Kind.F16: _half,
    Kind.BF16: lambda blocks: _as(blocks, 0, 1, "bfloat16").astype(jnp.float32),
    Kind.Q4_0: _q4_0,
    Kind.Q4_1: _q4_1,
    Kind.Q5_0: _q5_0,
    Kind.Q5_1: _q5_1,
    Kind.Q8_0: _q8_0,
    Kind.Q2_K: _q2_k,
    Kind.Q3_K: _q3_k,
    Kind.Q4_K: _q4_k,
    Kind.Q5_K: _q5_k,
    Kind.Q6_K: _q6_k,
}
"""Blocks to numbers [n, numbers of a block] in float32, of the kinds that devices decode."""


@dataclasses.dataclass(frozen=True)
class Dequantised:
    """Blocks become float32 numbers."""

    kind: gguf.GGMLQuantizationType
    shape: tuple[int, ...]

    def __call__(self, values: Array) -> Array:
        """[..., bytes of a row] to `shape`.

        Raises:
            NotImplementedError: the kind is none that can be decoded where the blocks are.
        """
        if isinstance(values, np.ndarray):
            result: np.ndarray = gguf.dequantize(values, self.kind).reshape(self.shape)
            return result
        if self.kind not in DECODERS:
            raise NotImplementedError(self.kind.name)
        size = GGML_QUANT_SIZES[self.kind][1]
        return DECODERS[self.kind](values.reshape(-1, size)).reshape(self.shape)

    def before(self, block: Block, shape: tuple[int, ...]) -> Before:
        """Whole blocks of numbers, of which those at the ends are cut afterwards."""
        numbers, size = GGML_QUANT_SIZES[self.kind]
        *rows, (start, stop) = block.ranges
        first, last = start // numbers, -(-stop // numbers)
        stored = Block((*rows, (first * size, last * size)))
        wider = (*block.shape[:-1], (last - first) * numbers)
        steps: tuple[Step, ...] = (Dequantised(self.kind, wider),)
        if wider != block.shape:
            own = (start - first * numbers, stop - first * numbers)
            steps += (Block((*((0, size) for size in wider[:-1]), own)),)
        return Before(stored, (*shape[:-1], shape[-1] // numbers * size), steps)
