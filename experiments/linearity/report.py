"""What the study of linearity shows: tables, figures, and the numbers of its report's template."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from experiments import paper
from experiments.inputs import facts, facts_page, fitted_curves
from experiments.inputs.fitted_curves import FittedCurves
from experiments.linearity import figures
from experiments.linearity.results import Results
from experiments.reporting import intervals, statistics
from experiments.reporting.figures import Picture
from experiments.reporting.tables import Column, Table, columns, counted, written
from experiments.reporting.templates import Contents
from experiments.running.study import Findings, Finished, Report
from negjax.storage import store
from negjax.storage.store import RunFolder

CURVES = {
    "response": "Chebyshev series through exact interventions",
    "grid": "every shift replayed",
}
RANGES = (
    Column("shifts", lambda s: f"±{s.radius:g}"),
    Column("points", lambda s: s.points),
    Column("within", lambda s: s.within_noise / max(s.every.neurons, 1), ".1%", "noise"),
    Column("within", lambda s: s.within_error / max(s.every.neurons, 1), ".1%", "error"),
    Column("|r| ≥ 0.95", lambda s: s.every.linear, ".1%", "all"),
    Column("|r| ≥ 0.95", lambda s: s.resolved.linear, ".1%", "resolved"),
    Column("|r| ≥ 0.99", lambda s: s.every.very_linear, ".1%", "all"),
    Column("|r| ≥ 0.99", lambda s: s.resolved.very_linear, ".1%", "resolved"),
    Column("NEG > 0", lambda s: s.every.positive, ".1%"),
    Column("NeurGrad r", lambda s: s.predictions["neurgrad"].pearson, ".4f", "all"),
    Column("NeurGrad r", lambda s: s.resolved_predictions["neurgrad"].pearson, ".4f", "resolved"),
    Column("NeurGrad", lambda s: s.predictions["neurgrad"].mae, ".1e", "MAE"),
    Column("CG", lambda s: s.predictions["computed"].pearson, ".4f", "r"),
    Column("CG", lambda s: s.predictions["computed"].mae, ".1e", "MAE"),
)
COMPARED = {
    "curve": "ΔP, in deviations of its rounding noise",
    "curve_relative": "ΔP, over the range of ΔP",
    "slope": "NEG, relative",
    "pearson": "|r|",
}


def findings(
    inputs: facts.Inputs, folder: RunFolder, results: Results, finished: Finished
) -> Findings:
    """Tables and summary of the run, and its report."""
    curves = results.curves
    summary = facts_page.about_run(inputs, folder, finished.complete) | {
        "neurons_measured": len(curves.neurons["layer"]),
        "prompts_measured": len(curves.prompts),
        "measure": curves.measure,
        "noise": statistics.quantiles(curves.noise),
        "thresholds": {"linear": statistics.LINEAR, "very_linear": statistics.VERY_LINEAR},
        "ranges": results.by_range,
        "series_against_grid": results.comparison,
    }
    return Findings(
        tables={
            store.NEURONS: fitted_curves.neuron_table(curves),
            store.PROMPTS: facts_page.prompt_table(
                inputs, curves.prompts, curves.probability, curves.noise
            ),
        },
        summary=summary,
        report=lambda summary: make_report(inputs, results, summary),
    )


def make_report(inputs: facts.Inputs, results: Results, summary: Mapping[str, Any]) -> Report:
    """What is shown of the results."""
    curves = results.curves
    by_range = results.by_range[curves.measure]
    headline = next(s for s in by_range if s.radius == curves.headline)
    fits, neurons, prompts = curves.fits[curves.measure], curves.neurons, len(curves.prompts)
    of_headline, prompt = fits[curves.headline], neurons["prompt"]
    count = f"{counted(headline.every.neurons, 'neuron')} of {counted(prompts, 'prompt')}"
    enough = of_headline.points >= statistics.LEAST_POINTS
    ranges = [
        Table(
            name=f"ranges_{measure}",
            title=f"{measure}: {CURVES[measure]}",
            caption=CURVES[measure],
            columns=RANGES,
            rows=every,
        )
        for measure, every in results.by_range.items()
    ]
    values = facts_page.values(inputs, summary)
    values |= {
        "headline": headline,
        "linear": intervals.shares(np.abs(of_headline.pearson) >= statistics.LINEAR, prompt)
        if enough
        else None,
        "neurgrad": intervals.pearson(neurons["neurgrad"], of_headline.slope, prompt),
        "resolved": headline.resolved_predictions["neurgrad"],
        "count": count,
        "neurons": headline.every.neurons,
        "moved": "strengthened" if values["signed"] else "increased",
        "slope": "NeurGrad" if values["signed"] else "CG",
        "curves": CURVES[curves.measure],
        "series": curves.measure == "response",
        "widest": curves.ranges[-1],
        "explored": _explored(results),
        "zeros": counted(int((of_headline.slope == 0).sum()), "neuron"),
        "noise": np.median(curves.noise),
    }
    straight = [s.radius for s in by_range if s.every.linear is not None]
    predicted = {"NeurGrad": "neurgrad", "CG": "computed"}
    draws: dict[str, Callable[[], Picture]] = {
        "linearity": lambda: figures.linearity_figure(
            straight,
            [fits[r].pearson for r in straight],
            [curves.resolved(fits[r], curves.measure) for r in straight],
            by_range,
        ),
        "gallery": lambda: figures.gallery_figure(results.most_linear, results.least_linear),
        "layers": lambda: figures.layers_figure(
            neurons["layer"], fits[curves.headline].slope, inputs.lm.config.layers
        ),
        "predictions": lambda: figures.predictions_figure(
            fits[curves.headline].slope,
            [(name, neurons[key]) for name, key in predicted.items()],
            [headline.predictions[key] for key in predicted.values()],
        ),
        "noise": lambda: figures.noise_figure(
            curves.ranges, [fits[r].largest_change for r in curves.ranges], neurons["bound"]
        ),
    }
    return Report(
        contents=Contents(
            values=values,
            tables={
                "ranges": ranges,
                "comparison": _comparison(results.comparison),
                "paper": _paper(headline),
            },
            figures=draws,
            explorers={"predictions": results.explorer},
        ),
        headline=facts_page.headline(
            inputs,
            summary,
            counted(prompts, "prompt"),
            counted(headline.every.neurons, "neuron"),
        ),
        printed=ranges[0],
        measured=[*facts_page.measured(inputs, summary), *_measured(curves)],
    )


def _explored(results: Results) -> str:
    """How many neurons a reader may point at; empty: none."""
    if results.explorer is None:
        return ""
    shown, every = results.explorer.prompt.size, len(results.curves.neurons["layer"])
    of_all = "all" if shown == every else f"{shown:,} of"
    return f"{of_all} {counted(every, 'neuron')}"


def _comparison(compared: statistics.Comparison | None) -> Table | None:
    if compared is None:
        return None
    every = [(name, getattr(compared, field)) for field, name in COMPARED.items()]
    shown = [
        Column("difference of", lambda row: row[0]),
        *(Column(f"{q:.0%}", _quantile(q), ".1e") for q in statistics.QUANTILES),
    ]
    return Table(columns=shown, rows=[row for row in every if row[1] is not None])


def _quantile(probability: float) -> Callable[[tuple[str, dict[str, float]]], float]:
    return lambda row: row[1][f"{probability:g}"]


def _paper(here: statistics.RangeStatistics) -> Table:
    reported = f"{paper.LINEAR} (r > 0.95 within ±{paper.RADIUS:g})"
    rows = [
        ["share with |r| ≥ 0.95", reported, written(here.every.linear, ".1%")],
        ["share with NEG > 0", paper.POSITIVE, written(here.every.positive, ".1%")],
    ]
    for name, theirs, ours in (("NeurGrad", "neurgrad", "neurgrad"), ("CG", "cg", "computed")):
        there, found = paper.ESTIMATORS[theirs], here.predictions[ours]
        rows += [
            [f"{name}, r with NEG", paper.told(there.pearson), written(found.pearson, ".4f")],
            [f"{name}, MAE", paper.told(there.mae), written(found.mae, ".1e")],
        ]
    return Table(columns=columns("measure", "paper", "here"), rows=rows)


def _measured(curves: FittedCurves) -> list[tuple[str, str]]:
    rows = [facts_page.probabilities(curves.probability), ("Curves", CURVES[curves.measure])]
    if "nodes" in curves.neurons:
        nodes = curves.neurons["nodes"]
        refined = written(statistics.share(nodes > nodes.min()), ".1%")
        rows.append(
            ("Interventions", f"{int(nodes.sum()):,}; {refined} of the curves were refined")
        )
    return rows
