"""The tables of the study of estimators, as text: for the terminal and for the report."""

from collections.abc import Sequence

from experiments import paper
from experiments.estimators.doses import BY_DOSE
from experiments.estimators.hidden import DoseStatistics, Hidden
from experiments.estimators.results import Form, Told
from experiments.estimators.study import THIRDS, Found
from experiments.reporting import statistics
from experiments.reporting.page_parts import number, percent
from negjax.estimators import METHODS
from negjax.execution.conventions import Convention

Rows = list[list[str]]

CORRECTION = (
    "NeurGrad's correction is the signed convention: NeurGrad is CG times s(a), the sign of the "
    "activation, and the slope at 0 of ΔP under shifts x·s(a) is exactly that; under shifts x it "
    "is CG. Which of the two is right is a choice of what a shift means, not a property of the "
    "network."
)
LABELS = {
    "cg": "CG",
    "neurgrad": "NeurGrad",
    "ig": "IG",
    "lpi": "LPI",
    "relp": "RelP",
    "cgxa": "CG × a",
    "ablation": "ablation",
    BY_DOSE: BY_DOSE,
}
"""Attributions, by name."""

AGREEMENT_HEAD = (
    ("estimate", ""),
    ("r", ""),
    ("r within", "a prompt"),
    ("Spearman", ""),
    ("MAE", ""),
    ("same sign", ""),
    ("same sign", "above noise"),
    ("top", "overlap"),
    ("seconds", "a prompt"),
)
PAPER_HEAD = (
    ("estimate", ""),
    ("r, paper", paper.BERT),
    ("MAE, paper", paper.BERT),
    ("r, paper", paper.LLAMA),
    ("s a prompt", "paper"),
    ("r", "here"),
    ("MAE", "here"),
    ("s a prompt", "here"),
)
MEASURES = {
    "pearson": ("Pearson r with NEG", ".4f"),
    "spearman": ("Spearman correlation with NEG", ".4f"),
    "mae": ("Mean |estimate − NEG|", ".1e"),
    "same_sign": ("Share of the neurons where estimate and NEG have the same sign", ".1%"),
    "top_overlap": ("Overlap of the tops", ".1%"),
}
"""How well an estimate tells NEG: in words, and how it is written."""
LAYERS = 5
"""Layers named of those with hidden controllers."""
CHECK_HEAD = (
    ("range holds", ""),
    ("at twice", "the tolerance"),
    ("within", "factor 2"),
    ("measured/predicted", "5%"),
    ("", "median"),
    ("", "95%"),
    ("Spearman", ""),
)
DOSE_HEAD = (
    ("dose", ""),
    ("other token", "on top"),
    ("collapsed", ""),
    ("median", "KL"),
    ("large", "|ΔP|"),
    ("large", "KL"),
    ("both", ""),
    ("hidden", "by |ΔP|"),
    ("hidden", "by KL"),
    ("hidden", "by both"),
    ("by", "chance"),
    ("small", "× dose too"),
    ("of them", "collapsed"),
)


def joined(head: Sequence[Sequence[str]]) -> list[str]:
    """Headings in one line each."""
    return [" ".join(lines).strip() for lines in head]


def seconds(found: Found, method: str) -> str:
    """Of a prompt, all neurons; the ablation's is told from one layer."""
    value = found.seconds[method]
    return ("≈" if method == "ablation" and value is not None else "") + number(value, ".3g")


def agreement_rows(found: Found, convention: Convention, radius: float) -> Rows:
    """Under `AGREEMENT_HEAD`: how well each form tells NEG within a range."""
    told = found.results.told[convention][radius]
    return [
        [form.written(convention), *_cells(told[form.name]), _own_seconds(found, form)]
        for form in found.results.forms
    ]


def _own_seconds(found: Found, form: Form) -> str:
    return "" if form.per_unit else seconds(found, form.method)


def _cells(told: Told) -> list[str]:
    return [
        number(told.pearson, ".4f"),
        number(told.pearson_of_a_prompt, ".4f"),
        number(told.spearman, ".4f"),
        number(told.mae, ".1e"),
        percent(told.same_sign),
        percent(told.same_sign_above_noise),
        percent(told.top_overlap),
    ]


def range_rows(found: Found, convention: Convention, measure: str) -> Rows:
    """A form a row, a range a column: one of `MEASURES`."""
    told, form_of = found.results.told[convention], MEASURES[measure][1]
    return [
        [
            form.written(convention),
            *(
                number(getattr(told[radius][form.name], measure), form_of)
                for radius in found.results.ranges
            ),
        ]
        for form in found.results.forms
    ]


def paper_rows(found: Found) -> Rows:
    """Under `PAPER_HEAD`; ours under the signed convention, which is the paper's."""
    told = found.results.told["signed"][found.results.headline]
    rows = []
    for method, reported in paper.ESTIMATORS.items():
        own = told.get(method)
        here = ["—"] * 3
        if own is not None:
            here = [number(own.pearson, ".4f"), number(own.mae, ".1e"), seconds(found, method)]
        there = [
            reported.pearson.get(paper.BERT, "—"),
            reported.mae.get(paper.BERT, "—"),
            reported.pearson.get(paper.LLAMA, "—"),
            reported.seconds,
        ]
        rows.append([LABELS[method], *there, *here])
    return rows


