"""Errors of every rung of precision on a tiny model, against float64: prints them as JSON."""

import dataclasses
import json

import jax
import numpy as np

import negjax
from negjax.model.language_model import LanguageModel
from negjax.process.precisions import RUNGS
from tests.support import emulated_products
from tests.support.block_shapes import error, tiny, tiny_probes
from tests.support.precision_figures import in_float64


def measured(lm: LanguageModel) -> list[np.ndarray]:
    """P and NeurGrad."""
    found = negjax.neurgrad(lm, tiny_probes(lm))
    return [found.probability, found.neurgrad]


def main() -> None:
    """Of a model with norms, RoPE, attention and a gated layer: all that multiplies."""
    emulated_products.teach()
    lm = tiny("gated")
    with jax.enable_x64(True):
        exact = measured(in_float64(lm))
    errors = {}
    for rung, algorithm in RUNGS.items():
        found = measured(dataclasses.replace(lm, precision=algorithm))
        errors[rung] = [error(*pair) for pair in zip(found, exact, strict=True)]
    print(json.dumps(errors))


if __name__ == "__main__":
    main()
