"""Products of float32 matrices as accelerators make them of lower parts, on a processor.

`teach` makes JAX's lowering of matrix products for CPUs compute the algorithms that
`jax.default_matmul_precision` names, so that jitted functions, scans and derivatives have them
without knowing. It changes the process that calls it for good: call it in a process of its own.

Parts are cut as XLA's GPU compiler cuts them (`dot_algorithm_rewriter.cc` in
xla/service/gpu/transforms): all but the last are truncated, the last is rounded, and products of
small parts are added first.
Products of parts are exact in float32, in which they are added up, as in tensor cores; how those
round their sums is not imitated.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax._src.lax.lax import _dot_general_lower  # No public name gives the lowering to go on with.
from jax.interpreters import mlir

Product = Callable[[jax.Array, jax.Array], jax.Array]


class Cut(NamedTuple):
    """How an algorithm cuts its operands."""

    bits: int
    """Of a part's mantissa, without the leading one."""
    parts: int
    pairs: tuple[tuple[int, int], ...]
    """Parts of the left and of the right that are multiplied, in the order of the sum."""


TWO = ((1, 0), (0, 1), (0, 0))
THREE = ((1, 1), (0, 2), (2, 0), (0, 1), (1, 0), (0, 0))
CUTS: Mapping[str, Cut] = {
    "BF16_BF16_F32": Cut(7, 1, ((0, 0),)),
    "BF16_BF16_F32_X3": Cut(7, 2, TWO),
    "BF16_BF16_F32_X6": Cut(7, 3, THREE),
    "TF32_TF32_F32": Cut(10, 1, ((0, 0),)),
    "TF32_TF32_F32_X3": Cut(10, 2, TWO),
}


def truncated(x: jax.Array, bits: int) -> jax.Array:
    """x without the mantissa's last bits; a cast to a smaller type and back XLA may leave out."""
    mask = jnp.uint32((0xFFFFFFFF << (23 - bits)) & 0xFFFFFFFF)
    whole = jax.lax.bitcast_convert_type(x, jnp.uint32)
    return jax.lax.bitcast_convert_type(whole & mask, jnp.float32)


def parts_of(x: jax.Array, cut: Cut) -> list[jax.Array]:
    """Parts of a float32 array, the largest first, as float32."""
    found = []
    for _ in range(cut.parts - 1):
        found.append(truncated(x, cut.bits))
        x = x - found[-1]
    return [*found, jax.lax.reduce_precision(x, exponent_bits=8, mantissa_bits=cut.bits)]


def emulated(cut: Cut, product: Product, left: jax.Array, right: jax.Array) -> jax.Array:
    """The product of two float32 arrays, from those of their parts."""
    lefts, rights = parts_of(left, cut), parts_of(right, cut)
    products = [product(lefts[i], rights[j]) for i, j in cut.pairs]
    return functools.reduce(jnp.add, products)


def teach() -> None:
    """Makes this process's CPU compute the algorithms of `CUTS`."""

    def lower(
        context: Any, left: Any, right: Any, *, precision: Any, **parameters: Any
    ) -> Sequence[Any]:
        cut = CUTS.get(str(precision))
        if cut is None or any(aval.dtype != jnp.float32 for aval in context.avals_in):
            return _dot_general_lower(
                context, left, right, precision=precision, platform="cpu", **parameters
            )

        def product(a: jax.Array, b: jax.Array) -> jax.Array:
            highest = jax.lax.Precision.HIGHEST
            return jax.lax.dot_general_p.bind(a, b, precision=highest, **parameters)

        return mlir.lower_fun(functools.partial(emulated, cut, product), multiple_results=False)(
            context, left, right
        )

    mlir.register_lowering(jax.lax.dot_general_p, lower, platform="cpu")
