"""Axes of arrays: named wherever an array is public in five rooms, and refused where they differ.

`pytest -p tests.support.axes` runs the annotations in all tests; these run without it, too.
"""

import ast
import dataclasses
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Float, TypeCheckError, jaxtyped

from negjax.execution.interventions import grid_rows, with_baselines
from negjax.inputs.probes import Probes
from negjax.measurements.linearity import LinearFit
from negjax.replay.suffixes import Suffix, take_read
from tests.support.axes import ROOMS, checked
from tests.support.block_shapes import tiny, tiny_probes
from tests.support.places import ROOT

FILES = [path for room in ROOMS for path in sorted((ROOT / room.replace(".", "/")).rglob("*.py"))]

KINDS = {"Bool", "Float", "Int", "Shaped"}
ARRAYS = {"np.ndarray", "jax.Array", "Array"}
# It refuses lists of shifts by name, and takes whole numbers.
OWN_CHECKS = {"joint(sets)", "checked_sets(sets)", "pull_back(fold)"}


def run(function: Any) -> Any:
    """A function whose annotations are checked, as the plugin has it."""
    return jaxtyped(typechecker=checked)(function)


def test_a_size_that_contradicts_another_parameters_is_refused():
    neurons, shifts = np.zeros((2, 3, 2), int), np.zeros((2, 3, 5))
    assert run(grid_rows)(neurons, shifts).shift.shape == (2, 15)
    with pytest.raises(TypeCheckError, match=r"parameter 'shifts'(?s:.*)'B N X'(?s:.*)N=3"):
        run(grid_rows)(neurons, shifts[:, :2])
    with pytest.raises(TypeCheckError, match="parameter 'neurons'"):
        run(grid_rows)(neurons * 0.5, shifts)


def first_row(values: Float[np.ndarray, "B N"]) -> Float[np.ndarray, "B N"]:
    return values[:1]


def test_a_result_of_another_shape_is_refused():
    assert run(first_row)(np.zeros((1, 3))).shape == (1, 3)
    with pytest.raises(TypeCheckError, match=r"return value(?s:.*)'B N'(?s:.*)B=2"):
        run(first_row)(np.zeros((2, 3)))


def test_arrays_inside_a_named_tuple_share_the_letters():
    suffix = Suffix(
        tokens=jnp.zeros((2, 4), int),
        positions=jnp.zeros((2, 4), int),
        mask=jnp.ones((2, 4), bool),
        read=jnp.zeros(2, int),
        at=jnp.zeros((2, 1), int),
    )
    assert run(take_read)(jnp.zeros((2, 4, 5)), suffix).shape == (2, 5)
    for wrong in (suffix._replace(read=jnp.zeros(3, int)), suffix._replace(mask=suffix.tokens)):
        with pytest.raises(TypeCheckError, match="parameter 'suffix'"):
            run(take_read)(jnp.zeros((2, 4, 5)), wrong)
    with pytest.raises(TypeCheckError, match="parameter 'suffix'"):
        run(take_read)(jnp.zeros((3, 4, 5)), suffix)


def test_a_changed_named_tuple_may_have_other_sizes():
    rows = grid_rows(np.zeros((2, 3, 2), int), np.zeros((2, 3, 5)))
    assert run(with_baselines)(rows, layers=4).layer.shape == (2, 19)


def test_a_record_whose_arrays_contradict_each_other_is_refused():
    found = LinearFit(
        slope=np.zeros((2, 3)),
        pearson=np.zeros((2, 3)),
        largest_change=np.zeros((2, 3)),
        shifts=np.ones(4),
    )
    make = run(LinearFit.__init__)
    make(object.__new__(LinearFit), **vars(found))
    with pytest.raises(TypeCheckError, match=r"parameter 'pearson'(?s:.*)'B N \*K'(?s:.*)N=3"):
        make(object.__new__(LinearFit), **vars(found) | {"pearson": np.zeros((2, 4))})


def test_a_record_that_converts_what_it_is_given_checks_itself():
    probes = tiny_probes(tiny("gated"))
    made = object.__new__(Probes)
    fields = {field.name: getattr(probes, field.name) for field in dataclasses.fields(probes)}
    run(Probes.__init__)(made, **fields | {"read": probes.read.tolist()})
    np.testing.assert_array_equal(made.read, probes.read)
    with pytest.raises(ValueError, match=r"read is \[1\], expected \[3\]"):
        run(Probes.__init__)(made, **fields | {"read": probes.read[:1]})


def test_as_a_plugin_it_checks_the_rooms():
    program = """
import numpy as np
from tests.support import axes
axes.pytest_load_initial_conftests()
from negjax.execution.interventions import grid_rows
grid_rows(np.zeros((2, 3, 2), int), np.zeros((2, 4, 5)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "TypeCheckError" in done.stderr
    assert "parameter 'shifts'" in done.stderr


def annotations(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """What public functions take and return, and what public records hold, by name."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield from of_function(node)
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for member in node.body:
                if isinstance(member, ast.AnnAssign):
                    yield f"{node.name}.{ast.unparse(member.target)}", member.annotation
                if isinstance(member, ast.FunctionDef):
                    yield from of_function(member)


def of_function(node: ast.FunctionDef) -> Iterator[tuple[str, ast.expr]]:
    if node.name.startswith("_") and node.name != "__call__":
        return
    for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs):
        if argument.annotation is not None:
            yield f"{node.name}({argument.arg})", argument.annotation
    if node.returns is not None:
        yield f"{node.name} returns", node.returns


def bare(hint: ast.expr) -> bool:
    """Whether a type holds an array that does not name its axes."""
    if isinstance(hint, ast.Subscript) and ast.unparse(hint.value) in KINDS | {"Scores", "Spread"}:
        return False
    parts = [part for part in ast.iter_child_nodes(hint) if isinstance(part, ast.expr)]
    return ast.unparse(hint) in ARRAYS or any(map(bare, parts))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}.{path.stem}")
def test_public_arrays_name_their_axes(path):
    """Who takes lists as well, and refuses by name what it does not, says `ArrayLike`."""
    found = annotations(ast.parse(path.read_text(encoding="utf-8")))
    assert {name for name, hint in found if bare(hint)} <= OWN_CHECKS


def test_axes_have_the_letters_of_the_concepts():
    text = (ROOT / "docs" / "concepts.md").read_text(encoding="utf-8")
    (paragraph,) = re.findall(r"^In shapes, .*?\.", text, re.MULTILINE | re.DOTALL)
    known = set(re.findall(r"\b[A-Z]\b", paragraph))
    letters = set()
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Subscript) and ast.unparse(node.value) in KINDS:
                assert isinstance(node.slice, ast.Tuple)
                axes = ast.literal_eval(node.slice.elts[1])
                letters |= {axis for axis in axes.split() if len(axis) == 1 and axis.isupper()}
    assert letters == known
