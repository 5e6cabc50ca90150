"""The report of the study of linearity: its numbers, pictures and what they mean, in words."""

from collections.abc import Mapping
from typing import Any

from experiments import paper
from experiments.inputs import facts, facts_page
from experiments.linearity.results import Results
from experiments.reporting import page_parts, report, study
from experiments.reporting.page_parts import number, percent
from experiments.reporting.report import Document, Drawing, Figure, Paragraph, Section, Table

TITLE = "How linear is a neuron's influence on the probability of an answer?"
MEASURES = {
    "response": "Chebyshev series through exact interventions",
    "grid": "every shift replayed",
}
HEAD = (
    ("shifts", ""),
    ("points", ""),
    ("within", "noise"),
    ("within", "error"),
    ("|r| ≥ 0.95", "all"),
    ("|r| ≥ 0.95", "resolved"),
    ("|r| ≥ 0.99", "all"),
    ("|r| ≥ 0.99", "resolved"),
    ("NEG > 0", ""),
    ("NeurGrad r", "all"),
    ("NeurGrad r", "resolved"),
    ("NeurGrad", "MAE"),
    ("CG", "r"),
    ("CG", "MAE"),
)
"""What each column shows, in two lines."""


def cells(found: study.RangeStatistics) -> list[str]:
    """A row under `HEAD`."""
    neurgrad, computed = found.predictions["neurgrad"], found.predictions["computed"]
    every = max(found.every.neurons, 1)
    return [
        f"±{found.radius:g}",
        str(found.points),
        percent(found.within_noise / every),
        percent(found.within_error / every),
        percent(found.every.linear),
        percent(found.resolved.linear),
        percent(found.every.very_linear),
        percent(found.resolved.very_linear),
        percent(found.every.positive),
        number(neurgrad.pearson, ".4f"),
        number(found.resolved_predictions["neurgrad"].pearson, ".4f"),
        number(neurgrad.mae, ".1e"),
        number(computed.pearson, ".4f"),
        number(computed.mae, ".1e"),
    ]


def document(
    inputs: facts.Inputs,
    results: Results,
    summary: Mapping[str, Any],
    pictures: Mapping[str, Drawing],
) -> Document:
    """The report."""
    statistics = results.statistics[results.measure]
    headline = next(s for s in statistics if s.radius == results.headline)
    count = f"{headline.every.neurons:,} neurons ({len(results.prompts)} prompts)"
    told = headline.resolved_predictions["neurgrad"]
    moved = "strengthened" if summary["convention"] == "signed" else "increased"
    lead = (
        f"Within ±{headline.radius:g}, {percent(headline.every.linear)} of {count} of "
        f"{inputs.lm.name} have |r| ≥ {study.LINEAR:g}; {percent(headline.every.positive)} raise "
        f"the answer's probability when {moved}. NeurGrad, one backward pass, tells the "
        f"measured slope with r = {number(headline.predictions['neurgrad'].pearson, '.4f')}, of "
        f"the resolved neurons {number(told.pearson, '.4f')}."
    )
    sections = [
        Section("Result", [*page_parts.unfinished(summary["complete"]), *_result(results)]),
        Section("Beside the paper", _paper(headline)),
        Section("How linear", _linearity(results, pictures, count)),
        Section("How steep, and which way", _slopes(results, pictures, count)),
        Section("What tells the slope", _predictions(results, summary, pictures, count)),
        Section("Rounding noise", _noise(results, inputs, pictures)),
    ]
    notes, measured = _notes(results), _measured(results)
    return facts_page.whole_document(
        TITLE, lead, sections, inputs, summary, notes=notes, measured=measured
    )


