"""The tables of the study of estimators: for the report, the terminal and the run's folder."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from experiments import paper
from experiments.estimators.doses import BY_DOSE, Doses, collapse_doses, controllers
from experiments.estimators.hidden import Hidden
from experiments.estimators.results import Results
from experiments.estimators.settings import Settings
from experiments.inputs import fitted_curves
from experiments.inputs.estimates import CONVENTIONS, LABELS
from experiments.reporting.tables import Column, Table, columns
from negjax.execution.conventions import Convention

ATTRIBUTIONS = {**LABELS, BY_DOSE: BY_DOSE}
"""What could have shown a hidden controller, for readers."""


def by_convention(head: str, measure: str, form: str, under: str = "") -> list[Column]:
    """A measure of agreement under either convention, side by side."""

    def of(convention: Convention) -> Callable[[Any], object]:
        return lambda row: getattr(row[convention], measure)

    return [Column(head, of(name), form, f"{under} {name}".strip()) for name in CONVENTIONS]


AGREEMENT = (
    Column("within", lambda row: f"±{row['radius']:g}"),
    Column("estimate", lambda row: row["form"].written("additive")),
    *by_convention("r", "pearson", ".4f"),
    *by_convention("r in a", "pearson_of_a_prompt", ".4f", "prompt"),
    *by_convention("Spearman", "spearman", ".4f"),
    *by_convention("MAE", "mae", ".1e"),
    *by_convention("same sign", "same_sign", ".1%"),
    *by_convention("same sign", "same_sign_above_noise", ".1%", "above noise"),
    # Of sizes, which are the same under both.
    Column("top", lambda row: row["signed"].top_overlap, ".1%", "overlap"),
)
PAPER = (
    Column("estimate", lambda row: LABELS[row["method"]]),
    Column("r, paper", lambda row: row["there"].pearson.get(paper.BERT), under=paper.BERT),
    Column("r, paper", lambda row: row["there"].pearson.get(paper.LLAMA), under=paper.LLAMA),
    Column("r", lambda row: row["here"] and row["here"].pearson, ".4f", "here"),
    Column("MAE, paper", lambda row: row["there"].mae.get(paper.BERT), under=paper.BERT),
    Column("MAE", lambda row: row["here"] and row["here"].mae, ".1e", "here"),
    Column("seconds", lambda row: row["there"].seconds, under="paper"),
    Column("seconds", lambda row: row["seconds"], ".3g", "here"),
)
CHECK = (
    Column("range holds", lambda check: check.holds, ".1%"),
    Column("at twice", lambda check: check.holds_at_twice, ".1%", "the tolerance"),
    Column("within", lambda check: check.within_factor_2, ".1%", "factor 2"),
    Column("measured/predicted", lambda check: (check.ratio or {}).get("0.05"), ".2f", "5%"),
    Column("", lambda check: (check.ratio or {}).get("0.5"), ".2f", "median"),
    Column("", lambda check: (check.ratio or {}).get("0.95"), ".2f", "95%"),
    Column("Spearman", lambda check: check.spearman, ".3f"),
)
DOSE = (
    Column("dose", lambda s: f"±{s.dose:g}"),
    Column("other token", lambda s: s.flipped, ".1%", "on top"),
    Column("collapsed", lambda s: s.collapsed, ".1%"),
    Column("median", lambda s: (s.kl or {}).get("0.5"), ".2g", "KL"),
    Column("large", lambda s: s.large_effect, ",", "|ΔP|"),
    Column("large", lambda s: s.large_divergence, ",", "KL"),
    Column("both", lambda s: s.large_both, ","),
    Column("hidden", lambda s: s.hidden_effect, ",", "by |ΔP|"),
    Column("hidden", lambda s: s.hidden_divergence, ",", "by KL"),
    Column("hidden", lambda s: s.hidden, ",", "by both"),
    Column("by", lambda s: s.by_chance, ",.1f", "chance"),
    Column("small", lambda s: s.hidden_on_the_line, ",", "× dose too"),
    Column("of them", lambda s: s.hidden_collapsed, ",", "collapsed"),
)
HIDDEN = (
    Column("prompt", lambda h: h.prompt),
    Column("layer", lambda h: h.layer),
    Column("neuron", lambda h: h.neuron),
    Column("dose", lambda h: h.dose, "+g"),
    Column("shift", lambda h: h.shift, "+.3g"),
    Column("activation", lambda h: h.activation, "+.3g"),
    Column("ΔP", lambda h: h.change, "+.3g"),
    Column("KL", lambda h: h.kl, ".3g"),
    Column("rank by NeurGrad", lambda h: h.percentiles["neurgrad"], ".1%"),
    Column("highest rank", lambda h: _highest(h)[1], ".1%"),
    Column("by", lambda h: ATTRIBUTIONS[_highest(h)[0]]),
    Column("collapse dose", lambda h: h.collapse_dose, "g"),
)


def agreement_table(results: Results, radii: Sequence[float]) -> Table:
    """How well each form predicts NEG within some ranges."""
    return Table(
        title=f"Agreement with NEG within ±{radii[0]:g}, under either convention",
        columns=AGREEMENT if len(radii) > 1 else AGREEMENT[1:],
        rows=[
            {"radius": radius, "form": form}
            | {c: results.agreements[c][radius][form.name] for c in CONVENTIONS}
            for radius in radii
            for form in results.comparison.forms
        ],
    )


def paper_table(results: Results) -> Table:
    """What the paper reports; ours under the signed convention, which is the paper's."""
    here = results.at_headline["signed"]
    return Table(
        title=f"As reported by the paper, and here (signed, ±{results.headline:g})",
        columns=PAPER,
        rows=[
            {
                "method": method,
                "there": paper.ESTIMATORS.get(method, paper.NOT_REPORTED),
                "here": here.get(method),
                "seconds": results.seconds.get(method),
            }
            for method in {**paper.ESTIMATORS, **results.seconds}
        ],
    )


