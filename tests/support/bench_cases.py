"""The cases of the bench on a tiny model."""

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

import negjax
from experiments.bench.cases import CASES, Case
from negjax.model.language_model import LanguageModel
from negjax.weights.saving import save_pretrained
from tests.support.block_shapes import tiny

NAMED = {case.name: case for case in CASES}


def arrays_of(case: Case, lm: LanguageModel) -> dict[str, np.ndarray]:
    """A case on a tiny model: prompts of seven tokens, of which five may be a common head."""
    generator = np.random.default_rng(0)
    tokens = generator.integers(2, 24, (case.prompts, 7))
    tokens[:, :5] = tokens[0, :5]
    neurons = negjax.random_neurons(lm.config, 6, 1, 0)[0]
    return {
        "tokens": tokens,
        "mask": np.ones_like(tokens, bool),
        # No prompt is asked for a token twice.
        "targets": np.asarray(
            [generator.permutation(np.arange(2, 24))[: case.targets] for _ in range(case.prompts)]
        ),
        "neurons": neurons,
        "shifts": negjax.paper_grid(1.0, 0.5) if case.neurons else np.ones(1),
    }


def lay_out(folder: Path, case: Case) -> tuple[LanguageModel, dict[str, np.ndarray]]:
    """The folder as bench makes it for its processes."""
    lm = tiny("gated")
    save_pretrained(lm, folder / "model")
    arrays = arrays_of(case, lm)
    save_file(arrays, folder / f"{case.name}.safetensors")
    return lm, arrays
