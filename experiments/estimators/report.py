"""What the study of estimators shows: tables, figures, and the numbers of its report's template."""

from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from experiments.estimators import figures, tables
from experiments.estimators.doses import controllers, deciles
from experiments.estimators.figures import Estimate
from experiments.estimators.hidden import DoseStatistics
from experiments.estimators.results import Results
from experiments.estimators.settings import Settings
from experiments.estimators.tables import ATTRIBUTIONS
from experiments.estimators.work import Plan
from experiments.inputs import facts_page
from experiments.inputs.estimates import CONVENTIONS, LABELS
from experiments.reporting import statistics
from experiments.reporting.figures import COLORS, Picture
from experiments.reporting.line_panels import Line, Panel, panels_figure
from experiments.reporting.tables import Table, counted, written
from experiments.reporting.templates import Contents
from experiments.running.study import Findings, Finished, Report
from negjax.estimators import ESTIMATORS
from negjax.execution.conventions import Convention
from negjax.storage import store
from negjax.storage.store import RunFolder

CORRECTION = (
    "NeurGrad's correction is the signed convention: NeurGrad is CG times s(a), the sign of the "
    "activation, and the slope at 0 of ΔP under shifts x·s(a) is exactly that; under shifts x it "
    "is CG. Which of the two is right is a choice of what a shift means, not a property of the "
    "network."
)
LAYERS = 5
"""Layers named of those with hidden controllers."""


def findings(plan: Plan, folder: RunFolder, results: Results, finished: Finished) -> Findings:
    """Returns tables and summary of the run, and its report."""
    inputs, settings, curves = plan.inputs, plan.settings, results.curves
    written_tables = {
        store.PROMPTS: facts_page.prompt_table(
            inputs, curves.prompts, curves.probability, curves.noise
        ),
        store.NEURONS: tables.neuron_table(results),
    }
    if results.doses:
        dosed = [tables.dose_table(swept, settings) for swept in results.doses]
        written_tables[store.DOSES] = pa.concat_tables(dosed)
    about = facts_page.about_run(inputs, folder, finished.complete)
    return Findings(
        tables=written_tables,
        summary=about | summary(results, settings),
        report=lambda summary: make_report(plan, results, summary),
    )


def summary(results: Results, settings: Settings) -> dict[str, Any]:
    """Returns the part of summary.json that is this study's own."""
    return {
        "neurons_measured": len(results.curves.neurons["layer"]),
        "prompts_measured": len(results.curves.prompts),
        "methods": settings.methods,
        "seconds_a_prompt": results.seconds,
        "top": settings.top,
        "agreement": {
            convention: [
                {"radius": radius, "estimates": of_form} for radius, of_form in by_range.items()
            ]
            for convention, by_range in results.agreements.items()
        },
        "linear_range": results.ranges.check,
        "slope_ratio": {f"{radius:g}": shares for radius, shares in results.ratios.items()},
        "thirds": results.thirds,
        "thresholds": settings.thresholds,
        "dosed": {
            "prompts": [swept.prompt for swept in results.doses],
            "layers": results.dosed_layers,
            "neurons_without_a_write": results.silent,
            "doses": results.by_dose,
            "hidden": results.hidden,
        },
    }


def make_report(plan: Plan, results: Results, summary: Mapping[str, Any]) -> Report:
    """Returns what is shown of the results."""
    inputs, settings, curves = plan.inputs, plan.settings, results.curves
    fits, count = curves.fits["response"][results.headline], len(curves.neurons["layer"])
    within_noise = statistics.share(fits.largest_change < curves.neurons["bound"])
    noise_note = f"{written(within_noise, '.1%')} of the neurons stay within the rounding noise."
    verdicts = [verdict(s) for s in results.by_dose]
    first, *others = results.headline, *(r for r in curves.ranges if r != results.headline)
    shown = {
        "agreement": tables.agreement_table(results, [first]),
        "paper": tables.paper_table(results),
        "check": tables.check_table(results),
        "doses": Table(columns=tables.DOSE, rows=results.by_dose),
        "ranks": tables.rank_table(results),
    }
    r = {
        convention: {
            form.name: results.comparison.interval(convention, first, form.name)
            for form in results.comparison.forms
        }
        for convention in CONVENTIONS
    }
    best = max(results.comparison.forms, key=lambda form: r["signed"][form.name].value or -1)
    values = facts_page.values(inputs, summary) | {
        "results": results,
        "settings": settings,
        "count": counted(count, "neuron"),
        "methods": counted(len(settings.methods), "estimator"),
        "r": r,
        "named": "; ".join(
            f"{LABELS[name]}: {title}"
            for name in settings.methods
            if (title := ESTIMATORS[name].title) != LABELS[name]
        ),
        "best": best.written("signed"),
        "best_r": r["signed"][best.name],
        "widest": curves.ranges[-1],
        "cg": "cg" in settings.methods,
        "correction": CORRECTION,
        "top_note": _top_note(results),
        "noise_note": noise_note,
        "mean_size": results.at_headline[results.measured]["neurgrad"].mean_size,
        "kinds": results.ratios[curves.ranges[-1]],
        "dosed": bool(results.doses),
        "dosed_neurons": sum(swept.layer.size for swept in results.doses),
        "large_share": 1 - settings.large_quantile,
        "verdicts": verdicts,
        "prompts": [
            f"Prompt {swept.prompt}: “{inputs.probes.prompts[swept.prompt]}” → "
            f"“{inputs.probes.targets[swept.prompt][0]}”."
            for swept in results.doses
        ],
        "half_relp": summary["site"] == "up" and "relp" in settings.methods,
        "silent": counted(results.silent, "neuron") if results.silent else "",
    }
    return Report(
        contents=Contents(
            values=values,
            tables={
                **shown,
                "ranges": tables.agreement_table(results, others) if others else None,
                "thirds": tables.thirds_table(results),
                "hidden": Table(columns=tables.HIDDEN, rows=[*chain.from_iterable(results.hidden)]),
            },
            figures=_figures(results, settings, inputs.lm.config.layers),
        ),
        headline=facts_page.headline(
            inputs, summary, counted(len(curves.prompts), "prompt"), counted(count, "neuron")
        ),
        printed=shown["agreement"],
        measured=[*facts_page.measured(inputs, summary), *_measured(results, settings)],
    )


