"""What the study of control measures, group by group."""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

import negjax
from experiments.control.edits import EditedFact, EditTable, plain_texts
from experiments.inputs import facts
from experiments.running import common
from negjax.control import (
    Steered,
    edit,
    next_token_kl,
    perplexity,
    steer_probes,
    strongest_shifts,
    target_probabilities,
    unrelated_facts,
)
from negjax.control.odds import shifted_replays, to_log_odds, to_probability
from negjax.control.outcome import shifted_outcomes
from negjax.control.steering import TOLERANCE
from negjax.inputs.probes import Probes
from negjax.storage import store

PARTS = ("turning", "steering", "editing")
DIRECTIONS = ("enhance", "suppress")
LINES = ("P", "log P", "log-odds")
"""What a shift may be taken to move linearly."""
# Steered together: prompts times wanted probabilities, in one search.
STEERED_TOGETHER = 16


@dataclasses.dataclass(frozen=True)
class Way:
    """How an edit is made."""

    meaning: str
    paraphrases: int = 0
    """Taught beside the prompt."""
    turned: bool = True
    """Whether the shift is made as short as it can be."""
    upper: bool = False
    """Only the upper third of the layers is shifted."""
    preserving: bool = False
    """The answers of unrelated facts are preserved to first order."""


WAYS = {
    "smallest": Way("the smallest shift for the prompt"),
    "straight": Way("the shift for the prompt along the first gradient", turned=False),
    "reworded": Way("the smallest shift for the prompt and a paraphrase", paraphrases=1),
    "upper": Way("the smallest shift of the upper third of the layers", upper=True),
    "preserving": Way("the smallest shift that keeps unrelated answers", preserving=True),
}


@dataclasses.dataclass(frozen=True)
class Asked:
    """What to measure, checked."""

    parts: Sequence[str]
    counts: np.ndarray
    """[k], neurons of each polarity."""
    volumes: np.ndarray
    ratios: np.ndarray
    wanted: np.ndarray
    """[W], probabilities to steer to."""
    turns: int
    edits: EditTable | None
    edit_probability: float
    ways: Sequence[str]
    unrelated: Probes | None
    """None: shipped facts of other relations."""

    @property
    def amounts(self) -> list[tuple[str, float]]:
        """By what neurons are turned: volumes, then ratios."""
        return [("volume", v) for v in self.volumes] + [("ratio", r) for r in self.ratios]

    @property
    def facts(self) -> tuple[EditedFact, ...]:
        """To edit."""
        return () if self.edits is None else self.edits.facts


@dataclasses.dataclass(frozen=True)
class Group(common.Work):
    """Measurements of one part, of prompts or edits numbered `rows`."""

    part: str
    rows: range


def array_specs(prompts: int, asked: Asked) -> dict[str, store.ArraySpec]:
    """The arrays of the parts asked for."""
    sizes = {
        "prompt": prompts,
        "direction": len(DIRECTIONS),
        "amount": len(asked.amounts),
        "count": len(asked.counts),
        "wanted": len(asked.wanted),
        "line": len(LINES),
        "fact": len(asked.facts),
        "way": len(asked.ways),
        "row": asked.edits.most_prompts if asked.edits else 0,
    }

    def spec(meaning: str, axes: str, dtype: str = "float64") -> store.ArraySpec:
        names = tuple(axes.split())
        shape = tuple(sizes[name] for name in names)
        return store.ArraySpec(shape, dtype, names, meaning, (1, *shape[1:]))

    turned, steered, edited = "prompt direction amount count", "prompt wanted", "fact way"
    parts = {
        "turning": {
            "baseline": spec("P(answer), unperturbed", "prompt"),
            "rank": spec("of the answer's first token, unperturbed", "prompt", "int32"),
            "top_token": spec("id of the most probable token, unperturbed", "prompt", "int32"),
            "turned": spec("P(answer)", turned),
            "turned_rank": spec("of the answer's first token; 1: none beats it", turned, "int32"),
            "turned_top_token": spec("id of the most probable token", turned, "int32"),
            "turned_kl": spec("KL from the unperturbed distribution, nats", turned),
        },
        "steering": {
            "before": spec("P(answer), unperturbed", "prompt"),
            "size": spec("L2 norm of the unperturbed activations", "prompt"),
            "steered": spec("P(answer) under the smallest shift found", steered),
            "reached": spec("1 where that is the wanted P", steered, "int8"),
            "cosine": spec("of shift and gradient at the shift", steered),
            "norm": spec("L2 norm of the shift", steered),
            "straight_norm": spec("of the shift along the first gradient", steered),
            "predicted_norm": spec("of the shift that the line in log-odds predicts", steered),
            "line": spec("P(answer) where each line predicts the wanted P", "prompt wanted line"),
            "turns": spec("directions accepted after the first", steered, "int32"),
            "kl": spec("KL at the prompt, nats", steered),
            "unrelated_mean": spec("mean KL of the same shift at unrelated prompts", steered),
            "unrelated_median": spec("median of the same", steered),
            "unrelated_most": spec("largest of the same", steered),
        },
        "editing": {
            "plain_new": spec("P(new answer) before the edit", "fact row"),
            "plain_own": spec("P(own answer) before the edit", "fact row"),
            "edited_new": spec("P(new answer)", "fact way row"),
            "edited_own": spec("P(own answer)", "fact way row"),
            "edit_norm": spec("L2 norm of the shift", edited),
            "edit_cosine": spec("of shift and gradient at the shift", edited),
            "edit_reached": spec("1 where the wanted log-odds were reached", edited, "int8"),
            "plain_perplexity": spec("of plain sentences before the edit", "fact"),
            "perplexity": spec("of plain sentences", edited),
            "edit_kl": spec("mean KL at unrelated prompts, nats", edited),
        },
    }
    return {
        name: array
        for part, arrays in parts.items()
        if part in asked.parts
        for name, array in arrays.items()
    }


