"""The rungs of precision that a device has, side by side in one run of `experiments.bench`.

A plain product and a sweep at each, in turn, so that a noisy machine treats them alike.
"""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import negjax
from experiments.bench.cases import Case, case_arrays
from experiments.bench.probes import blank_probes
from experiments.reporting.tables import Column, Table, markdown_lines
from negjax.model.language_model import LanguageModel
from negjax.process import precisions

NAME = "precisions"
"""Among the bench's cases."""
PRODUCT = 4096, 4096, 4096
"""Rows, columns and length of the sums of the plain product."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """A rung's figures."""

    rung: str
    operations: float
    """A second of the plain product, of the float32 product that it stands for."""
    shifts: float
    """(neuron, shift) pairs a second."""
    difference: float
    """Root mean square of its ΔP less float32's."""


def measure(lm: LanguageModel, case: Case, repeats: int) -> list[Measured]:
    """Figures of every rung of the device, the most exact first.

    Args:
        lm: the model; its own precision is not read.
        case: whose prompt, neurons and shifts are swept.
        repeats: rounds, of which the fastest counts.
    """
    arrays = case_arrays(lm, case)
    probes = blank_probes(arrays["tokens"], arrays["mask"], arrays["targets"])
    neurons, shifts = arrays["neurons"], arrays["shifts"]
    m, n, k = PRODUCT
    left, right = jnp.full((m, k), 0.5), jnp.full((k, n), 0.5)
    models = {
        rung: dataclasses.replace(lm, precision=precisions.RUNGS[rung])
        for rung in precisions.rungs_of(precisions.hardware_here())
    }
    swept, products, sweeps = {}, dict.fromkeys(models, np.inf), dict.fromkeys(models, np.inf)
    product = jax.jit(jnp.matmul)
    # The first round compiles.
    for number in range(repeats + 1):
        for rung, model in models.items():

            def multiply(model: LanguageModel = model) -> Any:
                with model.numerics():
                    return product(left, right).block_until_ready()

            def work(model: LanguageModel = model) -> Any:
                return negjax.sweep(model, probes, neurons, shifts).change()

            products[rung] = min(products[rung], _seconds(multiply)[0] if number else np.inf)
            seconds, swept[rung] = _seconds(work)
            sweeps[rung] = min(sweeps[rung], seconds if number else np.inf)
    return [
        Measured(
            rung=rung,
            operations=2 * m * n * k / products[rung],
            shifts=len(neurons) * len(shifts) / sweeps[rung],
            difference=float(np.sqrt(np.mean((swept[rung] - swept["float32"]) ** 2))),
        )
        for rung in models
    ]


def table_lines(measured: list[Measured]) -> list[str]:
    """The figures as Markdown."""
    first = measured[0]
    columns = (
        Column("precision", lambda row: row.rung),
        Column("plain product", lambda row: f"{row.operations / 1e12:.3g} TFLOP/s"),
        Column("neuron and shift", lambda row: f"{1e6 / row.shifts:.3g} µs"),
        Column("× float32", lambda row: f"{row.shifts / first.shifts:.2f}"),
        Column("ΔP less float32's", lambda row: f"{row.difference:.1e}"),
    )
    return markdown_lines(Table(columns=columns, rows=measured))


def _seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found