def _figures(
    results: Results, settings: Settings, layers: int
) -> dict[str, Callable[[], Picture] | None]:
    convention, ranges, comparison = results.measured, results.ranges, results.comparison
    of_form = results.at_headline[convention]
    panels = [
        Estimate(
            label=form.written(convention),
            values=comparison.values[convention][form.name],
            heading=f"r = {written(of_form[form.name].pearson, '.3f')}\n"
            f"Spearman {written(of_form[form.name].spearman, '.3f')}",
            slope_units=form.slope,
        )
        for form in comparison.forms
    ]
    return {
        "estimates": lambda: figures.estimates_figure(
            comparison.slopes[convention][results.headline], panels
        ),
        "agreement": lambda: _agreement_figure(results),
        "ranges": lambda: figures.ranges_figure(
            ranges.predicted, ranges.measured, ranges.checked, ranges.radius, results.ratios
        ),
        "tangents": lambda: figures.tangents_figure(results.worst),
        "doses": (lambda: _draw_doses(results, settings, layers)) if results.doses else None,
    }


def _agreement_figure(results: Results) -> Picture:
    """Correlation with NEG by shift range, a column a convention."""

    def panel(measure: str, name: str, convention: Convention) -> Panel:
        by_range = results.agreements[convention]
        lines = [
            Line(
                label=form.written("additive"),
                color=COLORS[form.method],
                dashed=not (form.slope or form.per_unit),
                points=[
                    (radius, getattr(of_form[form.name], measure))
                    for radius, of_form in by_range.items()
                ],
                intervals=[
                    results.comparison.interval(convention, radius, form.name)
                    for radius in by_range
                    if measure == "pearson"
                ],
            )
            for form in results.comparison.forms
        ]
        return Panel(title=f"{name} with NEG, {convention}", lines=lines, kind="r")

    measures = {"pearson": "Pearson r", "spearman": "Spearman correlation"}
    return panels_figure(
        [
            [panel(*measure, convention) for convention in CONVENTIONS]
            for measure in measures.items()
        ],
        across="largest shift",
        ticks={radius: f"±{radius:g}" for radius in results.curves.ranges},
    )


def _draw_doses(results: Results, settings: Settings, layers: int) -> Picture:
    shares = [
        np.mean(
            [
                deciles(swept, controllers(swept, dose, settings.thresholds).large_effect)
                for swept in results.doses
            ],
            axis=0,
        )
        for dose in settings.doses
    ]
    return figures.doses_figure(results.by_dose, shares, layers, ATTRIBUTIONS)


def _top_note(results: Results) -> str:
    """What the overlap of the tops would be by chance."""
    top, curves = results.comparison.top, results.curves
    each = len(curves.neurons["layer"]) // max(1, len(curves.prompts))
    if each <= top:
        return f"A prompt has {each} neurons: no top {top} to compare (--neurons, --top)."
    return f"Top overlap: of the {top} largest of {each} neurons; by chance {top / each:.1%}."


def verdict(dose: DoseStatistics) -> str:
    """Says which attribution ranks most of a dose's hidden controllers in its top tenth, or comes
    closest to it, and the layers where they are."""
    known = {n: ranks.top_tenth for n, ranks in dose.shown.items() if ranks.top_tenth is not None}
    if not known:
        return f"Dose ±{dose.dose:g}: no hidden controllers."
    best = max(known, key=lambda name: known[name])
    median = written(dose.shown[best].median, ".1%")
    said = (
        f"{ATTRIBUTIONS[best]} ranks most of the {dose.hidden:,} in its top tenth"
        if known[best] > 0.5
        else f"no attribution ranks most of the {dose.hidden:,} in its top tenth; "
        f"{ATTRIBUTIONS[best]} comes closest"
    )
    fullest = sorted(dose.layers.items(), key=lambda item: (-item[1], item[0]))[:LAYERS]
    layers = ", ".join(f"{layer} ({count:,})" for layer, count in fullest)
    others = len(dose.layers) - len(fullest)
    rest = f"; the rest in {others} more." if others else "."
    return (
        f"Dose ±{dose.dose:g}: {said} ({known[best]:.1%}; median rank {median}). "
        f"By layer: {layers}{rest}"
    )


def _measured(results: Results, settings: Settings) -> list[tuple[str, str]]:
    doses = ", ".join(f"±{dose:g}" for dose in settings.doses)
    prompts = counted(len(results.doses), "prompt")
    layers = f"{prompts}, {counted(results.dosed_layers, 'layer')} in all"
    return [
        *((ATTRIBUTIONS[name], ESTIMATORS[name].citation) for name in settings.methods),
        ("IG steps", str(settings.ig_steps)),
        ("Doses", f"{doses}; {layers}"),
    ]
