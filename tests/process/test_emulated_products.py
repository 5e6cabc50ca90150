"""The emulation of accelerators' products, with which docs/precision.md was measured."""

import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from negjax.process.precisions import RUNGS
from tests.support.emulated_products import CUTS, emulated, parts_of
from tests.support.places import ROOT

FINE = 1 + 2.0**-7 + 2.0**-12 + 2.0**-20
"""Bits in the first, the second and the third part of 8 bits each; the third is half a bit of the
second, and rounded away where that is the last."""


def test_every_rung_is_emulated() -> None:
    assert CUTS.keys() == {*RUNGS.values()} - {"highest"}


@pytest.mark.parametrize(
    ("algorithm", "parts"),
    [
        ("BF16_BF16_F32", [1 + 2.0**-7]),
        ("BF16_BF16_F32_X3", [1 + 2.0**-7, 2.0**-12]),
        ("BF16_BF16_F32_X6", [1 + 2.0**-7, 2.0**-12, 2.0**-20]),
        ("TF32_TF32_F32", [1 + 2.0**-7]),
        ("TF32_TF32_F32_X3", [1 + 2.0**-7, 2.0**-12 + 2.0**-20]),
    ],
)
def test_parts(algorithm: str, parts: list[float]) -> None:
    found = parts_of(jnp.asarray([FINE, -FINE], jnp.float32), CUTS[algorithm])
    np.testing.assert_array_equal(np.stack(found)[:, 0], parts)
    np.testing.assert_array_equal(np.stack(found)[:, 1], [-part for part in parts])


def test_the_last_part_is_rounded_and_the_others_are_not() -> None:
    third = jnp.asarray([1 / 3], jnp.float32)
    high, low = (float(part[0]) for part in parts_of(third, CUTS["BF16_BF16_F32_X3"]))
    assert high == 0x55 / 256 and high < 1 / 3  # 0.33203125, the bfloat16 below.
    assert low == float(jnp.asarray(1 / 3 - high, jnp.bfloat16))
    above = jnp.asarray([1 + 2.0**-8 + 2.0**-9], jnp.float32)
    assert float(parts_of(above, CUTS["BF16_BF16_F32"])[0][0]) == 1 + 2.0**-7


def test_six_products_of_three_parts_lose_what_is_below_their_last_bits() -> None:
    """Three parts of 8 bits hold the 24 of a float32 number: only products of small parts go."""
    drawn = np.random.default_rng(0).normal(size=(2, 1000)).astype(np.float32)
    left, right = map(jnp.asarray, drawn)
    parts = np.asarray(parts_of(left, CUTS["BF16_BF16_F32_X6"]), np.float64)
    np.testing.assert_array_equal(parts.sum(0), drawn[0])
    exact = drawn[0].astype(np.float64) * drawn[1]
    errors = {
        rung: np.abs(np.asarray(emulated(CUTS[name], jnp.multiply, left, right)) / exact - 1).max()
        for rung, name in RUNGS.items()
        if name in CUTS
    }
    # Half a bit of each operand's last, or what the products that are left out amount to.
    limits = {"x6": 2.0**-21, "tf32_x3": 2.0**-19, "x3": 2.0**-13, "tf32": 2.0**-10}
    for rung, limit in {**limits, "bfloat16": 2.0**-7}.items():
        assert limit / 64 < errors[rung] < limit, rung


@pytest.mark.slow
def test_the_ladder_holds_on_a_model() -> None:
    """Each rung's errors in P and NeurGrad, in a process that computes them so."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.precision_child"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    errors = json.loads(done.stdout.splitlines()[-1])
    assert [*errors] == [*RUNGS]
    for number in (0, 1):
        found = {rung: values[number] for rung, values in errors.items()}
        exact = max(found[rung] for rung in ("float32", "x6", "tf32_x3"))
        assert 0 < exact < 1e-5
        # 16, 11 and 8 bits a factor: each loses several times what the one above does.
        assert 2 * exact < found["x3"] < found["tf32"] / 4
        assert 2 * found["tf32"] < found["bfloat16"] < 0.5
    assert jax.config.jax_default_matmul_precision is None
