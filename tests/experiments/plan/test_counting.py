"""Matrix products of programs, against closed forms that were written down by hand."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.plan import models, works
from experiments.plan.counting import Count, count_program, summed
from negjax.execution import batching
from negjax.execution.row_kernels import SWEEP
from negjax.model.config import ModelConfig
from negjax.replay.chunks import over_chunks
from tests.support.block_shapes import GATED

BUDGET = 2**30


def counted(step: works.Step, config: ModelConfig) -> Count:
    lm = models.without_weights("tiny", config, "float32", "highest")
    with lm.numerics():
        traced = step.program.trace(lm.graphdef, lm.params, *step.arguments)  # type: ignore[attr-defined]
    return count_program(traced, (lm.params, *step.arrays))


@pytest.mark.parametrize(("prompts", "targets"), [(2, 1), (4, 3), (1, 2)])
def test_operations_of_a_gradient(prompts: int, targets: int) -> None:
    """One pass over all tokens, the last layer's but for keys and values over the last token
    alone; the vocabulary twice; and K ways back of that token, whose products are recalled."""
    c, tokens = GATED, 9
    lm = models.without_weights("tiny", c, "float32", "highest")
    (step,) = works.neurgrad(lm, prompts, tokens, BUDGET, targets=targets)
    p, k, t = prompts, targets, batching.bucket(tokens - 1)
    queries, keys = c.heads * c.head_width, c.kv_heads * c.head_width
    every, network = p * (t + 1), 3 * c.width * c.neurons
    projections = 2 * c.width * queries + 2 * c.width * keys
    pair = c.heads * c.head_width  # of a query and a key: a score, or a weighted value
    whole = every * (projections + network) + 2 * p * (t + 1) ** 2 * pair
    # Every token's keys and values, of which attention takes those before the last token.
    last = every * 2 * c.width * keys + p * (projections + network) + 2 * p * (t + 1) * pair
    # A matrix-vector product is filled up to two rows.
    head = p * c.width * c.vocab_size + max(p, 2) * c.width * c.vocab_size
    # Scores and weighted values are made again, then each has its derivatives; the prefix has none.
    again = 2 * p * (t + 1) * pair
    back = k * p * (projections + network) + again + k * p * (2 * (t + 1) + 2) * pair
    forward = (c.layers - 1) * whole + last + head
    assert counted(step, c).operations == 2 * (forward + c.layers * back)


@pytest.mark.parametrize("chunk", [4, 256])
def test_operations_of_a_sweep(chunk: int) -> None:
    """In each layer as many chunks as hold the rows that entered below it; then the vocabulary."""
    c, tokens = GATED, 9
    lm = models.without_weights("tiny", c, "float32", "highest")
    layers = np.asarray([0] * 700 + [1] * 130 + [2] * 5)
    at_once = works.Tokens(rows=chunk)
    passing, *calls = works.sweep(lm, 1, tokens, layers, BUDGET, at_once)
    assert passing.passes == 1
    t = calls[0].arguments[0].prefix_tokens.shape[1]
    projections = 2 * c.width * (c.heads + c.kv_heads) * c.head_width
    row = projections + 3 * c.width * c.neurons + 2 * (t + 1) * c.heads * c.head_width
    found, expected = 0.0, 0
    for step in calls:
        entered = step.arguments[2].layer[0]
        size = step.arguments[-1]
        part = size // 4 if size >= 256 else size
        for layer in range(entered.min() + 1, c.layers):
            inside = int((entered < layer).sum())
            expected += part * -(-inside // part) * row
        used = int((entered < c.layers).sum())
        expected += size * -(-used // size) * c.width * c.vocab_size
        found += counted(step, c).operations
    assert found == 2 * expected
    assert sum(step.rows for step in calls) == len(layers) + c.layers


def test_matrices_taken_out_of_a_stack_count_once_a_layer() -> None:
    """However many products they are in, and but for small ones."""
    stack = jnp.ones((3, 512, 1024))

    def layers(x: jax.Array, stack: jax.Array, small: jax.Array) -> jax.Array:
        def layer(x: jax.Array, i: jax.Array) -> tuple[jax.Array, None]:
            matrix = stack[i]
            x = jax.lax.fori_loop(0, 4, lambda _, x: (x @ matrix) @ matrix.T, x)
            return x + small[i], None

        return jax.lax.scan(layer, x, jnp.arange(3))[0]

    given = jnp.ones((2, 512)), stack, jnp.ones((3, 512))
    found = count_program(jax.jit(layers).trace(*given), works.shapes(given))
    assert found.taken == stack.size * 4
    assert (found * 2).taken == 2 * found.taken == summed([found, found]).taken


def test_a_loop_whose_bounds_depend_on_arguments_is_followed() -> None:
    def body(size: int, i: jax.Array, total: jax.Array) -> jax.Array:
        return total + (jnp.ones((size, 3)) @ jnp.ones((3, 5))).sum()

    @jax.jit
    def program(numbers: jax.Array) -> jax.Array:
        return over_chunks((numbers < 7).sum(), 256, 256, body, jnp.zeros(()))

    numbers = np.arange(1000) % 10
    expected = 2 * 3 * 5 * (2 * 256 + 3 * 64)  # 700 rows
    assert count_program(program.trace(numbers), [numbers]).operations == expected
    shape = jax.ShapeDtypeStruct(numbers.shape, numbers.dtype)
    unknown = count_program(program.trace(numbers), [shape])
    assert (unknown.operations, unknown.open_loops) == (0, 2)


def test_scans_branches_and_what_is_not_used() -> None:
    x = jax.ShapeDtypeStruct((4, 6), np.float32)
    w = jax.ShapeDtypeStruct((5, 6, 6), np.float32)

    @jax.jit
    def program(x: jax.Array, w: jax.Array) -> jax.Array:
        unused = w[0] @ w[1]
        del unused
        x = jax.lax.scan(lambda x, w: (x @ w, None), x, w)[0]
        return jax.lax.cond(x.sum() > 0, lambda x: x @ w[0] @ w[1], lambda x: x @ w[0], x)

    found = count_program(program.trace(x, w), [x, w])
    assert found.operations == 2 * 4 * 6 * 6 * (5 + 2)
    assert found.moved == 4 * (2 * 4 * 6 + 6 * 6) * (5 + 2)


def test_of_a_program_without_loops_xla_counts_the_same() -> None:
    shapes = [jax.ShapeDtypeStruct(s, np.float32) for s in ((7, 11), (11, 13), (3, 13, 5))]
    program = jax.jit(lambda a, b, c: jnp.einsum("mk,bkn->bmn", a @ b, c))
    analysis = program.lower(*shapes).compile().cost_analysis()
    assert analysis is not None
    assert count_program(program.trace(*shapes), shapes).operations == analysis["flops"]


def test_a_swept_vocabulary_with_tails_is_told() -> None:
    """From 4 · D rows on, how far the rows read depends on the data."""
    config = dataclasses.replace(GATED, vocab_size=5000)
    lm = models.without_weights("tiny", config, "float32", "highest")
    few, many = (
        works.sweep(lm, 1, 9, np.zeros(rows, int), BUDGET)[1] for rows in (20, 8 * config.width)
    )
    assert (counted(few, config).open_loops, counted(many, config).open_loops) == (0, 1)
    assert few.program is many.program is SWEEP.measure


def test_counts_add_up() -> None:
    x = jax.ShapeDtypeStruct((4, 4), np.float32)
    one = count_program(jax.jit(jnp.matmul).trace(x, x), [x, x])
    assert summed([one, one * 2.5]).operations == 3.5 * 2 * 4**3
