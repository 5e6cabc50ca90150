"""How the study of estimators is shown: the printed tables, summary.json, tables and figures."""

import dataclasses
from typing import Any

import numpy as np
import pyarrow as pa

from experiments import paper
from experiments.estimators import figures as estimator_figures
from experiments.estimators import report as estimators_report
from experiments.estimators import tables as estimators_tables
from experiments.estimators.doses import Doses, collapse_doses, controllers, deciles
from experiments.estimators.figures import Dosed, Line, Panel
from experiments.estimators.results import CONVENTIONS
from experiments.estimators.study import Found
from experiments.inputs import facts, facts_page
from experiments.linearity import results as linearity_results
from experiments.reporting.page_parts import aligned, asked_in_short, number, percent
from experiments.reporting.report import Drawing, drawings
from experiments.running import documents
from negjax.execution.conventions import Convention
from negjax.storage import store
from negjax.storage.store import RunFolder


def write(inputs: facts.Inputs, folder: RunFolder, found: Found, complete: bool) -> None:
    """Writes tables, summary, pictures and report into the run's folder."""
    sampled = found.results.curves
    probability, noise = (np.full(len(inputs.probes), np.nan) for _ in range(2))
    probability[sampled.prompts], noise[sampled.prompts] = sampled.probability, sampled.noise
    tables = {
        store.PROMPTS: facts_page.prompt_table(inputs, probability, noise),
        store.NEURONS: neuron_table(found),
    }
    if found.doses:
        tables[store.DOSES] = pa.concat_tables([dose_table(doses, found) for doses in found.doses])
    summary = facts_page.about_run(inputs, folder, complete) | numbers(found)
    documents.write(
        folder,
        tables,
        summary,
        lambda: estimators_report.document(
            inputs, found, summary, draw(found, inputs.lm.config.layers)
        ),
    )


def numbers(found: Found) -> dict[str, Any]:
    """The part of summary.json that is this study's own."""
    results = found.results
    paper_head = estimators_tables.joined(estimators_tables.PAPER_HEAD)[1:]
    return {
        "neurons_measured": len(results.curves.neurons["layer"]),
        "prompts_measured": len(results.curves.prompts),
        "methods": list(found.asked.methods),
        "seconds_a_prompt": found.seconds,
        "top": results.top,
        "agreement": {
            convention: [
                {
                    "radius": radius,
                    "estimates": {name: dataclasses.asdict(told) for name, told in by_form.items()},
                }
                for radius, by_form in by_range.items()
            ]
            for convention, by_range in results.told.items()
        },
        "paper": {
            name: dict(zip(paper_head, row[1:], strict=True))
            for name, row in zip(paper.ESTIMATORS, estimators_tables.paper_rows(found), strict=True)
        },
        "linear_range": dataclasses.asdict(found.ranges.check),
        "slope_ratio": {f"{radius:g}": shares for radius, shares in found.ratios.items()},
        "thirds": {
            name: {form: dataclasses.asdict(told) for form, told in by_form.items()}
            for name, by_form in found.thirds.items()
        },
        "thresholds": dataclasses.asdict(found.thresholds),
        "dosed": {
            "prompts": [doses.prompt for doses in found.doses],
            "layers": found.dosed_layers,
            "neurons_without_a_write": found.silent,
            "doses": [dataclasses.asdict(s) for s in found.statistics],
            "hidden": [[dataclasses.asdict(h) for h in entries] for entries in found.hidden],
        },
    }


def neuron_table(found: Found) -> pa.Table:
    """One row a prompt and sampled neuron; NEG and r under the convention of the sweep."""
    table = linearity_results.neuron_table(found.results.curves)
    plain = {form.method: form for form in found.results.forms if not form.per_unit}
    values = found.results.values[found.measured]
    columns = {method: values[form.name] for method, form in plain.items()}
    if "ablation" in columns:
        columns["ablation"] = -columns["ablation"]
    # CG and NeurGrad stand there already, from the same derivative taken forward.
    columns = {f"estimate_{name}": value for name, value in columns.items()} | {
        "predicted_range": found.ranges.predicted,
        "measured_range": found.ranges.measured,
        "range_checked": found.ranges.checked,
    }
    for name, value in columns.items():
        table = table.append_column(name, pa.array(value))
    return table


def dose_table(doses: Doses, found: Found) -> pa.Table:
    """One row a dosed neuron of a prompt."""
    columns: dict[str, np.ndarray] = {
        "prompt": np.full(doses.layer.size, doses.prompt),
        "layer": doses.layer,
        "neuron": doses.neuron,
        "activation": doses.activation,
        "dose_unit": doses.unit,
    }
    columns |= {f"estimate_{name}": value for name, value in doses.estimates.items()}
    for name in ("change", "kl", "entropy", "top_token"):
        values = getattr(doses, name)
        columns |= {f"{name}_{dose:+g}": values[:, x] for x, dose in enumerate(doses.doses)}
    collapse = collapse_doses(doses, found.thresholds.flat)
    columns |= {"collapse_dose_down": collapse[:, 0], "collapse_dose_up": collapse[:, 1]}
    for dose in found.asked.doses:
        chosen = controllers(doses, float(dose), found.thresholds)
        columns[f"hidden_{dose:g}"] = chosen.hidden
    return pa.table(columns)


