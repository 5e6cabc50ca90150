"""What the paper reports, as reported there: figures that experiments show beside their own.

Paper: Zhao, Jiang, Yoshinaga, *Neuron Empirical Gradient*, ACL 2025, arXiv 2412.18053.
"""

import dataclasses
from collections.abc import Mapping

SOURCE = "Zhao, Jiang and Yoshinaga (ACL 2025, arXiv 2412.18053)"
PROMPTS, NEURONS = 1000, 1000
"""How many, and neurons of each."""
RADIUS = 2.0
"""The range within which the following two are reported."""
LINEAR = "over 90%"
"""Share of the neurons with r > 0.95."""
POSITIVE = "about half"
"""Share of the neurons with NEG > 0."""
TOGETHER, TOGETHER_PEARSON = 4096, 0.7
"""Neurons shifted together within ±2, and the least r of predicted and measured changes."""

BERT, LLAMA = "BERT-base", "Llama2-7B"


@dataclasses.dataclass(frozen=True)
class Reported:
    """How well an estimator tells NEG."""

    pearson: Mapping[str, str]
    """By model."""
    mae: Mapping[str, str]
    """By model."""
    seconds: str
    """A prompt."""


ESTIMATORS = {
    "cg": Reported({BERT: "−0.891", LLAMA: "0.302"}, {BERT: "6.1e−03"}, "0.149"),
    "ig": Reported({BERT: "0.736", LLAMA: "0.538"}, {BERT: "3.0e−03"}, "19.3"),
    "lpi": Reported({LLAMA: "0.647"}, {}, "6.1"),
    "neurgrad": Reported({BERT: "0.9998", LLAMA: "0.814"}, {BERT: "2.6e−05"}, "0.161"),
}

NOT_REPORTED = Reported({}, {}, "—")
"""Of an estimator that the paper has not."""


def told(figures: Mapping[str, str]) -> str:
    """Figures by model, in words."""
    return ", ".join(f"{figure} ({model})" for model, figure in figures.items()) or "—"
