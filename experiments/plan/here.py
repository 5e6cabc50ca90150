"""Rates of the machine that plans: of matrix products at the sizes of a program, memory, disk."""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.plan import works
from experiments.plan.counting import Count, Product, count_program

COVERED, MOST_SIZES = 0.99, 64
"""Products are measured, largest part first, until they make up this share of a program's
operations, or so many sizes were."""
STACK_BYTES, MOST_STACKED = 64 * 2**20, 32
"""Different matrices that a product is measured with, so that no cache holds them all."""
COPIED_BYTES = 256 * 2**20
FILE_BYTES = 256 * 2**20
ROUNDS, SECONDS, MOST_SECONDS = 3, 0.2, 2.0
"""Of a measurement: so many runs at least, and until so long; none begins after the last."""


def fastest(run: Callable[[], Any]) -> float:
    """Seconds of the fastest of several runs, after one that compiles."""
    jax.block_until_ready(run())
    found: list[float] = []
    begun = time.perf_counter()
    while len(found) < ROUNDS or time.perf_counter() - begun < SECONDS:
        start = time.perf_counter()
        jax.block_until_ready(run())
        found.append(time.perf_counter() - start)
        if time.perf_counter() - begun > MOST_SECONDS:
            break
    return min(found)


def product_seconds(product: Product, precision: str, taking: float) -> float:
    """Seconds of one such product in float32, its right side one of a stack, as a layer's are.

    Args:
        taking: bytes a second at which that is taken out of the stack, which is counted apart.
    """
    b, m, k, n = product.batch, product.m, product.k, product.n
    with jax.default_matmul_precision(precision):
        if b > 1:
            left, right = _filled(b, m, k), _filled(b, k, n)
            return fastest(lambda: _batched(left, right))
        count = min(MOST_STACKED, -(-STACK_BYTES // (4 * k * n)))
        left, right = _filled(m, k), _filled(count, k, n)
        seconds = fastest(lambda: _one_after_the_other(left, right)) / count
        # Small matrices are not taken out, or cost nothing.
        return max(seconds - 4 * k * n / taking, seconds / 2)


def _filled(*shape: int) -> jax.Array:
    """Ordinary numbers; which ones changes no time, and drawing them would take its own."""
    return jnp.asarray(np.full(shape, 0.5, np.float32))


@jax.jit
def _batched(left: jax.Array, right: jax.Array) -> jax.Array:
    return jnp.einsum("bmk,bkn->bmn", left, right)


@jax.jit
def _one_after_the_other(left: jax.Array, stack: jax.Array) -> jax.Array:
    def step(total: jax.Array, i: jax.Array) -> tuple[jax.Array, jax.Array]:
        y = left @ stack[i]
        return total + y[0, 0], y[0]

    return jax.lax.scan(step, jnp.zeros(()), jnp.arange(len(stack)))[1]


def taking_rate(width: int, neurons: int) -> float:
    """Bytes a second at which a layer's matrix is taken out of the stack of all layers'."""
    stack = _filled(max(2, COPIED_BYTES // (4 * width * neurons)), width, neurons)
    return 4 * stack.size / fastest(lambda: _taken_out(stack))


@jax.jit
def _taken_out(stack: jax.Array) -> jax.Array:
    def step(total: jax.Array, i: jax.Array) -> tuple[jax.Array, None]:
        # Whole, as a product needs it: of one entry nothing else would be read.
        return total + jax.lax.optimization_barrier(stack[i])[0, 0], None

    return jax.lax.scan(step, jnp.zeros(()), jnp.arange(len(stack)))[0]


def memory_bandwidth() -> float:
    """Bytes a second that are read and written where an array is copied."""
    x = _filled(COPIED_BYTES // 4)
    return 2 * COPIED_BYTES / fastest(lambda: _copied(x))


@jax.jit
def _copied(x: jax.Array) -> jax.Array:
    return x + 1


def elementwise_rate(rows: int, width: int, neurons: int) -> float:
    """Bytes a second that elementwise operations return, as `counting` counts them: of a norm, a
    gated product and a softmax, at the sizes of a layer."""
    resid, gate = _filled(rows, width), _filled(rows, neurons)
    counted = count_program(_parts_of_a_layer.trace(resid, gate), works.shapes([resid, gate]))
    return counted.elementwise / fastest(lambda: _parts_of_a_layer(resid, gate))


@jax.jit
def _parts_of_a_layer(x: jax.Array, g: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    normed = x * jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + 1e-5)
    weight = jnp.exp(x - x.max(-1, keepdims=True))
    return normed, jax.nn.silu(g) * g, weight / weight.sum(-1, keepdims=True)


def disk_rate(folder: Path | None = None) -> float:
    """Bytes a second that a new file is read at, which the system is asked to have forgotten.

    Args:
        folder: where the file is made. Default: that of temporary files.
    """
    block = np.random.default_rng(0).bytes(2**20)
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        for _ in range(FILE_BYTES // len(block)):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        start = time.perf_counter()
        with Path(file.name).open("rb", buffering=0) as again:
            while again.read(2**24):
                pass
        return FILE_BYTES / (time.perf_counter() - start)


class Here:
    """Rates of this machine; products are measured when a program first asks for them."""

    name = "this machine"
    memory_bytes = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    interconnect = 0.0

    def __init__(self, precision: str, rows: int, width: int, neurons: int) -> None:
        """Measures memory and elementwise operations; the rest when it is asked for.

        Args:
            rows, width, neurons: sizes of a layer's work.
        """
        self.precision = precision
        self.bandwidth = memory_bandwidth()
        self.elementwise = elementwise_rate(rows, width, neurons)
        self.taking = taking_rate(width, neurons)
        self.measured: dict[Product, float] = {}
        """Seconds of one product."""
        self._disk = 0.0

    def measure_again(self) -> None:
        """Measures all sizes once more; the faster of two counts, as a machine's pace varies."""
        for product, seconds in self.measured.items():
            again = product_seconds(product, self.precision, self.taking)
            self.measured[product] = min(seconds, again)

    @property
    def host_link(self) -> float:
        """Bytes a second that come from the disk."""
        self._disk = self._disk or disk_rate()
        return self._disk

    def seconds(self, count: Count) -> float:
        """Of a program: its products at their measured times, its elementwise operations.

        Products that are too few to be measured take the mean rate of those that were, or that of
        the memory.
        """
        products = sorted(count.products, key=lambda p: -p.operations * count.products[p])
        done = taken = rest = 0.0
        for product in products:
            times = count.products[product]
            operations = product.operations * times
            if product not in self.measured:
                if done >= COVERED * count.operations or len(self.measured) >= MOST_SIZES:
                    mean = operations * taken / done if done else 0.0
                    rest += max(mean, product.moved * times / self.bandwidth)
                    continue
                self.measured[product] = product_seconds(product, self.precision, self.taking)
            done += operations
            taken += self.measured[product] * times
        return taken + rest + count.elementwise / self.elementwise + count.taken / self.taking

    def product_rate(self) -> tuple[float, str]:
        """Floating-point operations a second of the fastest product that was measured."""
        rates = [product.operations / seconds for product, seconds in self.measured.items()]
        return max(rates), f"float32 at the sizes of the model, {len(rates)} sizes measured"
