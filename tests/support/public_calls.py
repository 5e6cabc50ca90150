"""Every function of `negjax` but those of `negjax.control`, with arguments that it takes."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import negjax
from tests.support.block_shapes import TARGETS, tiny, tiny_probes
from tests.support.odd_values import Takes, these

NEURONS = np.asarray([[0, 1], [2, 5]])

NONE = these("None")
SEED = these("huge")
TRUTH = these("True")
POSITIONS = these("None", "minus one")


def saved(name: str, value: Any) -> bool:
    """Whether a file of records holds an odd value."""
    no_parts = ("bytes", "imaginary", "set", "object", "function", "class", "complex array")
    return name not in (*no_parts, "array of text", "array of objects")


@dataclasses.dataclass(frozen=True)
class Call:
    """A function, arguments that it takes, and the odd values that some of them take, too."""

    function: Callable[..., Any]
    given: Mapping[str, Any]
    takes: Mapping[str, Takes] = dataclasses.field(default_factory=dict)
    blames: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Another name by which errors may call an argument: one that it does not agree with, or what
    its members are."""


@functools.cache
def lm() -> negjax.LanguageModel:
    return tiny("gated")


@functools.cache
def probes() -> negjax.Probes:
    return tiny_probes(lm(), tuple((row[0],) for row in TARGETS))


