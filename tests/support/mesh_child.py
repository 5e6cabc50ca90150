"""Answers of one device and of meshes of eight, in float64: prints which of them agree."""

import tempfile
from pathlib import Path

import jax
import numpy as np

import negjax
from tests.support.block_shapes import tiny
from tests.support.every_answer import answers, answers_along_directions

BOTH = "data:2,model:4"
MESHES = ("data:1,model:8", BOTH, "data:8,model:1")


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


if __name__ == "__main__":
    main()