def third_rows(found: Found) -> Rows:
    """A form a row: Pearson and Spearman correlation in each third by predicted range."""
    return [
        [
            form.written(found.measured),
            *(number(found.thirds[name][form.name].pearson, ".4f") for name in THIRDS),
            *(number(found.thirds[name][form.name].spearman, ".4f") for name in THIRDS),
        ]
        for form in found.results.forms
    ]


def check_row(found: Found) -> list[str]:
    """Under `CHECK_HEAD`."""
    check = found.ranges.check
    ratio = check.ratio or {}
    return [
        percent(check.holds),
        percent(check.holds_at_twice),
        percent(check.within_factor_2),
        *(number(ratio.get(q), ".2f") for q in ("0.05", "0.5", "0.95")),
        number(check.spearman, ".3f"),
    ]


def dose_rows(statistics: Sequence[DoseStatistics]) -> Rows:
    """Under `DOSE_HEAD`."""
    return [
        [
            f"±{s.dose:g}",
            percent(s.flipped),
            percent(s.collapsed),
            number((s.kl or {}).get("0.5"), ".2g"),
            f"{s.large_effect:,}",
            f"{s.large_divergence:,}",
            f"{s.large_both:,}",
            f"{s.hidden_effect:,}",
            f"{s.hidden_divergence:,}",
            f"{s.hidden:,}",
            f"{s.by_chance:,.1f}",
            f"{s.hidden_on_the_line:,}",
            f"{s.hidden_collapsed:,}",
        ]
        for s in statistics
    ]


def shown_rows(statistics: Sequence[DoseStatistics]) -> Rows:
    """An attribution a row: for each dose the median rank of the hidden controllers and the share
    of them in the top tenth."""
    rows = []
    for name in statistics[0].shown if statistics else ():
        cells = []
        for found in statistics:
            shown = found.shown[name]
            cells += [percent(shown.median), percent(shown.top_tenth)]
        rows.append([LABELS[name], *cells])
    return rows


def hidden_rows(entries: Sequence[Hidden]) -> Rows:
    """A hidden controller a row."""
    rows = []
    for entry in entries:
        others = {name: at for name, at in entry.percentiles.items() if name != "neurgrad"}
        best = max(others, key=lambda name: others[name])
        rows.append(
            [
                str(entry.layer),
                str(entry.neuron),
                f"{entry.dose:+g}",
                f"{entry.shift:+.3g}",
                f"{entry.activation:+.3g}",
                f"{entry.change:+.3g}",
                f"{entry.kl:.3g}",
                percent(entry.percentiles["neurgrad"]),
                f"{LABELS[best]} {others[best]:.1%}",
                "none" if entry.collapse_dose is None else f"{entry.collapse_dose:g}",
            ]
        )
    return rows


HIDDEN_HEAD = [
    "layer",
    "neuron",
    "dose",
    "shift",
    "activation",
    "ΔP",
    "KL",
    "rank by NeurGrad",
    "highest rank",
    "collapse dose",
]


def not_slopes(found: Found) -> str:
    """Which estimates have no error in NEG's units, and why."""
    raw = [form for form in found.results.forms if not form.slope and not form.per_unit]
    names = ", ".join(form.label for form in raw if form.method != "lpi")
    units = sorted({METHODS[form.method].unit for form in raw if form.method != "lpi"})
    parts = []
    if names:
        parts.append(
            f"{names} are in units of {' or '.join(units)}, not of NEG (P per unit of activation): "
            "they say what the activation gives as it is, so they have no MAE until they are "
            "divided by it"
        )
    if any(form.method == "lpi" for form in raw):
        parts.append("LPI is in units of log-probability, divided by the activation or not")
    text = "; ".join(parts)
    return f"{text}." if text else ""


def top_note(found: Found) -> str:
    """What the overlap of the tops would be by chance."""
    top = found.results.top
    prompts = len(found.results.curves.prompts)
    each = len(found.results.curves.neurons["layer"]) // max(1, prompts)
    if each <= top:
        return f"A prompt has {each} neurons: no top {top} to compare (--neurons, --top)."
    return f"Top overlap: of the {top} largest of {each} neurons; by chance {percent(top / each)}."


def noise_note(found: Found) -> str:
    """How many neurons are within the noise at the headline range."""
    columns = found.results.curves.neurons
    fit = found.results.curves.fits["response"][found.results.headline]
    inside = statistics.share(fit.largest_change < columns["bound"])
    return f"{percent(inside)} of the neurons stay within the rounding noise."


def verdict(found: DoseStatistics) -> str:
    """Which attribution finds a dose's hidden controllers, most of them in its top tenth; and the
    layers where they are."""
    shares = {
        name: shown.top_tenth for name, shown in found.shown.items() if shown.top_tenth is not None
    }
    if not shares:
        return f"Dose ±{found.dose:g}: no hidden controllers."
    best = max(shares, key=lambda name: shares[name])
    rank = percent(found.shown[best].median)
    told = f"{percent(shares[best])} in its top tenth, median rank {rank}"
    verdict = (
        f"{LABELS[best]} finds most of them ({told})"
        if shares[best] > 0.5
        else f"nothing finds most of them; the nearest is {LABELS[best]} ({told})"
    )
    return f"Dose ±{found.dose:g}: {verdict}. {_layers(found)}"


def _layers(found: DoseStatistics) -> str:
    fullest = sorted(found.layers.items(), key=lambda item: (-item[1], item[0]))[:LAYERS]
    told = ", ".join(f"{layer} ({count:,})" for layer, count in fullest)
    others = len(found.layers) - len(fullest)
    return f"By layer: {told}" + (f"; the rest in {others} more." if others else ".")
