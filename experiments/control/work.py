"""What the study of control measures, group by group."""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

import negjax
from experiments.control import continuations
from experiments.control.edits import EditedFact, EditTable, plain_texts
from experiments.control.settings import DIRECTIONS, LINES, WAYS, Settings
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

# Steered together: prompts times wanted probabilities, in one search.
STEERED_TOGETHER = 16
COSTS = {"turning": 1, "steering": 100, "editing": 600}
"""About as many replays as a shift, a search and an edit take: the bar's units."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What to measure: the settings, and what the tables that they name hold."""

    settings: Settings
    edits: EditTable | None
    """None: nothing is edited."""
    unrelated: Probes | None
    """None: shipped facts of other relations."""
    written: int
    """Tokens that the model writes after a prompt, steered or not, edited or not; 0: none."""

    @property
    def facts(self) -> tuple[EditedFact, ...]:
        """To edit."""
        return () if self.edits is None else self.edits.facts


@dataclasses.dataclass(frozen=True, kw_only=True)
class Group(common.Work):
    """Measurements of one part, of prompts or edits numbered `rows`."""

    part: str
    rows: range


def array_specs(prompts: int, plan: Plan) -> dict[str, store.ArraySpec]:
    """The arrays of the parts that are measured."""
    sizes = {
        "prompt": prompts,
        "direction": len(DIRECTIONS),
        "amount": len(plan.settings.amounts),
        "count": len(plan.settings.counts),
        "wanted": len(plan.settings.wanted),
        "line": len(LINES),
        "fact": len(plan.facts),
        "way": len(plan.settings.ways),
        "row": plan.edits.most_prompts if plan.edits else 0,
        "token": plan.written,
    }

    def spec(meaning: str, axes: str, dtype: str = "float64") -> store.ArraySpec:
        names = tuple(axes.split())
        shape = tuple(sizes[name] for name in names)
        return store.ArraySpec(
            shape=shape, dtype=dtype, axes=names, meaning=meaning, chunks=(1, *shape[1:])
        )

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
    if plan.written:
        ids = "ids of what is written then; -1: none"
        parts["steering"] |= {
            "plain_text": spec(ids, "prompt token", "int32"),
            "steered_text": spec(ids, f"{steered} token", "int32"),
        }
        parts["editing"] |= {
            "unedited_text": spec(ids, "fact token", "int32"),
            "edited_text": spec(ids, f"{edited} token", "int32"),
        }
    return {
        name: array
        for part, arrays in parts.items()
        if part in plan.settings.parts
        for name, array in arrays.items()
    }


