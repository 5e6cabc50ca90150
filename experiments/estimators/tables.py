"""The tables of the study of estimators: for the report, the terminal and the run's folder."""

import numpy as np
import pyarrow as pa

from experiments import paper
from experiments.estimators.doses import BY_DOSE, Doses, collapse_doses, controllers
from experiments.estimators.hidden import Hidden
from experiments.estimators.results import Results
from experiments.estimators.settings import Settings
from experiments.inputs import fitted_curves
from experiments.inputs.estimates import LABELS
from experiments.reporting.tables import Column, Table, columns, written

ATTRIBUTIONS = {**LABELS, BY_DOSE: BY_DOSE}
"""What could have shown a hidden controller, for readers."""
MEASURES = {
    "pearson": ("Pearson r with NEG", ".4f"),
    "spearman": ("Spearman correlation with NEG", ".4f"),
    "mae": ("Mean |estimate − NEG|", ".1e"),
    "same_sign": ("Share of the neurons where estimate and NEG have the same sign", ".1%"),
    "top_overlap": ("Overlap of the tops", ".1%"),
}
"""How well an estimate predicts NEG: in words, and how it is written."""

AGREEMENT = (
    Column("estimate", lambda row: row[0]),
    Column("r", lambda row: row[1].pearson, ".4f"),
    Column("r within", lambda row: row[1].pearson_of_a_prompt, ".4f", "a prompt"),
    Column("Spearman", lambda row: row[1].spearman, ".4f"),
    Column("MAE", lambda row: row[1].mae, ".1e"),
    Column("same sign", lambda row: row[1].same_sign, ".1%"),
    Column("same sign", lambda row: row[1].same_sign_above_noise, ".1%", "above noise"),
    Column("top", lambda row: row[1].top_overlap, ".1%", "overlap"),
    Column("seconds", lambda row: row[2], under="a prompt"),
)
PAPER = (
    Column("estimate", lambda row: LABELS[row[0]]),
    Column("r, paper", lambda row: row[1].pearson.get(paper.BERT), under=paper.BERT),
    Column("MAE, paper", lambda row: row[1].mae.get(paper.BERT), under=paper.BERT),
    Column("r, paper", lambda row: row[1].pearson.get(paper.LLAMA), under=paper.LLAMA),
    Column("s a prompt", lambda row: row[1].seconds, under="paper"),
    Column("r", lambda row: row[2] and row[2].pearson, ".4f", "here"),
    Column("MAE", lambda row: row[2] and row[2].mae, ".1e", "here"),
    Column("s a prompt", lambda row: row[3], under="here"),
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
    Column("layer", lambda h: h.layer),
    Column("neuron", lambda h: h.neuron),
    Column("dose", lambda h: h.dose, "+g"),
    Column("shift", lambda h: h.shift, "+.3g"),
    Column("activation", lambda h: h.activation, "+.3g"),
    Column("ΔP", lambda h: h.change, "+.3g"),
    Column("KL", lambda h: h.kl, ".3g"),
    Column("rank by NeurGrad", lambda h: h.percentiles["neurgrad"], ".1%"),
    Column("highest rank", lambda h: _highest(h)),
    Column(
        "collapse dose", lambda h: "none" if h.collapse_dose is None else f"{h.collapse_dose:g}"
    ),
)


def agreement_tables(results: Results) -> list[Table]:
    """How well each form predicts NEG within the headline range, a table a convention."""
    measured = "as the curves were measured"
    mirrored = "from the same curves, mirrored where s(a) = −1, which turns the sign of NEG"
    return [
        Table(
            name=f"agreement_{convention}",
            title=f"NEG within ±{results.headline:g}, {convention} convention, "
            f"{measured if convention == results.measured else mirrored}",
            columns=AGREEMENT,
            rows=[
                (
                    form.written(convention),
                    of_form[form.name],
                    "" if form.per_unit else seconds(results, form.method),
                )
                for form in results.comparison.forms
            ],
        )
        for convention, of_form in results.at_headline.items()
    ]


def range_tables(results: Results, measure: str) -> list[Table]:
    """One of `MEASURES`, a form a row and a range a column, a table a convention."""
    words, form_of = MEASURES[measure]
    return [
        Table(
            name=f"{measure}_{convention}",
            title=f"{words}, by shift range, {convention} convention",
            columns=columns("estimate", *(("within", form_of, f"±{r:g}") for r in by_range)),
            rows=[
                [
                    form.written(convention),
                    *(getattr(of_form[form.name], measure) for of_form in by_range.values()),
                ]
                for form in results.comparison.forms
            ],
        )
        for convention, by_range in results.agreements.items()
    ]


def paper_table(results: Results) -> Table:
    """What the paper reports; ours under the signed convention, which is the paper's."""
    here = results.at_headline["signed"]
    return Table(
        title=f"As reported by the paper, and here (signed, ±{results.headline:g})",
        columns=PAPER,
        rows=[
            (method, there, here.get(method), seconds(results, method) if method in here else None)
            for method, there in paper.ESTIMATORS.items()
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
            for name in doses[0].shown
        ],
    )


def seconds(results: Results, method: str) -> str:
    """Of a prompt, all neurons; the ablation's come from one layer."""
    value = results.seconds[method]
    about = "≈" if method == "ablation" and value is not None else ""
    return f"{about}{written(value, '.3g')}"


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


def _highest(hidden: Hidden) -> str:
    """Of the other attributions, the one that ranks a hidden controller highest."""
    others = {name: at for name, at in hidden.percentiles.items() if name != "neurgrad"}
    best = max(others, key=lambda name: others[name])
    return f"{ATTRIBUTIONS[best]} {others[best]:.1%}"
