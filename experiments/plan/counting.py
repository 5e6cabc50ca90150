"""Matrix products that a program multiplies, counted in its jaxpr.

XLA's own cost analysis counts the body of a loop once. Here a scan's body counts as often as the
scan is long, and a loop whose bounds are traced is followed: what is known of the arguments (the
layers at which rows enter, above all) is computed on the way, so that the bounds are known, too.
Bounds that depend on unknown numbers are not guessed: such loops are counted apart.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

MOST_KNOWN = 1 << 22
"""Entries of the largest array that is computed while counting."""


class Product(NamedTuple):
    """`batch` products [m, k] @ [k, n]."""

    batch: int
    m: int
    k: int
    n: int
    moved: int
    """Bytes of operands and result."""

    @property
    def operations(self) -> int:
        """Floating-point ones: a multiplication and an addition each."""
        return 2 * self.batch * self.m * self.k * self.n


@dataclasses.dataclass(frozen=True, kw_only=True)
class Count:
    """What a program does."""

    products: dict[Product, float] = dataclasses.field(default_factory=dict)
    """How often each runs."""
    elementwise: float = 0.0
    """Bytes of what all other operations on floating-point numbers return; a compiler fuses most
    of them, and then they never reach memory."""
    taken: float = 0.0
    """Bytes of matrices that are taken out of a stack, as a layer's are."""
    open_loops: float = 0.0
    """Loops left out, as their bounds depend on numbers that are not known."""

    def __mul__(self, times: float) -> "Count":
        return Count(
            products={product: n * times for product, n in self.products.items()},
            elementwise=self.elementwise * times,
            taken=self.taken * times,
            open_loops=self.open_loops * times,
        )

    @property
    def operations(self) -> float:
        """Floating-point ones of the matrix products."""
        return sum(product.operations * n for product, n in self.products.items())

    @property
    def moved(self) -> float:
        """Bytes of the matrix products' operands and results."""
        return sum(product.moved * n for product, n in self.products.items())


def summed(counts: Iterable[Count]) -> Count:
    """What several programs do together."""
    products: dict[Product, float] = {}
    elementwise = taken = open_loops = 0.0
    for count in counts:
        for product, n in count.products.items():
            products[product] = products.get(product, 0.0) + n
        elementwise += count.elementwise
        taken += count.taken
        open_loops += count.open_loops
    return Count(products=products, elementwise=elementwise, taken=taken, open_loops=open_loops)


class Value:
    """A known value, computed when a loop's bound asks for it."""

    def __init__(self, make: Callable[[], Any]) -> None:
        """`make` returns it."""
        self._make = make
        self._made: np.ndarray | None = None

    @property
    def array(self) -> np.ndarray:
        """The value."""
        if self._made is None:
            self._made = np.asarray(self._make())
        return self._made


MATRIX_BYTES = 1 << 20
"""From which on a part of a stack is counted: smaller ones stay in a cache."""
Known = Value | None
"""A value, or None where it is not known."""

CALLS = ("jaxpr", "call_jaxpr", "fun_jaxpr")
# They move or make arrays, and a compiler does it where they are used.
FREE = {
    *("broadcast_in_dim", "reshape", "squeeze", "slice", "dynamic_slice", "transpose", "iota"),
    *("stop_gradient", "copy", "expand_dims", "optimization_barrier"),
}


def count_program(traced: Any, arguments: Sequence[Any]) -> Count:
    """What a traced program does.

    Args:
        traced: what `jit(f).trace(…)` returns.
        arguments: those that are not static: arrays are known, shapes are not.
    """
    leaves = jax.tree.leaves(tuple(arguments))
    known = [_value(x) if isinstance(x, np.ndarray | jax.Array) else None for x in leaves]
    return _Walk().call(traced.jaxpr, known)[0]