def draw(found: Found, layers: int) -> dict[str, Drawing]:
    """The figures, by name of file."""
    results, convention = found.results, found.measured
    told = results.told[convention][results.headline]
    panels = [
        Panel(
            form.written(convention),
            results.values[convention][form.name],
            f"r = {number(told[form.name].pearson, '.3f')}, "
            f"Spearman {number(told[form.name].spearman, '.3f')}",
            form.slope,
        )
        for form in results.forms
    ]
    lines: dict[str, list[Line]] = {
        convention: _lines(found, convention) for convention in CONVENTIONS
    }
    return drawings(
        {
            "estimates": lambda: estimator_figures.estimates_figure(
                results.slopes[convention][results.headline], panels
            ),
            "agreement": lambda: estimator_figures.agreement_figure(results.ranges, lines),
            "ranges": lambda: estimator_figures.ranges_figure(
                found.ranges.predicted,
                found.ranges.measured,
                found.ranges.checked,
                found.ranges.radius,
                found.ratios,
            ),
            "tangents": lambda: estimator_figures.tangents_figure(found.worst),
            "doses": lambda: estimator_figures.doses_figure(_dosed(found), layers),
        }
    )


def _lines(found: Found, convention: Convention) -> list[Line]:
    results = found.results
    told = [results.told[convention][radius] for radius in results.ranges]
    return [
        Line(
            form.written("signed").replace("|a|", "|a| or a") if form.per_unit else form.label,
            found.asked.methods.index(form.method),
            not (form.slope or form.per_unit),
            [by_form[form.name].pearson for by_form in told],
            [by_form[form.name].spearman for by_form in told],
        )
        for form in results.forms
    ]


def _dosed(found: Found) -> list[Dosed]:
    drawn = []
    for statistics in found.statistics:
        shares = [
            deciles(doses, controllers(doses, statistics.dose, found.thresholds).large_effect)
            for doses in found.doses
        ]
        drawn.append(
            Dosed(
                statistics.dose,
                statistics.collapsed,
                statistics.flipped,
                np.mean(shares, axis=0),
                statistics.layers,
                {
                    estimators_tables.LABELS[name]: shown.median
                    for name, shown in statistics.shown.items()
                },
            )
        )
    return drawn


def printed(inputs: facts.Inputs, folder: RunFolder, found: Found) -> str:
    """The tables for the terminal, and where the report lies."""
    results, t = found.results, estimators_tables
    count, prompts = len(results.curves.neurons["layer"]), len(results.curves.prompts)
    lines = [
        f"{inputs.lm.name}: {prompts} prompts, {count:,} neurons (site {inputs.site}); "
        f"{t.noise_note(found)}"
    ]
    for convention in CONVENTIONS:
        how = "measured" if convention == found.measured else "the same curves, mirrored"
        rows = t.agreement_rows(found, convention, results.headline)
        lines += [
            "",
            f"NEG within ±{results.headline:g}, {convention} convention ({how}):",
            *aligned(t.AGREEMENT_HEAD, rows),
        ]
    ranges = [("", "estimate"), *(("within", f"±{radius:g}") for radius in results.ranges)]
    lines += [
        "",
        *(text for text in (t.CORRECTION, t.not_slopes(found), t.top_note(found)) if text),
    ]
    for convention in CONVENTIONS:
        lines += [
            "",
            f"Pearson r with NEG by shift range, {convention}:",
            *aligned(ranges, t.range_rows(found, convention, "pearson")),
        ]
    lines += [
        "",
        f"As reported by the paper, and here (signed, ±{results.headline:g}):",
        *aligned(t.PAPER_HEAD, t.paper_rows(found)),
        "",
        *_printed_ranges(found),
        "",
        *_printed_doses(inputs, found),
    ]
    return "\n".join([*lines, "", f"report: {folder.path / store.REPORT}"])


def _printed_ranges(found: Found) -> list[str]:
    check = found.ranges.check
    return [
        f"Linear range foretold from first and second derivative, tolerance {check.tolerance:g}: "
        f"{check.checked:,} of {check.neurons:,} neurons checked ({check.beyond:,} foretold beyond "
        f"±{found.ranges.radius:g}, {check.beyond_and_straight:,} of them straight; "
        f"{check.too_small:,} below the noise)",
        *aligned(estimators_tables.CHECK_HEAD, [estimators_tables.check_row(found)]),
    ]


def _printed_doses(inputs: facts.Inputs, found: Found) -> list[str]:
    if not found.doses:
        return ["No layer was dosed yet."]
    lines = []
    for doses, entries in zip(found.doses, found.hidden, strict=True):
        prompt, target = inputs.probes.prompts[doses.prompt], inputs.probes.targets[doses.prompt][0]
        lines.append(f"Dosed: {asked_in_short(prompt, target)}, {doses.layer.size:,} neurons")
        lines += [
            f"  layer {h.layer} neuron {h.neuron}: dose {h.dose:+g} moves P by {h.change:+.3g}, "
            f"KL {h.kl:.2g}; NeurGrad ranks at {percent(h.percentiles['neurgrad'])}"
            for h in entries[:3]
        ]
    statistics = found.statistics
    doses_head = [("rank: median,", "top tenth at")] + [
        (f"±{s.dose:g}", part) for s in statistics for part in ("median", "top 10%")
    ]
    return [
        *lines,
        *aligned(estimators_tables.DOSE_HEAD, estimators_tables.dose_rows(statistics)),
        "",
        "Where attributions rank the hidden controllers:",
        *aligned(doses_head, estimators_tables.shown_rows(statistics)),
        *(estimators_tables.verdict(s) for s in statistics),
    ]