def all_work(inputs: facts.Inputs, asked: Asked) -> list[Group]:
    """Groups in the order they are measured."""
    prompts = len(inputs.probes)
    work = []
    if "turning" in asked.parts:
        for number in range(prompts):
            measure = functools.partial(_turning, inputs, asked, number)
            work.append(Group(f"turning prompt {number}", 1, measure, "turning", _one(number)))
    if "steering" in asked.parts:
        together = max(1, STEERED_TOGETHER // len(asked.wanted))
        for start in range(0, prompts, together):
            some = range(start, min(start + together, prompts))
            measure = functools.partial(_steering, inputs, asked, some)
            name = f"steering prompts {some[0]} to {some[-1]}"
            work.append(Group(name, len(some), measure, "steering", some))
    for number, fact in enumerate(asked.facts):
        measure = functools.partial(_editing, inputs, asked, number, fact)
        work.append(Group(f"editing {fact.name}", 1, measure, "editing", _one(number)))
    return work


def _one(number: int) -> range:
    return range(number, number + 1)


def _unrelated(inputs: facts.Inputs, asked: Asked, probes: Probes) -> Probes:
    return unrelated_facts(inputs.lm, probes) if asked.unrelated is None else asked.unrelated


def _turning(inputs: facts.Inputs, asked: Asked, number: int) -> common.Values:
    """Every count by every amount, up and down, each a shift of the same prompt."""
    lm, probes = inputs.lm, inputs.probes.select([number])
    gradients = negjax.neurgrad(lm, probes, inputs.site, budget_bytes=common.budget_bytes())
    sets = []
    for direction in DIRECTIONS:
        for name, amount in asked.amounts:
            for count in asked.counts.tolist():
                volume, ratio = (amount, None) if name == "volume" else (None, amount)
                neurons, shifts = strongest_shifts(gradients, count, volume=volume, ratio=ratio)
                sets.append((neurons[0], shifts[0] if direction == "enhance" else -shifts[0]))
    shifts = negjax.neuron_sets(lm.config, sets).dense()
    before, after, kl = shifted_outcomes(
        lm,
        probes.select([0] * len(sets)),
        shifts,
        gradients.site,
        budget_bytes=common.budget_bytes(),
    )
    shape = (len(DIRECTIONS), len(asked.amounts), len(asked.counts))
    return (number,), {
        "baseline": before.probability[0],
        "rank": before.rank[0],
        "top_token": before.top_token[0],
        "turned": after.probability.reshape(shape),
        "turned_rank": after.rank.reshape(shape),
        "turned_top_token": after.top_token.reshape(shape),
        "turned_kl": kl.reshape(shape),
    }


def _steering(inputs: facts.Inputs, asked: Asked, prompts: range) -> common.Values:
    """Every prompt to every wanted probability, in one search."""
    lm, budget = inputs.lm, common.budget_bytes()
    probes = inputs.probes.select(list(prompts))
    shape = (len(prompts), len(asked.wanted))
    each = np.repeat(np.arange(len(prompts)), len(asked.wanted))
    found = steer_probes(
        lm,
        probes.select(each),
        np.tile(asked.wanted, len(prompts)),
        site=inputs.site,
        turns=asked.turns,
        unrelated=_unrelated(inputs, asked, probes),
        budget_bytes=budget,
    )

    def column(value: object) -> np.ndarray:
        return np.asarray(value, np.float64).reshape(shape)

    unrelated = np.stack([s.unrelated_kl for s in found])
    activation = negjax.neurgrad(lm, probes, inputs.site, budget_bytes=budget).activation
    return (slice(prompts.start, prompts.stop),), {
        "before": column([s.before for s in found])[:, 0],
        "size": np.linalg.norm(activation.reshape(len(prompts), -1), axis=1),
        "steered": column([s.probability for s in found]),
        "reached": column([s.reached for s in found]),
        "cosine": column([s.cosine for s in found]),
        "norm": column([s.norm for s in found]),
        "straight_norm": column([_straight_norm(s) for s in found]),
        "predicted_norm": column([s.predicted for s in found]),
        "line": _lines(inputs, asked, probes),
        "turns": column([max(0, len(s.path) - 2) for s in found]),
        "kl": column([s.kl for s in found]),
        "unrelated_mean": column(unrelated.mean(1)),
        "unrelated_median": column(np.median(unrelated, axis=1)),
        "unrelated_most": column(unrelated.max(1)),
    }


def _straight_norm(steered: Steered) -> float:
    """Norm along the first gradient, where that alone got to the wanted probability."""
    if len(steered.path) == 1:
        return 0.0
    norm, probability = steered.path[1]
    distance = abs(to_log_odds(np.asarray(probability)) - to_log_odds(np.asarray(steered.wanted)))
    return norm if distance <= 2 * TOLERANCE else np.nan


def _lines(inputs: facts.Inputs, asked: Asked, probes: Probes) -> np.ndarray:
    """P [b, W, 3] at the lengths along the gradient that lines in P, log P and log-odds predict."""
    c = inputs.lm.config
    surface = shifted_replays(inputs.lm, probes, c.site(inputs.site))
    zero = np.zeros((len(probes), c.layers, c.neurons))
    odds, gradient = surface.slope(zero)
    slope = np.linalg.norm(gradient.reshape(len(probes), -1), axis=1)
    p = to_probability(odds)[:, None]
    # dP = P (1 - P) dλ and d log P = (1 - P) dλ, of log-odds λ.
    lengths = np.stack(
        [
            (asked.wanted - p) / (p * (1 - p)),
            np.log(asked.wanted / p) / (1 - p),
            to_log_odds(asked.wanted) - odds[:, None],
        ],
        axis=-1,
    )
    lengths = (lengths / slope[:, None, None]).reshape(len(probes), -1)
    found = surface.along(zero, gradient / slope[:, None, None], lengths)
    return to_probability(found).reshape(-1, len(asked.wanted), len(LINES))


def _editing(inputs: facts.Inputs, asked: Asked, number: int, fact: EditedFact) -> common.Values:
    """One fact, edited in every way, each time from the unedited model."""
    lm, budget = inputs.lm, common.budget_bytes()
    probes, texts = fact.probes(lm), plain_texts()
    others = _unrelated(inputs, asked, probes)
    assert asked.edits is not None
    fill = asked.edits.most_prompts - len(fact.prompts)
    found: dict[str, list[np.ndarray | float]] = {}
    for name in asked.ways:
        way = WAYS[name]
        layers = range(-(-2 * lm.config.layers // 3), lm.config.layers) if way.upper else None
        # Half of the unrelated facts may be preserved; the other half measures.
        edited = edit(
            lm,
            fact.taught(lm, way.paraphrases),
            asked.edit_probability,
            layers=layers,
            preserve=others.select(range(0, len(others), 2)) if way.preserving else None,
            turns=asked.turns if way.turned else 0,
            budget_bytes=budget,
        )
        after = np.pad(
            target_probabilities(edited.lm, probes, budget_bytes=budget),
            ((0, fill), (0, 0)),
            constant_values=np.nan,
        )
        measured = others.select(range(1, len(others), 2))
        values: dict[str, np.ndarray | float] = {
            "edited_new": after[:, 0],
            "edited_own": after[:, 1],
            "edit_norm": edited.norm,
            "edit_cosine": edited.cosine,
            "edit_reached": edited.reached,
            "perplexity": perplexity(edited.lm, texts, budget_bytes=budget),
            "edit_kl": next_token_kl(lm, edited.lm, measured, budget_bytes=budget).mean(),
        }
        for key, value in values.items():
            found.setdefault(key, []).append(value)
    before = target_probabilities(lm, probes, budget_bytes=budget)
    plain = np.pad(before, ((0, fill), (0, 0)), constant_values=np.nan)
    return (number,), {
        "plain_new": plain[:, 0],
        "plain_own": plain[:, 1],
        "plain_perplexity": np.asarray(perplexity(lm, texts, budget_bytes=budget)),
        **{key: np.asarray(values) for key, values in found.items()},
    }