class _Walk:
    """One walk through a program."""

    def __init__(self) -> None:
        self._straight: dict[int, Count] = {}
        """Of bodies of loops that hold no further loop with traced bounds: what they are called
        with changes nothing."""

    def call(self, closed: Any, arguments: Sequence[Known]) -> tuple[Count, list[Known]]:
        """Counts a closed jaxpr; returns what is known of its results, too."""
        inner = _open(closed)
        constants = map(_value, getattr(closed, "consts", ()))
        values: dict[Any, Known] = dict(zip(inner.constvars, constants, strict=True))
        values.update(zip(inner.invars, arguments, strict=True))

        def read(atom: Any) -> Known:
            return _value(atom.val) if isinstance(atom, core.Literal) else values.get(atom)

        parts = []
        for equation in _live(inner):
            found, results = self._equation(equation, [read(atom) for atom in equation.invars])
            parts.append(found)
            values.update(zip(equation.outvars, results, strict=True))
        return summed(parts), [read(atom) for atom in inner.outvars]

    def _equation(self, equation: Any, given: list[Known]) -> tuple[Count, list[Known]]:
        name = equation.primitive.name
        unknown: list[Known] = [None] * len(equation.outvars)
        if name == "dot_general":
            return Count(products={_product(equation): 1.0}), unknown
        if name == "scan":
            first = _constants_of_scan(equation)
            known = given[:first] + [None] * (len(given) - first)
            return self._body(equation.params["jaxpr"], known) * equation.params["length"], unknown
        if name == "while":
            return self._loop(equation, given), unknown
        if name == "cond":
            branches = [self.call(some, given[1:])[0] for some in equation.params["branches"]]
            return max(branches, key=lambda found: found.operations), unknown
        inner = next((equation.params[key] for key in CALLS if key in equation.params), None)
        if inner is not None:
            return self.call(inner, given)
        sources = [value for value in given if value is not None]
        if len(sources) == len(given) and _small(equation):
            return Count(), _results(equation, sources)
        return _others(name, equation), unknown

    def _body(self, closed: Any, given: list[Known]) -> Count:
        """One run of a loop's body."""
        if _loops_inside(_open(closed)):
            return self.call(closed, given)[0]
        if id(closed) not in self._straight:
            self._straight[id(closed)] = self.call(closed, [None] * len(given))[0]
        return self._straight[id(closed)]

    def _loop(self, equation: Any, given: list[Known]) -> Count:
        """A loop of `fori_loop` with traced bounds: its carry begins with counter and end."""
        p = equation.params
        skipped, consts = p["cond_nconsts"], p["body_nconsts"]
        own, carry = given[skipped : skipped + consts], given[skipped + consts :]
        test = _open(p["cond_jaxpr"])
        counted = [e.primitive.name for e in test.eqns] == ["lt"] and skipped == 0
        counted = counted and list(test.eqns[0].invars) == test.invars[:2]
        if not counted or carry[0] is None or carry[1] is None:
            return Count(open_loops=1.0)
        numbers = range(int(carry[0].array), int(carry[1].array))
        rest: list[Known] = [None] * (len(carry) - 2)

        def body(i: int) -> Count:
            return self._body(p["body_jaxpr"], [*own, _value(np.int32(i)), carry[1], *rest])

        if not numbers:
            return Count()
        if not _loops_inside(_open(p["body_jaxpr"])):
            return body(numbers[0]) * len(numbers)
        return summed([body(i) for i in numbers])


def _open(closed: Any) -> Any:
    """A jaxpr without its constants, which JAX 0.12 no longer keeps apart."""
    return getattr(closed, "jaxpr", closed)


def _constants_of_scan(equation: Any) -> int:
    """How many of a scan's first operands are the same in every run of its body.

    What is scanned and what is stacked has one axis more than the body sees; JAX's versions differ
    in how they number them.
    """
    body = _open(equation.params["jaxpr"])

    def same(outer: Sequence[Any], inner: Sequence[Any]) -> int:
        pairs = zip(outer, inner, strict=True)
        return sum(x.aval.ndim == y.aval.ndim for x, y in pairs)

    carried = same(equation.outvars, body.outvars)
    return same(equation.invars, body.invars) - carried


def _value(x: Any) -> Value:
    return Value(lambda: x)


def _results(equation: Any, given: list[Value]) -> list[Known]:
    """What an operation makes of known values."""

    def make(number: int) -> Any:
        arrays = [jnp.asarray(value.array) for value in given]
        made = equation.primitive.bind(*arrays, **equation.params)
        return made[number] if equation.primitive.multiple_results else made

    return [Value(functools.partial(make, n)) for n in range(len(equation.outvars))]


def _live(jaxpr: Any) -> list[Any]:
    """Operations whose results are used; compilers drop the others."""
    used, kept = set(map(id, jaxpr.outvars)), []
    for equation in reversed(jaxpr.eqns):
        if equation.effects or used.intersection(map(id, equation.outvars)):
            kept.append(equation)
            used.update(map(id, equation.invars))
    return kept[::-1]


def _small(equation: Any) -> bool:
    """Whether an operation makes few whole numbers or truths, of which bounds of loops are made."""
    return all(
        not jnp.issubdtype(out.aval.dtype, jnp.floating) and out.aval.size <= MOST_KNOWN
        for out in equation.outvars
    )


def _loops_inside(jaxpr: Any) -> bool:
    """Whether a jaxpr holds a loop with traced bounds, at any depth."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "while":
            return True
        for value in equation.params.values():
            some = value if isinstance(value, tuple | list) else (value,)
            inner = map(_open, some)
            if any(hasattr(x, "eqns") and _loops_inside(x) for x in inner):
                return True
    return False


def _product(equation: Any) -> Product:
    left, right = (atom.aval for atom in equation.invars)
    (contracted, _), (batched, _) = equation.params["dimension_numbers"]
    batch = math.prod(left.shape[axis] for axis in batched)
    k = math.prod(left.shape[axis] for axis in contracted)
    m, n = left.size // max(batch * k, 1), right.size // max(batch * k, 1)
    out = equation.outvars[0].aval
    moved = sum(x.size * x.dtype.itemsize for x in (left, right, out))
    return Product(batch=batch, m=m, k=k, n=n, moved=moved)


def _others(name: str, equation: Any) -> Count:
    # An update in place writes what is new.
    put = {"dynamic_update_slice": 1, "scatter": 2, "scatter-add": 2}.get(name)
    made = [x.aval for x in (equation.outvars if put is None else [equation.invars[put]])]
    real = [x for x in made if jnp.issubdtype(x.dtype, jnp.floating)]
    size = float(sum(x.size * x.dtype.itemsize for x in real))
    if name == "dynamic_slice":
        one = equation.params["slice_sizes"][0] == 1 and size >= MATRIX_BYTES
        return Count(taken=size if one else 0.0)
    return Count() if name in FREE else Count(elementwise=size)
