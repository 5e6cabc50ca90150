"""A device whose memory does not suffice: the same results in smaller parts, said once."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

import negjax
from negjax.execution import interventions, passes
from negjax.execution.row_kernels import SWEEP, Kernel
from negjax.execution.running import Program
from negjax.process.notices import Notice
from tests.support.block_shapes import tiny, tiny_probes

SHIFTS = np.asarray([-1.0, 1.0])


class Device:
    """Runs programs whose size is at most `most`; notes the sizes that it ran."""

    def __init__(self, program: Program, size: Callable[..., int], most: int) -> None:
        self.program, self.size, self.most = program, size, most
        self.ran: list[int] = []

    def __call__(self, *arguments: Any) -> Any:
        size = self.size(*arguments)
        if size > self.most:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating bytes")
        self.ran.append(size)
        return self.program(*arguments)

    def lower(self, *arguments: Any) -> jax.stages.Lowered:
        return self.program.lower(*arguments)


def prompts(_: Any, __: Any, split: Any, *___: Any) -> int:
    return len(split.suffix.tokens)


def rows(_: Any, __: Any, ___: Any, ____: Any, rows: Any, *_____: Any) -> int:
    return int(rows.layer.size)


def test_prompts_are_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    lm = tiny("gated")
    probes = tiny_probes(lm)
    expected = negjax.activations(lm, probes)
    device = Device(passes.unperturbed_pass, prompts, 1)
    monkeypatch.setattr(passes, "unperturbed_pass", device)
    with pytest.warns(Notice, match="more memory than there is: it is run again in halves") as said:
        found = negjax.activations(lm, probes)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    assert set(device.ran) == {1} and len(device.ran) >= len(probes) > 1
    assert len({str(warning.message) for warning in said}) == 1


@pytest.mark.parametrize("most", [1, 5])
def test_rows_are_halved(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lm = tiny("gated")
    probes = tiny_probes(lm).select_target(0)
    neurons = negjax.all_neurons(lm.config)
    expected = negjax.sweep(lm, probes, neurons, SHIFTS).log_probability
    device = Device(SWEEP.measure, rows, most)
    monkeypatch.setattr(interventions, "SWEEP", Kernel(device, SWEEP.cost))
    with pytest.warns(Notice, match="run again in halves"):
        found = negjax.sweep(lm, probes, neurons, SHIFTS).log_probability
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert 1 <= max(device.ran) <= most


def test_what_does_not_fit_alone_and_other_errors_are_raised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lm = tiny("gated")
    probes = tiny_probes(lm)
    monkeypatch.setattr(passes, "unperturbed_pass", Device(passes.unperturbed_pass, prompts, 0))
    with (
        pytest.warns(Notice, match="in halves"),
        pytest.raises(jax.errors.JaxRuntimeError, match="RESOURCE_EXHAUSTED"),
    ):
        negjax.activations(lm, probes)

    def broken(*_: Any) -> Any:
        raise RuntimeError("another thing")

    monkeypatch.setattr(passes, "unperturbed_pass", broken)
    with pytest.raises(RuntimeError, match="another thing"):
        negjax.activations(lm, probes)
