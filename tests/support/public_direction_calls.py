"""What makes and takes directions, with arguments that it takes."""

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

import negjax
from tests.support.direction_mistakes import no_gradients
from tests.support.odd_values import these
from tests.support.public_calls import NONE, POSITIONS, Call, lm, probes

VECTORS = np.ones((2, 16))


def direction_calls(folder: Path) -> dict[str, Call]:
    """By name; with a file in the folder."""
    model, asked, along = lm(), probes(), negjax.directions(1, VECTORS)
    path = folder / "sae.safetensors"
    save_file({"W_dec": VECTORS}, path)
    gradients = no_gradients()
    return {
        "directions": Call(
            negjax.directions,
            {"layer": 0, "vectors": VECTORS, "place": "ffn_out"},
            # Of a model of width 2.
            {"vectors": these("pairs of floats", "pairs far out")},
        ),
        "read_directions": Call(
            negjax.read_directions,
            {"path": path, "layer": 0, "tensor": None, "place": "ffn_out"},
            {"tensor": NONE},
        ),
        "head_directions": Call(
            negjax.head_directions,
            {"lm": model, "layer": 0, "head": 0, "vectors": np.ones((2, model.config.head_width))},
        ),
        "direction_sets": Call(
            negjax.direction_sets,
            {"directions": along, "sets": [([0, 1], 1.0)]},
        ),
        "residual_gradients": Call(
            negjax.residual_gradients,
            {
                "lm": model,
                "probes": asked,
                "place": "ffn_out",
                "positions": None,
                "output": "logit",
                "budget_bytes": 2**30,
                "progress": None,
            },
            {"positions": POSITIONS},
        ),
        "Directions.select": Call(along.select, {"index": [0]}),
        "ResidualGradients.along": Call(gradients.along, {"directions": along}),
        "ResidualGradients.coefficients": Call(gradients.coefficients, {"directions": along}),
    }
