"""Answers of one device and of meshes of eight, in float64: prints which of them agree."""

import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import numpy as np

import negjax
from negjax.execution.running import Program, Run
from negjax.model.language_model import LanguageModel
from tests.support.block_shapes import tiny
from tests.support.every_answer import answers, answers_along_directions

BOTH = "data:2,model:4"
MESHES = ("data:1,model:8", BOTH, "data:8,model:1")


def operations(lm: LanguageModel) -> float:
    """That a device counts of the program which sweeps rows of one prompt."""
    found: list[float] = []
    run = Run.__call__

    def recorded(self: Run, program: Program, *arguments: Any) -> Any:
        with self.lm.numerics():
            compiled = program.lower(self.lm.graphdef, self.lm.params, *arguments).compile()
        costs = compiled.cost_analysis()
        assert costs is not None
        found.append(float(costs["flops"]))
        return run(self, program, *arguments)

    with mock.patch.object(Run, "__call__", recorded):
        neurons = negjax.random_neurons(lm.config, 128, 1, 0)
        probes = negjax.encode(lm, ["w3 w4 w5"], ["w6"])
        negjax.sweep(lm, probes, neurons, np.linspace(-1, 1, 8))
    return found[-1]


def main() -> None:
    """Both kinds of attention: a suffix that is the read position, and whole prompts."""
    jax.config.update("jax_num_cpu_devices", 8)
    jax.config.update("jax_enable_x64", True)
    with tempfile.TemporaryDirectory() as temporary:
        for name in ("gated", "bert"):
            kv_heads = 4 if name == "gated" else 8
            made = tiny(name, heads=8, kv_heads=kv_heads, head_width=2, neurons=48)
            folder = negjax.save_pretrained(made, Path(temporary) / name)
            one_device = negjax.load(folder, dtype="float64")
            alone = list(answers(one_device))
            for mesh in MESHES:
                lm = negjax.load(folder, dtype="float64", mesh=mesh)
                largest = max(
                    float(np.abs(ours - one).max() / np.abs(one).max())
                    for ours, one in zip(answers(lm), alone, strict=True)
                )
                assert largest < 1e-9, (name, mesh, largest)
                print(f"{name} {mesh} agrees: {largest:.0e}")
            if name == "gated":
                lm = negjax.load(folder, dtype="float64", mesh=BOTH)
                pairs = zip(*map(answers_along_directions, (lm, one_device)), strict=True)
                for ours, one in pairs:
                    np.testing.assert_allclose(ours, one, rtol=1e-9, atol=1e-12)
                print(f"{name} {BOTH} agrees along directions")
                # The bodies of loops count once, and hold most of it.
                apart = negjax.load(folder, dtype="float64", mesh="data:8,model:1")
                share = operations(apart) / operations(one_device)
                assert share < 0.5, share
                print("rows of one prompt are divided")


if __name__ == "__main__":
    main()
