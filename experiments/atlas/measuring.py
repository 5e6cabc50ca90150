"""What is measured, group by group; each is saved when it is finished."""

import functools
from collections.abc import Callable, Iterator

import numpy as np
from numpy.polynomial import chebyshev

import negjax
from experiments.atlas.planning import PAIRS, TOGETHER, Plan
from experiments.inputs import facts, slopes
from experiments.running import common
from experiments.running.common import Values, Work
from negjax.execution.conventions import sign
from negjax.measurements.chebyshev import series_through
from negjax.measurements.written_vocabulary import direct_logits, written_tokens
from negjax.storage import store
from negjax.storage.store import RunFolder

NEG_LAYERS = 3
"""Layers whose NEG is saved together: each call reads the vocabulary, which they share."""
WRITE_LAYERS = 10
"""Layers whose tokens are saved together."""
NEIGHBOUR_LAYERS = 5
"""Layers whose neighbours are saved together."""
LENS_FACTS = 4
"""Facts, the first ones, at whose read positions writes are turned into tokens."""
BLOCK = 1024
"""Neurons whose similarity to all others is held at once."""

# CPU milliseconds of a neuron of the embedded model, on each fact or text: they weigh the progress.
GRADIENT_COST, NEG_COST, CURVE_COST, WRITE_COST, TEXT_COST, NEIGHBOUR_COST = (
    *(0.003, 1.4, 18.0, 1.4, 0.0013, 1.3),
)


def all_work(plan: Plan, folder: RunFolder) -> list[Work]:
    """All groups, in the order in which they are measured: later ones read what earlier saved."""
    count, settings = plan.neurons, plan.settings

    def group(name: str, units: float, measure: Callable[[], Values]) -> Work:
        return Work(name, max(1, round(units)), measure)

    found = [
        group(
            f"slopes of facts {block[0]} to {block[-1]}",
            len(block) * count * GRADIENT_COST,
            functools.partial(_slopes, plan, block),
        )
        for block in _blocks(plan.facts, TOGETHER)
    ]
    found.append(group("curves to measure", 1, functools.partial(_choose_pairs, plan, folder)))
    found += [
        group(
            f"neighbours of neurons of layers {_named(plan, block)}",
            len(block) * plan.width * NEIGHBOUR_COST * count / 46_080,
            functools.partial(_neighbours, plan, folder, block),
        )
        for block in _blocks(len(plan.layers), NEIGHBOUR_LAYERS)
    ]
    found.append(
        group(
            "largest activations in texts",
            len(plan.texts.texts) * count * TEXT_COST,
            functools.partial(_contexts, plan, folder),
        )
    )
    found += [
        group(
            f"tokens that layers {_named(plan, block)} write",
            len(block) * plan.width * WRITE_COST,
            functools.partial(_tokens, plan, block),
        )
        for block in _blocks(len(plan.layers), WRITE_LAYERS)
    ]
    for number, fact in enumerate(settings.sample(plan.facts).tolist()):
        found += [
            group(
                f"NEG of fact {fact}, layers {_named(plan, block)}",
                len(block) * plan.width * NEG_COST,
                functools.partial(_neg, plan, number, fact, block),
            )
            for block in _blocks(len(plan.layers), NEG_LAYERS)
        ]
    found += [
        group(
            f"curves {block[0]} to {block[-1]}",
            len(block) * CURVE_COST,
            functools.partial(_curves, plan, folder, block),
        )
        for block in _blocks(plan.curves, PAIRS)
    ]
    return found


def _blocks(count: int, size: int) -> Iterator[range]:
    """Numbers below a count, so many at a time."""
    return (range(start, min(start + size, count)) for start in range(0, count, size))


def _named(plan: Plan, block: range) -> str:
    return f"{plan.layers[block[0]]} to {plan.layers[block[-1]]}"


def _slopes(plan: Plan, block: range) -> Values:
    shape = (len(block), len(plan.layers), plan.width)
    slope, probability = np.empty(shape, np.float32), np.empty(len(block))
    signed = facts.convention() == "signed"
    for index, p, activation, computed in negjax.gradient_batches(
        plan.inputs.lm,
        plan.inputs.probes.select(list(block)),
        plan.inputs.site,
        budget_bytes=common.budget_bytes(),
    ):
        derivative = np.asarray(computed)[:, 0, plan.layers]
        if signed:
            derivative = derivative * sign(np.asarray(activation)[:, plan.layers])
        slope[index], probability[index] = derivative, np.asarray(p)[:, 0]
    return (slice(block.start, block.stop),), {"slope": slope, "probability": probability}


def _choose_pairs(plan: Plan, folder: RunFolder) -> Values:
    """Which neuron is followed on which fact: sorted by fact, whose neurons share its pass."""
    size = np.abs(folder.read("slope")).reshape(plan.facts, -1)
    own, most = plan.settings.own_facts, plan.settings.strong_facts
    order = np.argsort(-size, axis=0, kind="stable")[:most]
    strong = np.argsort(-size.max(0), kind="stable")[: plan.strong]
    chosen = [(np.arange(plan.neurons), order[rank]) for rank in range(own)]
    chosen += [(strong, order[rank][strong]) for rank in range(own, most)]
    neuron, fact = (np.concatenate(parts) for parts in zip(*chosen, strict=True))
    at = np.lexsort((neuron, fact))
    places = plan.pairs()[neuron[at]]
    pair = np.concatenate([places, fact[at, None]], axis=1)
    return (slice(None),), {"pair": pair}


