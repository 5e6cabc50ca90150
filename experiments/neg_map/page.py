"""How the map of every neuron's gradient is shown: printed table, summary, figures and report."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from experiments.inputs import facts, facts_page
from experiments.neg_map import figures as map_figures
from experiments.reporting import page_parts, report, statistics
from experiments.reporting.page_parts import asked_in_short, number, percent
from experiments.reporting.report import Drawing
from experiments.running import documents
from negjax.execution.conventions import sign
from negjax.measurements.linearity import fit_changes
from negjax.storage import store
from negjax.storage.store import RunFolder

TITLE = "The empirical gradient of every neuron"
TOP = 8
"""Neurons pointed at in the picture."""
LISTED = 15
"""Neurons listed in the report."""


@dataclasses.dataclass(frozen=True)
class Map:
    """One prompt's neurons; [l, F] for its l finished layers."""

    prompt: int
    layers: np.ndarray
    """[l], their numbers."""
    probability: float
    noise: float
    activation: np.ndarray
    computed: np.ndarray
    slope: np.ndarray
    """NEG."""
    pearson: np.ndarray
    largest_change: np.ndarray
    shifts: np.ndarray
    """[X]."""

    @property
    def neurgrad(self) -> np.ndarray:
        """[l, F]."""
        return self.computed * sign(self.activation)

    @property
    def bound(self) -> float:
        """Largest |ΔP| that rounding alone explains."""
        return float(statistics.noise_bound(np.asarray(self.noise)))

    def prediction(self, convention: str) -> tuple[str, np.ndarray]:
        """Name and values [l, F] of the slope at 0 under the shift convention."""
        return ("NeurGrad", self.neurgrad) if convention == "signed" else ("CG", self.computed)

    def statistics(self) -> statistics.RangeStatistics:
        """Of all its neurons."""
        return statistics.range_statistics(
            float(np.abs(self.shifts).max()),
            self.shifts.size,
            self.slope.reshape(-1),
            self.pearson.reshape(-1),
            self.largest_change.reshape(-1),
            np.full(self.slope.size, self.bound),
            {"neurgrad": self.neurgrad.reshape(-1), "computed": self.computed.reshape(-1)},
        )


def read_map(folder: RunFolder, prompt: int, layers: Sequence[int], shifts: np.ndarray) -> Map:
    """A prompt's finished layers, and the lines through their changes."""
    changes = np.stack([folder.read("change", (prompt, layer)) for layer in layers])
    slope, pearson = fit_changes(shifts, changes)
    return Map(
        prompt,
        np.asarray(layers),
        float(folder.read("baseline", (prompt,))),
        float(folder.read("noise", (prompt,))),
        folder.read("activation", (prompt,))[layers],
        folder.read("computed", (prompt,))[layers],
        slope,
        pearson,
        np.abs(changes).max(-1),
        shifts,
    )


def write(inputs: facts.Inputs, folder: RunFolder, maps: Sequence[Map], complete: bool) -> None:
    """Writes tables, summary, pictures and report into the run's folder."""
    probability, noise = (np.full(len(inputs.probes), np.nan) for _ in range(2))
    for found in maps:
        probability[found.prompt], noise[found.prompt] = found.probability, found.noise
    tables = {
        store.PROMPTS: facts_page.prompt_table(inputs, probability, noise),
        store.NEURONS: pa.concat_tables([_neuron_table(found) for found in maps]),
    }
    summary = facts_page.about_run(inputs, folder, complete) | {
        "shifts": maps[0].shifts.tolist(),
        "maps": [
            {
                "prompt": found.prompt,
                "text": inputs.probes.prompts[found.prompt],
                "answer": inputs.probes.targets[found.prompt][0],
                "probability": found.probability,
                "noise": found.noise,
                "layers": found.layers.tolist(),
                "statistics": dataclasses.asdict(found.statistics()),
                "strongest": [dataclasses.asdict(n) for n in _strongest(found, LISTED)],
            }
            for found in maps
        ],
    }
    documents.write(folder, tables, summary, lambda: _document(inputs, maps, summary))


def printed(inputs: facts.Inputs, folder: RunFolder, maps: Sequence[Map]) -> str:
    """A few lines a prompt for the terminal, and where the report lies."""
    lines = []
    for found in maps:
        statistics = found.statistics()
        name, _ = found.prediction(facts.convention())
        told = statistics.predictions["neurgrad" if name == "NeurGrad" else "computed"]
        strongest = _strongest(found, 3)
        lines += [
            asked_in_short(
                inputs.probes.prompts[found.prompt], inputs.probes.targets[found.prompt][0]
            )
            + f", P = {found.probability:.3g}",
            f"  {found.slope.size:,} neurons (site {inputs.site}) in {len(found.layers)} layers",
            f"  NEG > 0: {percent(statistics.every.positive)}; within noise: "
            f"{statistics.within_noise / found.slope.size:.1%}; |r| ≥ {statistics.LINEAR:g}: "
            f"{percent(statistics.every.linear)}",
            f"  {name} against NEG: r = {number(told.pearson, '.4f')}, "
            f"MAE = {number(told.mae, '.1e')}, same sign {percent(told.same_sign)}",
            "  strongest: "
            + ", ".join(f"layer {n.layer} neuron {n.neuron} ({n.value:+.2g})" for n in strongest),
            "",
        ]
    return "\n".join([*lines, f"report: {folder.path / store.REPORT}"])


