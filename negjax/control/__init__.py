"""Turning the knob: shifts of neurons that move an answer's probability where one wants it.

negjax.enhance(lm, probes, 100, ratio=1.0)                       # the strongest neurons, up
negjax.steer(lm, "The capital of France is", "Rome", 0.5)        # the smallest shift to P = 0.5
negjax.edit(lm, facts, 0.5).lm                                   # a model with a shift built in
negjax.export_shift(lm, shift, "rome.gguf", site="product")      # for llama.cpp
"""

from negjax.control.editing import Edited, edit
from negjax.control.exporting import Steering, export_shift, read_steering
from negjax.control.outcome import Outcome
from negjax.control.scores import (
    Success,
    next_token_kl,
    overall,
    perplexity,
    success,
    target_probabilities,
)
from negjax.control.steering import TURNS, SmallestShift, Steered, steer, steer_probes
from negjax.control.turning import Turned, enhance, strongest_shifts, suppress, turn
from negjax.control.unrelated import unrelated_facts

__all__ = [
    "TURNS",
    "Edited",
    "Outcome",
    "SmallestShift",
    "Steered",
    "Steering",
    "Success",
    "Turned",
    "edit",
    "enhance",
    "export_shift",
    "next_token_kl",
    "overall",
    "perplexity",
    "read_steering",
    "steer",
    "steer_probes",
    "strongest_shifts",
    "success",
    "suppress",
    "target_probabilities",
    "turn",
    "unrelated_facts",
]