def _result(results: Results) -> list[report.Block]:
    blocks: list[report.Block] = [
        Paragraph(
            "Each neuron's activation at the read position was shifted, alone, and the probability "
            "P of the answer measured under the full-vocabulary softmax. NEG is the slope of the "
            "line through the origin that fits ΔP best; r is Pearson's, of the same points."
        )
    ]
    for measure, found in results.statistics.items():
        caption = (
            f"By shift range, {MEASURES[measure]}. Points: shifts a line is fitted to. Within "
            "noise: largest |ΔP| of the range no larger than rounding alone explains. Within "
            "error: of the others, those whose series, which is good to a share of its widest "
            "range, may be off by half of that. Resolved: both left out. NeurGrad, CG: Pearson r "
            "with NEG and mean absolute error, in P per unit of activation."
        )
        blocks.append(
            Table(caption, [" ".join(name).strip() for name in HEAD], [cells(s) for s in found])
        )
    compared = results.comparison
    if compared:
        names = {
            "curve": "ΔP, in deviations of its rounding noise",
            "curve_relative": "ΔP, over the range of ΔP",
            "slope": "NEG, relative",
            "pearson": "|r|",
        }
        caption = (
            f"Series against grid: largest difference of the curves of {compared.neurons:,} "
            "neurons at every shift of the grid, and of what is read off them; quantiles over "
            "neurons, in all rows but the first over those above the noise."
        )
        rows = [
            [name, *(f"{value:.1e}" for value in found.values())]
            for field, name in names.items()
            if (found := getattr(compared, field)) is not None
        ]
        head = ["difference of", *(f"{q:.0%}" for q in study.QUANTILES)]
        blocks.append(Table(caption, head, rows))
    return blocks


def _paper(found: study.RangeStatistics) -> list[report.Block]:
    neurgrad, computed = found.predictions["neurgrad"], found.predictions["computed"]
    within = f"within ±{found.radius:g}"
    rows = [
        [
            "share with |r| ≥ 0.95",
            f"{paper.LINEAR} (r > 0.95 within ±{paper.RADIUS:g})",
            percent(found.every.linear),
        ],
        ["share with NEG > 0", paper.POSITIVE, percent(found.every.positive)],
    ]
    for name, key, own in (("NeurGrad", "neurgrad", neurgrad), ("CG", "cg", computed)):
        reported = paper.ESTIMATORS[key]
        rows += [
            [f"{name}, r with NEG", paper.told(reported.pearson), number(own.pearson, ".4f")],
            [f"{name}, MAE", paper.told(reported.mae), number(own.mae, ".1e")],
        ]
    caption = (
        f"As reported by {paper.SOURCE}, {paper.PROMPTS:,} prompts of {paper.NEURONS:,} neurons "
        f"each; and here, {within}. Models and prompts differ, so the figures may."
    )
    return [Table(caption, ["", "paper", "here"], rows)]


def _linearity(results: Results, pictures: Mapping[str, Drawing], count: str) -> list[report.Block]:
    widest = results.ranges[-1]
    return [
        Figure(
            pictures["linearity"],
            f"Linearity of {count} by shift range. a: share of the resolved neurons whose "
            "curve is at least as straight as 1 − |r| says. b: share with |r| above the two "
            "thresholds; filled marks are of resolved neurons, hollow ones of all.",
            "Cumulative distributions of 1 minus |r| for each shift range, and the share of linear "
            "neurons falling as the range grows.",
        ),
        Figure(
            pictures["gallery"],
            f"The most and the least linear of {count}, resolved within ±{widest:g}. Dots: "
            f"interventions that were run; curve: {MEASURES[results.measure]}; dashed: the line "
            "whose slope is NEG; grey band, often too thin to see: what rounding explains. The "
            "answer is in quotation marks.",
            "Four straight curves and four bent ones, with their fitted lines.",
        ),
    ]


