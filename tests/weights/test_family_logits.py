"""Logits of every family against PyTorch's, stored by `make_family_goldens.py`."""

import jax
import pytest

from negjax.storage.given_files import read_json
from negjax.weights.families import FAMILIES
from tests.support import make_families
from tests.support.family_logits import CASES, FOLDER, error


def test_every_family_has_a_case() -> None:
    kinds = {read_json(FOLDER / case / "config.json")["model_type"] for case in CASES}
    assert kinds == set(FAMILIES)


def test_the_page_of_families_is_the_registrys() -> None:
    """But for the differences, which a run measured."""
    lines = make_families.PAGE.read_text(encoding="utf-8").splitlines(keepends=True)
    start = len(make_families.HEAD.splitlines())
    assert "".join(lines[:start]) == make_families.HEAD
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[start:]]
    assert [cells[:-2] for cells in rows] == list(map(make_families.row, FAMILIES.values()))
    assert all(float(cell) < 1e-5 for cells in rows for cell in cells[-2:])


@pytest.mark.parametrize("case", CASES)
def test_float32_logits_are_pytorchs(case: str) -> None:
    assert error(case, "float32")[0] < 1e-5


@pytest.mark.parametrize("case", CASES)
def test_float64_logits_are_pytorchs(case: str) -> None:
    with jax.enable_x64(True):
        difference, turns = error(case, "float64")
    # PyTorch and XLA round RoPE's float32 sines differently in the last place.
    assert difference < (1e-6 if turns else 1e-12)