def library() -> dict[str, Call]:
    """Of `negjax`."""
    model, asked = lm(), probes()
    base = {"lm": model, "probes": asked}
    budget = {"budget_bytes": 2**30, "progress": None}
    sites = {"site": NONE}
    measured = {**base, "neurons": NEURONS, "site": None}
    sets = negjax.neuron_sets(model.config, [(NEURONS, 1.0)])
    return {
        "all_neurons": Call(negjax.all_neurons, {"config": model.config}),
        "random_neurons": Call(
            negjax.random_neurons,
            {"config": model.config, "count": 2, "prompts": 1, "seed": 0},
            {"seed": SEED},
        ),
        "neuron_sets": Call(negjax.neuron_sets, {"config": model.config, "sets": [(NEURONS, 1.0)]}),
        "configure_process": Call(negjax.configure_process, {}, {}),
        "save": Call(
            negjax.save,
            {"path": "saved", "record": [1.5]},
            {"path": these("text", "number as text"), "record": saved},
        ),
        "read": Call(negjax.read, {"path": "nowhere"}),
        "open_run": Call(negjax.open_run, {"folder": "nowhere"}),
        "activations": Call(
            negjax.activations,
            {**base, "site": None, "positions": None, **budget},
            {**sites, "positions": POSITIONS},
        ),
        "load": Call(
            negjax.load,
            {
                "source": "nowhere",
                "dtype": "float32",
                "precision": "float32",
                "weights": "auto",
                "mesh": "data:1",
                "assume_harmless": ["quirk"],
                "progress": None,
            },
            {
                "mesh": these("None"),
                "assume_harmless": these("empty list", "list of text", "array of text"),
            },
        ),
        "tokens_of": Call(
            negjax.tokens_of,
            {"probes": asked, "part": "w3", "occurrence": 0},
            {"occurrence": these("minus one")},
        ),
        "encode": Call(
            negjax.encode,
            {
                "lm": model,
                "prompts": ["w3"],
                "targets": ["w4"],
                "target_mode": "single",
                "separator": None,
                "template_options": None,
            },
            {"separator": these("None", "empty text")},
        ),
        "neurgrad": Call(
            negjax.neurgrad,
            {**base, "site": None, "positions": None, "over": None, "output": "logit", **budget},
            {**sites, "positions": POSITIONS, "over": NONE},
        ),
        "logits": Call(negjax.logits, {**base, **budget}),
        "plain_answers": Call(negjax.plain_answers, {**base, **budget}),
        "top_neurons": Call(
            negjax.top_neurons,
            {
                "gradients": negjax.neurgrad(model, asked),
                "k": 1,
                **base,
                "target": None,
                "with_neg": False,
                "tokens": 5,
                **budget,
            },
            {"target": NONE, "with_neg": TRUTH},
        ),
        "gradient_batches": Call(
            negjax.gradient_batches,
            {
                **base,
                "site": None,
                "output": "logit",
                "linearised": False,
                "groups": None,
                "few_shapes": False,
                "budget_bytes": 2**30,
            },
            # Groups are gone through when their turn comes: of none there is none.
            {
                "site": NONE,
                "linearised": TRUTH,
                "few_shapes": TRUTH,
                "groups": these("None", "empty list", "mapping"),
            },
        ),
        "effects": Call(
            negjax.effects,
            {**measured, "positions": None, "output": "logit", **budget},
            {**sites, "positions": POSITIONS},
        ),
        "curvature": Call(
            negjax.curvature,
            {**measured, "output": "logit", "target": None, **budget},
            {"site": NONE, "target": NONE},
        ),
        "sweep": Call(
            negjax.sweep,
            {
                **measured,
                "shifts": [1.0],
                "convention": "signed",
                "positions": None,
                "output": "probability",
                "target": None,
                "spread": False,
                "reroute": False,
                **budget,
            },
            {"site": NONE, "positions": POSITIONS, "target": NONE, "spread": TRUTH},
        ),
        "response": Call(
            negjax.response,
            {
                **measured,
                "radius": 1.0,
                "nodes": 4,
                "convention": "signed",
                "positions": None,
                "output": "probability",
                "target": None,
                "tokens": None,
                "tolerance": 0.1,
                "max_nodes": 4,
                "seed": 0,
                **budget,
            },
            {
                "site": NONE,
                "positions": POSITIONS,
                "target": NONE,
                "max_nodes": NONE,
                "tokens": NONE,
                "seed": SEED,
                "radius": these("half", "array without axes"),
                "tolerance": these("half", "huge", "array without axes"),
            },
        ),
        "neg": Call(
            negjax.neg,
            {
                **measured,
                "radius": 1.0,
                "step": 0.5,
                "convention": "signed",
                "pairs": 1,
                "positions": None,
                "output": "probability",
                "target": None,
                "seed": 0,
                **budget,
            },
            {
                "site": NONE,
                "positions": POSITIONS,
                "target": NONE,
                "seed": SEED,
                "radius": these("half", "array without axes"),
                "step": these("half", "array without axes"),
            },
        ),
        "joint": Call(
            negjax.joint,
            {
                **base,
                "sets": sets,
                "convention": "signed",
                "site": None,
                "clamp": False,
                "positions": None,
                "output": "probability",
                "target": None,
                "spread": False,
                "reroute": False,
                **budget,
            },
            {
                "site": NONE,
                "positions": POSITIONS,
                "target": NONE,
                "clamp": TRUTH,
                "spread": TRUTH,
            },
        ),
        "generate": Call(
            negjax.generate,
            {
                "lm": model,
                "prompts": ["w3"],
                "interventions": negjax.Intervention(sets),
                "when": "all",
                "site": None,
                "max_tokens": 2,
                "temperature": 0.0,
                "top_p": 1.0,
                "seed": 0,
                "end_tokens": None,
                "template_options": None,
                "reroute": False,
                "baseline": True,
                **budget,
            },
            {
                "site": NONE,
                # Two prompts of token ids.
                "prompts": these("ragged"),
                "interventions": these("None", "empty list"),
                "temperature": these("half", "huge", "array without axes"),
                "end_tokens": these("None", "empty list"),
                "baseline": TRUTH,
            },
        ),
        "estimate": Call(
            negjax.estimate,
            {
                **base,
                "method": "ablation",
                "site": None,
                "positions": None,
                "output": None,
                "steps": 2,
                "reference": None,
                **budget,
            },
            {"site": NONE, "positions": NONE, "output": NONE, "reference": NONE},
        ),
        "linear_range": Call(
            negjax.linear_range,
            {"first": np.ones(2), "second": np.ones(2), "tolerance": 0.1},
            {"tolerance": these("half", "array without axes")},
        ),
        "paper_grid": Call(
            negjax.paper_grid,
            {"radius": 2.0, "step": 0.5},
            {
                "radius": these("half", "array without axes"),
                "step": these("half", "array without axes"),
            },
        ),
        "linear_fit of a sweep": Call(
            negjax.linear_fit,
            {
                "measured": negjax.sweep(model, asked, NEURONS, np.asarray([-1.0, 1.0])),
                "shifts": None,
                "within": None,
                "output": None,
            },
            {
                "shifts": NONE,
                "within": these("None", "half", "array without axes"),
                "output": NONE,
            },
        ),
        "linear_fit of a response": Call(
            negjax.linear_fit,
            {
                "measured": curve(),
                "shifts": [-1.0, 1.0],
                "within": None,
                "output": None,
            },
            {
                "within": these("None", "half", "array without axes"),
                "output": NONE,
            },
        ),
        "read_facts": Call(
            negjax.read_facts,
            {
                "path": None,
                "prompt_column": "prompt",
                "answer_column": "answer",
                "limit": 3,
                "seed": 0,
            },
            {"path": NONE, "limit": NONE, "seed": these("None", "huge")},
        ),
    }


@functools.cache
def curve() -> negjax.Response:
    return negjax.response(lm(), probes(), NEURONS, 2.0, 4, max_nodes=4)