def _neuron_table(found: Map) -> pa.Table:
    size, neurons = found.slope.size, found.slope.shape[1]
    columns = {
        "prompt": np.full(size, found.prompt),
        "layer": np.repeat(found.layers, neurons),
        "neuron": np.tile(np.arange(neurons), len(found.layers)),
        "activation": found.activation,
        "computed": found.computed,
        "neurgrad": found.neurgrad,
        "neg": found.slope,
        "pearson": found.pearson,
        "largest_change": found.largest_change,
        "within_noise": found.largest_change < found.bound,
    }
    return pa.table({name: value.reshape(-1) for name, value in columns.items()})


def _strongest(found: Map, count: int) -> list[map_figures.Named]:
    named = map_figures.strongest(found.slope, count)
    return [dataclasses.replace(n, layer=int(found.layers[n.layer])) for n in named]


def _map(found: Map) -> Drawing:
    name, predicted = found.prediction(facts.convention())
    return Drawing(
        f"map_{found.prompt}",
        lambda: map_figures.map_figure(
            found.layers, found.slope, predicted, name, _strongest(found, TOP)
        ),
    )


def _scatter(found: Map) -> Drawing:
    return Drawing(
        f"scatter_{found.prompt}",
        lambda: map_figures.scatter_figure(
            found.layers, found.slope, found.neurgrad, found.computed, found.statistics()
        ),
    )


def _document(
    inputs: facts.Inputs, maps: Sequence[Map], summary: Mapping[str, Any]
) -> report.Document:
    total = sum(found.slope.size for found in maps)
    lead = (
        f"Every one of {total:,} neurons of {inputs.lm.name}, shifted alone by "
        f"{', '.join(f'{x:+g}' for x in maps[0].shifts)}: how far it moves the probability of "
        "the answer, per unit of its activation."
    )
    sections = [
        report.Section(
            f"“{inputs.probes.prompts[found.prompt]}” → “{inputs.probes.targets[found.prompt][0]}”",
            _blocks(found),
        )
        for found in maps
    ]
    warning = page_parts.unfinished(summary["complete"])
    if warning:
        sections.insert(0, report.Section("Unfinished", warning))
    notes = [
        "One prompt is one prompt: which neurons stand out depends on it.",
        "Within a layer neurons are ordered by their own NEG, so the smooth color of the first map "
        "is the ordering; what can be read are the shares of each color, their strength by layer, "
        "and how far the second map repeats the first.",
    ]
    shifts = ", ".join(f"{x:g}" for x in maps[0].shifts)
    measured = [("Shifts measured", shifts)]
    return facts_page.whole_document(
        TITLE, lead, sections, inputs, summary, notes=notes, measured=measured
    )


def _blocks(found: Map) -> list[report.Block]:
    statistics = found.statistics()
    name, predicted = found.prediction(facts.convention())
    told = statistics.predictions["neurgrad" if name == "NeurGrad" else "computed"]
    flat = {"prediction": predicted, "activation": found.activation, "pearson": found.pearson}
    rows = []
    for named in _strongest(found, LISTED):
        at = (int(np.searchsorted(found.layers, named.layer)), named.neuron)
        rows.append(
            [
                str(named.layer),
                str(named.neuron),
                f"{named.value:+.2e}",
                *(f"{values[at]:+.3g}" for values in flat.values()),
            ]
        )
    count = f"{found.slope.size:,} neurons of {len(found.layers)} layers"
    return [
        report.Paragraph(
            f"P(answer) is {found.probability:.4f}. Of {count}, "
            f"{percent(statistics.every.positive)} have NEG > 0; "
            f"{percent(statistics.within_noise / found.slope.size)} never leave the rounding noise "
            f"(largest |ΔP| below {found.bound:.1e}). {name} tells NEG with Pearson r = "
            f"{number(told.pearson, '.4f')}, mean absolute error {number(told.mae, '.1e')} where "
            f"the mean |NEG| is {number(told.mean_size, '.1e')}, and has its sign for "
            f"{percent(told.same_sign)}."
        ),
        report.Figure(
            _map(found),
            f"Exact NEG of {count} (a), {name} with the neurons in the same places (b), and their "
            "difference (c). Colors are linear up to the median |NEG| and logarithmic beyond. "
            f"Circles: the {TOP} largest |NEG|, as layer.neuron. Right: sum of the positive and of "
            "the negative values of each layer, and the share of positive ones.",
            "Three maps of layers by neurons, blue for negative and red for positive, the first "
            "two nearly alike.",
        ),
        report.Figure(
            _scatter(found),
            f"NEG of {count} against NeurGrad and against CG, on axes that are linear about 0 and "
            "logarithmic beyond; and |NEG − prediction| over the mean |NEG| of the layer.",
            "Scatter of NEG against its predictions, and the error by layer.",
        ),
        report.Table(
            f"The {LISTED} neurons of largest |NEG|.",
            ["layer", "neuron", "NEG", name, "activation", "r"],
            rows,
        ),
    ]
