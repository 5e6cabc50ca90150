"""Every function of `negjax.control`, with arguments that it takes."""

from typing import Any

import numpy as np

import negjax
from negjax import control
from tests.support.odd_values import Takes, these
from tests.support.public_calls import NEURONS, NONE, Call, lm, probes

# Without the model's vocabulary of shipped facts, no unrelated prompts are found by themselves.
STEERED: dict[str, Takes] = {
    "site": NONE,
    "neurons": NONE,
    "layers": these("None"),
    "positions": these("None", "minus one"),
    "turns": these("huge"),
}
TURNED: dict[str, Takes] = {
    "site": NONE,
    "target": NONE,
    "volume": these("half", "array without axes"),
    "ratio": NONE,
}


def turned() -> dict[str, Any]:
    return {
        "lm": lm(),
        "probes": probes(),
        "k": 2,
        "volume": 1.0,
        "ratio": None,
        "polarity": "both",
        "site": None,
        "target": None,
        "budget_bytes": 2**30,
        "progress": None,
    }


def controls() -> dict[str, Call]:
    """Of `negjax.control`."""
    measured = {"budget_bytes": 2**30, "progress": None}
    base = {"lm": lm(), "probes": probes(), **measured}
    plan = {k: v for k, v in turned().items() if k in ("k", "volume", "ratio", "polarity")}
    return {
        "enhance": Call(negjax.enhance, turned(), TURNED),
        "suppress": Call(negjax.suppress, turned(), TURNED),
        "steer": Call(
            negjax.steer,
            {
                "lm": lm(),
                "prompt": "w3 w5",
                "target": "w7",
                "probability": 0.5,
                "site": None,
                "neurons": None,
                "layers": None,
                "positions": None,
                "turns": 0,
                "unrelated": probes(),
                "target_mode": "single",
                "template_options": None,
                "budget_bytes": 2**30,
                "progress": None,
            },
            STEERED,
        ),
        "edit": Call(
            negjax.edit,
            {
                "lm": lm(),
                "facts": probes(),
                "probability": 0.5,
                "site": "product",
                "neurons": None,
                "layers": None,
                "preserve": None,
                "turns": 0,
                "budget_bytes": 2**30,
                "progress": None,
            },
            STEERED | {"preserve": NONE},
        ),
        "export_shift": Call(
            negjax.export_shift,
            {
                "lm": lm(),
                "shift": np.ones((3, 20)),
                "path": "shift.safetensors",
                "format": None,
                "site": "product",
                "convention": "additive",
                "clamp": False,
                "positions": "all",
            },
            {"path": these("text", "number as text"), "format": NONE},
        ),
        "read_steering": Call(negjax.read_steering, {"path": "nowhere"}),
        "steer_probes": Call(
            control.steer_probes,
            {
                **base,
                "probability": 0.5,
                "site": None,
                "neurons": None,
                "layers": None,
                "positions": None,
                "turns": 0,
                "unrelated": probes(),
            },
            STEERED,
        ),
        "turn": Call(
            control.turn,
            {**base, "neurons": NEURONS, "shifts": [1.0, 1.0], "site": None, "target": None},
            {"site": NONE, "target": NONE},
        ),
        "strongest_shifts": Call(
            control.strongest_shifts,
            {"gradients": negjax.neurgrad(lm(), probes()), **plan},
            TURNED,
        ),
        "target_probabilities": Call(control.target_probabilities, base),
        "unrelated_facts": Call(control.unrelated_facts, {"lm": lm(), "probes": probes()}),
        "next_token_kl": Call(
            control.next_token_kl,
            {**measured, "before": lm(), "after": lm(), "probes": probes()},
        ),
        "perplexity": Call(control.perplexity, {**measured, "lm": lm(), "texts": ["w3 w4"]}),
        "success": Call(control.success, {"first": [0.5], "second": [0.5]}),
        "overall": Call(
            control.overall,
            {"efficacy": 0.5, "paraphrase": 0.5, "neighbourhood": 0.5},
        ),
    }