def _slopes(results: Results, pictures: Mapping[str, Drawing], count: str) -> list[report.Block]:
    fit = results.fits[results.measure][results.headline]
    zeros = int((fit.slope == 0).sum())
    return [
        Figure(
            pictures["layers"],
            f"NEG within ±{results.headline:g} of {count}, by layer. a: quantiles of |NEG| "
            f"({zeros} neurons with NEG = 0 left out). b: share of neurons with NEG > 0; with few "
            "neurons a layer much of its scatter is chance.",
            "Quantiles of the size of NEG in each layer, and the share of positive neurons.",
        )
    ]


def _predictions(
    results: Results, summary: Mapping[str, Any], pictures: Mapping[str, Drawing], count: str
) -> list[report.Block]:
    signed = summary["convention"] == "signed"
    slope = "NeurGrad" if signed else "CG"
    return [
        Paragraph(
            "NeurGrad is the computed gradient CG = ∂P/∂a times s(a), the sign of the activation. "
            f"Under the {summary['convention']} convention, which these shifts follow, the slope "
            f"of ΔP for small shifts is exactly {slope}: NeurGrad's sign correction is the paper's "
            "shift convention, not a property of the network. What is tested here is how far the "
            "slope at 0 holds away from 0."
        ),
        Figure(
            pictures["predictions"],
            f"NEG within ±{results.headline:g} of {count} against NeurGrad (a) and against CG (b), "
            "on axes that are linear about 0 and logarithmic beyond. Dashed: equality. Color: "
            "neurons a hexagon.",
            "Hexagons along the diagonal for one of the two, along both diagonals for the other.",
        ),
    ]


def _noise(
    results: Results, inputs: facts.Inputs, pictures: Mapping[str, Drawing]
) -> list[report.Block]:
    noise = study.quantiles(results.noise, (0.5,)) or {}
    return [
        Paragraph(
            f"In {inputs.lm.dtype.name}, P itself is uncertain by rounding: its standard "
            "deviation, measured for each prompt by tiny shifts that change P by far less, is "
            f"{number(noise.get('0.5'), '.1e')} (median over prompts). A ΔP is the "
            "difference of two such values. Neurons whose largest |ΔP| in a range is below "
            f"{study.NOISE_DEVIATIONS / 2**0.5:g} of its standard deviations are called within "
            "the noise: a single measurement there could not tell them from neurons that do "
            "nothing, and their r says little."
        ),
        Figure(
            pictures["noise"],
            "Distribution over neurons of the largest |ΔP| of each range, in units of what "
            "rounding alone explains. Numbers: shares below and above.",
            "Histograms of the size of the largest change relative to the noise, by range.",
        ),
    ]


def _notes(results: Results) -> list[str]:
    if results.measure == "response":
        notes = [
            f"All ranges are read off one series through ±{results.ranges[-1]:g}, a polynomial: "
            "within the narrow ranges it averages rounding away, so that curves look straighter "
            "than a plain grid of the same points would find them (--measure=both measures both).",
            "Ranges in which the step would leave fewer than five points a side are read at a "
            "finer step; two points would always lie on a line.",
        ]
    else:
        notes = [
            f"Ranges with fewer than {study.LEAST_POINTS} shifts have no r: two points always lie "
            "on a line."
        ]
    return [
        *notes,
        "Neurons were drawn uniformly over all layers, for each prompt anew; neurons of one prompt "
        "share its P, so they are not independent.",
        "Pearson r asks whether ΔP follows a line at all, not whether that line passes through 0.",
    ]


def _measured(results: Results) -> list[tuple[str, str]]:
    quantiles = study.quantiles(results.probability, (0.05, 0.5, 0.95)) or {}
    rows = [
        (
            "P(answer)",
            "5%, median, 95% of the prompts: "
            + ", ".join(f"{value:.3g}" for value in quantiles.values()),
        ),
        ("Curves", MEASURES[results.measure]),
    ]
    if "nodes" in results.neurons:
        nodes = results.neurons["nodes"]
        refined = percent(study.share(nodes > nodes.min()))
        rows.append(
            ("Interventions", f"{int(nodes.sum()):,}; {refined} of the curves were refined")
        )
    return rows