def all_work(inputs: facts.Inputs, plan: Plan) -> list[Group]:
    """Groups in the order they are measured."""
    prompts = len(inputs.probes)
    work = []

    each = {
        "turning": len(DIRECTIONS) * len(plan.settings.amounts) * len(plan.settings.counts),
        "steering": len(plan.settings.wanted),
        "editing": len(plan.settings.ways),
    }

    def add(name: str, part: str, rows: range, measure: Callable[[], common.Values]) -> None:
        units = len(rows) * each[part] * COSTS[part]
        work.append(Group(name=name, units=units, measure=measure, part=part, rows=rows))

    if "turning" in plan.settings.parts:
        for number in range(prompts):
            measure = functools.partial(_turning, inputs, plan, number)
            add(f"turning prompt {number}", "turning", range(number, number + 1), measure)
    if "steering" in plan.settings.parts:
        together = max(1, STEERED_TOGETHER // len(plan.settings.wanted))
        for start in range(0, prompts, together):
            some = range(start, min(start + together, prompts))
            measure = functools.partial(_steering, inputs, plan, some)
            add(f"steering prompts {some[0]} to {some[-1]}", "steering", some, measure)
    for number, fact in enumerate(plan.facts):
        measure = functools.partial(_editing, inputs, plan, number, fact)
        add(f"editing {fact.name}", "editing", range(number, number + 1), measure)
    return work


def _unrelated(inputs: facts.Inputs, plan: Plan, probes: Probes) -> Probes:
    return unrelated_facts(inputs.lm, probes) if plan.unrelated is None else plan.unrelated


def _turning(inputs: facts.Inputs, plan: Plan, number: int) -> common.Values:
    """Every count by every amount, up and down, each a shift of the same prompt."""
    lm, probes = inputs.lm, inputs.probes.select([number])
    gradients = negjax.neurgrad(lm, probes, inputs.site, budget_bytes=common.budget_bytes())
    sets = []
    for direction in DIRECTIONS:
        for name, amount in plan.settings.amounts:
            for count in plan.settings.counts:
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
    shape = (len(DIRECTIONS), len(plan.settings.amounts), len(plan.settings.counts))
    return (number,), {
        "baseline": before.probability[0],
        "rank": before.rank[0],
        "top_token": before.top_token[0],
        "turned": after.probability.reshape(shape),
        "turned_rank": after.rank.reshape(shape),
        "turned_top_token": after.top_token.reshape(shape),
        "turned_kl": kl.reshape(shape),
    }


def _steering(inputs: facts.Inputs, plan: Plan, prompts: range) -> common.Values:
    """Every prompt to every wanted probability, in one search."""
    lm, budget = inputs.lm, common.budget_bytes()
    probes = inputs.probes.select(list(prompts))
    shape = (len(prompts), len(plan.settings.wanted))
    each = np.repeat(np.arange(len(prompts)), len(plan.settings.wanted))
    steered = steer_probes(
        lm,
        probes.select(each),
        np.tile(plan.settings.wanted, len(prompts)),
        site=inputs.site,
        turns=plan.settings.turns,
        unrelated=_unrelated(inputs, plan, probes),
        budget_bytes=budget,
    )

    def column(value: object) -> np.ndarray:
        return np.asarray(value, np.float64).reshape(shape)

    unrelated = np.stack([s.unrelated_kl for s in steered])
    activation = negjax.neurgrad(lm, probes, inputs.site, budget_bytes=budget).activation
    return (slice(prompts.start, prompts.stop),), {
        "before": column([s.before for s in steered])[:, 0],
        "size": np.linalg.norm(activation.reshape(len(prompts), -1), axis=1),
        "steered": column([s.probability for s in steered]),
        "reached": column([s.reached for s in steered]),
        "cosine": column([s.cosine for s in steered]),
        "norm": column([s.norm for s in steered]),
        "straight_norm": column([_straight_norm(s) for s in steered]),
        "predicted_norm": column([s.predicted for s in steered]),
        "line": _lines(inputs, plan, probes),
        "turns": column([max(0, len(s.path) - 2) for s in steered]),
        "kl": column([s.kl for s in steered]),
        "unrelated_mean": column(unrelated.mean(1)),
        "unrelated_median": column(np.median(unrelated, axis=1)),
        "unrelated_most": column(unrelated.max(1)),
        **continuations.steered_texts(lm, probes, steered, plan.written, budget),
    }


def _straight_norm(steered: Steered) -> float:
    """Norm along the first gradient, where that alone got to the wanted probability."""
    if len(steered.path) == 1:
        return 0.0
    norm, probability = steered.path[1]
    distance = abs(to_log_odds(np.asarray(probability)) - to_log_odds(np.asarray(steered.wanted)))
    return norm if distance <= 2 * TOLERANCE else np.nan


def _lines(inputs: facts.Inputs, plan: Plan, probes: Probes) -> np.ndarray:
    """P [b, W, 3] at the lengths along the gradient that lines in P, log P and log-odds predict."""
    c, wanted = inputs.lm.config, np.asarray(plan.settings.wanted)
    surface = shifted_replays(inputs.lm, probes, c.site(inputs.site))
    zero = np.zeros((len(probes), c.layers, c.neurons))
    odds, gradient = surface.slope(zero)
    slope = np.linalg.norm(gradient.reshape(len(probes), -1), axis=1)
    p = to_probability(odds)[:, None]
    # dP = P (1 - P) dλ and d log P = (1 - P) dλ, of log-odds λ.
    lengths = np.stack(
        [
            (wanted - p) / (p * (1 - p)),
            np.log(wanted / p) / (1 - p),
            to_log_odds(wanted) - odds[:, None],
        ],
        axis=-1,
    )
    lengths = (lengths / slope[:, None, None]).reshape(len(probes), -1)
    odds = surface.along(zero, gradient / slope[:, None, None], lengths)
    return to_probability(odds).reshape(-1, len(wanted), len(LINES))


def _editing(inputs: facts.Inputs, plan: Plan, number: int, fact: EditedFact) -> common.Values:
    """One fact, edited in every way, each time from the unedited model."""
    lm, budget, settings = inputs.lm, common.budget_bytes(), plan.settings
    probes, sentences = fact.probes(lm), plain_texts()
    others = _unrelated(inputs, plan, probes)
    assert plan.edits is not None
    fill = plan.edits.most_prompts - len(fact.prompts)
    measures: dict[str, list[np.ndarray | float]] = {}
    for name in settings.ways:
        way = WAYS[name]
        layers = range(-(-2 * lm.config.layers // 3), lm.config.layers) if way.upper else None
        # Half of the unrelated facts may be preserved; the other half measures.
        edited = edit(
            lm,
            fact.taught(lm, way.paraphrases),
            settings.edit_probability,
            layers=layers,
            preserve=others.select(range(0, len(others), 2)) if way.preserving else None,
            turns=settings.turns if way.turned else 0,
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
            "perplexity": perplexity(edited.lm, sentences, budget_bytes=budget),
            "edit_kl": next_token_kl(lm, edited.lm, measured, budget_bytes=budget).mean(),
            **continuations.fact_text("edited_text", edited.lm, probes, plan.written, budget),
        }
        for key, value in values.items():
            measures.setdefault(key, []).append(value)
    before = target_probabilities(lm, probes, budget_bytes=budget)
    plain = np.pad(before, ((0, fill), (0, 0)), constant_values=np.nan)
    return (number,), {
        "plain_new": plain[:, 0],
        "plain_own": plain[:, 1],
        "plain_perplexity": np.asarray(perplexity(lm, sentences, budget_bytes=budget)),
        **continuations.fact_text("unedited_text", lm, probes, plan.written, budget),
        **{key: np.asarray(values) for key, values in measures.items()},
    }