def _neighbours(plan: Plan, folder: RunFolder, layers: range) -> Values:
    rows = unit_rows(folder.read("slope"))
    count = min(plan.settings.top_neighbours, len(rows) - 1)
    shape = (len(layers) * plan.width, plan.settings.top_neighbours)
    neighbour, cosine = np.full(shape, -1, np.int32), np.zeros(shape, np.float32)
    for block in _blocks(len(neighbour), BLOCK):
        own = layers.start * plan.width + np.asarray(block)
        likeness = rows[own] @ rows.T
        likeness[np.arange(len(own)), own] = 0
        some = np.argpartition(-np.abs(likeness), count - 1, axis=1)[:, :count]
        values = np.take_along_axis(likeness, some, 1)
        order = np.argsort(-np.abs(values), axis=1, kind="stable")
        place = slice(block.start, block.stop), slice(count)
        neighbour[place] = np.take_along_axis(some, order, 1)
        cosine[place] = np.take_along_axis(values, order, 1)
    whole = (len(layers), plan.width, -1)
    return (slice(layers.start, layers.stop),), {
        "neighbour": neighbour.reshape(whole),
        "cosine": cosine.reshape(whole),
    }


def unit_rows(slope: np.ndarray) -> np.ndarray:
    """[N, P], slopes [P, L, F] of each neuron over the facts at length 1; 0 where all are 0."""
    rows = np.ascontiguousarray(slope.reshape(len(slope), -1).T)
    # Slopes may be so small that float32 has no square of them.
    largest = np.abs(rows).max(1, keepdims=True)
    rows = np.divide(rows, largest, out=np.zeros_like(rows), where=largest > 0)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    result: np.ndarray = np.divide(rows, length, out=rows, where=length > 0)
    return result


def _contexts(plan: Plan, folder: RunFolder) -> Values:
    found = negjax.corpus_statistics(
        plan.inputs.lm,
        plan.texts.texts,
        site=plan.inputs.site,
        extremes=plan.settings.top_contexts,
        quantiles=False,
        folder=folder.path / store.STATES,
        budget_bytes=common.budget_bytes(),
    )
    return (slice(None),), {
        "firing": found.firing[plan.layers],
        "mean": found.mean[plan.layers],
        "deviation": found.deviation[plan.layers],
        "context_value": found.top.value[plan.layers],
        "context_text": found.top.text[plan.layers],
        "context_token": found.top.token[plan.layers],
    }


def _tokens(plan: Plan, block: range) -> Values:
    inputs = plan.inputs
    some = inputs.probes.select(list(range(min(LENS_FACTS, plan.facts))))
    layers = plan.layers[block.start : block.stop]
    direct = direct_logits(inputs.lm, some)
    tokens = written_tokens(inputs.lm, direct, layers, plan.settings.top_tokens)
    return (slice(block.start, block.stop),), {"tokens": tokens}


def _neg(plan: Plan, number: int, fact: int, block: range) -> Values:
    neurons = plan.pairs(slice(block.start, block.stop))
    found = slopes.measure(plan.inputs, plan.rule, fact, neurons)
    # The polynomial through what was measured, of which this many points know everything.
    points = chebyshev.chebpts1(plan.degrees) * found.radius
    shape = (len(block), plan.width)

    def by_layer(values: np.ndarray) -> np.ndarray:
        return values[0].reshape(*shape, *values.shape[2:])

    at = number, slice(block.start, block.stop)
    places = dict.fromkeys(("neg", "neg_error", "near"), at)
    return {**places, "sampled": (number,), "neg_noise": (number,)}, {
        "neg": by_layer(found.slope),
        "neg_error": by_layer(found.error),
        "near": by_layer(series_through(found.curve(points))),
        "sampled": np.asarray(fact),
        "neg_noise": found.slope_noise[0],
    }


def _curves(plan: Plan, folder: RunFolder, block: range) -> Values:
    at = (slice(block.start, block.stop),)
    pair = folder.read("pair", at)
    series = np.zeros((len(pair), plan.most_nodes))
    nodes, error, noise = (np.empty(len(pair)) for _ in range(3))
    for fact in np.unique(pair[:, 2]).tolist():
        rows = np.flatnonzero(pair[:, 2] == fact)
        found = negjax.response(
            plan.inputs.lm,
            plan.inputs.probes.select([fact]),
            pair[rows, :2],
            plan.settings.curve_range,
            plan.settings.curve_nodes,
            facts.convention(),
            plan.inputs.site,
            max_nodes=plan.most_nodes,
            seed=common.seed(),
            budget_bytes=common.budget_bytes(),
        )
        series[rows, : found.coefficients.shape[-1]] = found.coefficients[0]
        nodes[rows], error[rows], noise[rows] = found.nodes[0], found.error[0], found.noise[0]
    names = ("series", "series_nodes", "series_error", "series_noise")
    return at, dict(zip(names, (series, nodes, error, noise), strict=True))
