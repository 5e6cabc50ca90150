"""Answers of one device and of meshes of eight, in float64: prints which of them agree."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np

import negjax
from negjax.model.language_model import LanguageModel
from tests.support.block_shapes import tiny
from tests.support.made_probes import asked

MESHES = ("data:1,model:8", "data:2,model:4", "data:8,model:1")
SHIFTS = np.asarray([-1.5, 2.0])


def answers(lm: LanguageModel) -> Iterator[np.ndarray]:
    """Of every kind of program. Prompts are fewer than some meshes' groups of devices."""
    probes = asked(lm)
    c, first = lm.config, probes.select_target(0)
    neurons = np.asarray([(layer, 7 * layer + 5) for layer in range(c.layers)])
    yield negjax.activations(lm, probes)
    yield negjax.neurgrad(lm, probes).computed
    yield negjax.neurgrad(lm, probes, output="log_probability").computed
    yield negjax.sweep(lm, probes, neurons, SHIFTS).log_probability
    yield negjax.sweep(lm, first, neurons, SHIFTS, spread=True).log_probability
    yield negjax.response(lm, first, neurons, 2.0).coefficients
    yield negjax.neg(lm, first, neurons, 2.0, 0.2).slope
    dense = np.random.default_rng(0).normal(size=(3, c.layers, c.neurons))
    yield negjax.joint(lm, first, dense).log_probability
    yield negjax.effects(lm, first, neurons)
    yield negjax.estimate(lm, first, "ig")


def main() -> None:
    """Both kinds of attention: a suffix that is the read position, and whole prompts."""
    jax.config.update("jax_num_cpu_devices", 8)
    jax.config.update("jax_enable_x64", True)
    with tempfile.TemporaryDirectory() as temporary:
        for name in ("gated", "bert"):
            kv_heads = 4 if name == "gated" else 8
            made = tiny(name, heads=8, kv_heads=kv_heads, head_width=2, neurons=48)
            folder = negjax.save_pretrained(made, Path(temporary) / name)
            alone = list(answers(negjax.load(folder, dtype="float64")))
            for mesh in MESHES:
                lm = negjax.load(folder, dtype="float64", mesh=mesh)
                largest = max(
                    float(np.abs(ours - one).max() / np.abs(one).max())
                    for ours, one in zip(answers(lm), alone, strict=True)
                )
                assert largest < 1e-9, (name, mesh, largest)
                print(f"{name} {mesh} agrees: {largest:.0e}")


if __name__ == "__main__":
    main()