def thirds_table(results: Results) -> Table:
    """Pearson and Spearman correlation in each third by predicted range, a form a row."""
    return Table(
        columns=columns(
            "estimate",
            *(("r,", ".4f", name) for name in results.thirds),
            *(("Spearman,", ".4f", name) for name in results.thirds),
        ),
        rows=[
            [
                form.written(results.measured),
                *(of_form[form.name].pearson for of_form in results.thirds.values()),
                *(of_form[form.name].spearman for of_form in results.thirds.values()),
            ]
            for form in results.comparison.forms
        ],
    )


def check_table(results: Results) -> Table:
    """How far the predicted linear ranges hold."""
    check, radius = results.ranges.check, results.ranges.radius
    return Table(
        title=f"Linear range predicted from first and second derivative, tolerance "
        f"{check.tolerance:g}: {check.checked:,} of {check.neurons:,} neurons checked "
        f"({check.beyond:,} predicted beyond ±{radius:g}, {check.beyond_and_straight:,} of them "
        f"straight; {check.too_small:,} below the noise)",
        columns=CHECK,
        rows=[check],
    )


def rank_table(results: Results) -> Table:
    """An attribution a row: median rank of the hidden controllers, share in the top tenth."""
    doses = results.by_dose
    return Table(
        title="Where attributions rank the hidden controllers",
        columns=columns(
            "attribution",
            *((f"±{s.dose:g},", ".1%", of) for s in doses for of in ("median", "in top 10%")),
        ),
        rows=[
            [
                ATTRIBUTIONS[name],
                *(v for s in doses for v in (s.shown[name].median, s.shown[name].top_tenth)),
            ]
            for name in (doses[0].shown if doses else ())
        ],
    )


def neuron_table(results: Results) -> pa.Table:
    """One row a prompt and sampled neuron; NEG and r under the convention of the sweep."""
    table = fitted_curves.neuron_table(results.curves)
    values = results.comparison.values[results.measured]
    plain = [form.method for form in results.comparison.forms if not form.per_unit]
    estimates = {method: values[method] for method in plain}
    if "ablation" in estimates:
        estimates["ablation"] = -estimates["ablation"]
    # CG and NeurGrad stand there already, from the same derivative taken forward.
    added = {f"estimate_{name}": value for name, value in estimates.items()} | {
        "predicted_range": results.ranges.predicted,
        "measured_range": results.ranges.measured,
        "range_checked": results.ranges.checked,
    }
    for name, value in added.items():
        table = table.append_column(name, pa.array(value))
    return table


def dose_table(swept: Doses, settings: Settings) -> pa.Table:
    """One row a dosed neuron of a prompt."""
    table: dict[str, np.ndarray] = {
        "prompt": np.full(swept.layer.size, swept.prompt),
        "layer": swept.layer,
        "neuron": swept.neuron,
        "activation": swept.activation,
        "dose_unit": swept.unit,
    }
    table |= {f"estimate_{name}": value for name, value in swept.estimates.items()}
    for name in ("change", "kl", "entropy", "top_token"):
        values = getattr(swept, name)
        table |= {f"{name}_{dose:+g}": values[:, x] for x, dose in enumerate(swept.doses)}
    collapse = collapse_doses(swept, settings.flat_entropy)
    table |= {"collapse_dose_down": collapse[:, 0], "collapse_dose_up": collapse[:, 1]}
    for dose in settings.doses:
        table[f"hidden_{dose:g}"] = controllers(swept, dose, settings.thresholds).hidden
    return pa.table(table)


def _highest(hidden: Hidden) -> tuple[str, float]:
    """Of the other attributions, the one that ranks a hidden controller highest, and its rank."""
    others = [item for item in hidden.percentiles.items() if item[0] != "neurgrad"]
    return max(others, key=lambda item: item[1])
