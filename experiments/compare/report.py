"""The table of finished runs: a row a figure, a column a run, and one for the paper."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments import paper
from experiments.inputs.estimates import CONVENTIONS, FORMS, LABELS
from experiments.reporting.escaping import code_span, for_markdown
from experiments.reporting.statistics import headline
from experiments.reporting.tables import NOTHING, Column, Table, markdown_lines, written

Summary = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished run."""

    folder: Path
    kind: str
    """Of which experiment."""
    summary: Summary


@dataclass(frozen=True)
class Row:
    """A figure of every run."""

    name: str
    at: tuple[Hashable, ...]
    """Keys that lead to it, in what a run's summary is prepared to."""
    form: str = ""
    paper: str = NOTHING


def comparison(runs: Sequence[Run]) -> str:
    """Markdown: a heading, the table, and below it where its columns come from."""
    title, prepared, rows = KINDS[runs[0].kind]
    headings = _headings(runs)
    figures = [prepared(run.summary) for run in runs]
    table = Table(
        columns=[
            Column("", lambda row: row.name),
            *(Column(head, _cell(of_run)) for head, of_run in zip(headings, figures, strict=True)),
            Column("the paper", lambda row: row.paper),
        ],
        rows=rows(figures),
    )
    lines = [
        *(f"# {title}", "", *markdown_lines(table), ""),
        f"The paper: as reported by {paper.SOURCE}. Models, prompts and machines differ, so the "
        "figures may.",
        "",
        *(
            f"- {for_markdown(head)}: {code_span(run.summary['command'])}"
            for head, run in zip(headings, runs, strict=True)
        ),
    ]
    return "\n".join(lines) + "\n"


def _cell(figures: Summary) -> Callable[[Row], str]:
    """What a row says of a run; a dash where the run has no such figure."""

    def value(row: Row) -> str:
        figure: Any = figures
        try:
            for key in row.at:
                figure = figure[key]
        except KeyError:
            return NOTHING
        return written(figure, row.form)

    return value


def _headings(runs: Sequence[Run]) -> list[str]:
    """Models with their sites, and the runs' folders where those are not enough."""
    models = [Path(run.summary["model"]["name"]).name for run in runs]
    names = [f"{model}, {run.summary['site']}" for model, run in zip(models, runs, strict=True)]
    if len(set(names)) < len(names):
        names = [f"{name}, {run.folder}" for name, run in zip(names, runs, strict=True)]
    return names


SAMPLED = (
    Row("prompts", ("prompts_measured",), ",", f"{paper.PROMPTS:,}"),
    Row("neurons", ("neurons_measured",), ",", f"{paper.PROMPTS * paper.NEURONS:,}"),
)
"""What was measured, of the experiments that sample neurons."""
SHIFTS = Row("shifts", ("convention",), paper="signed")
NEAR = Row("NEG within", ("within",), paper=f"±{paper.RADIUS:g}")


def _of_linearity(summary: Summary) -> Summary:
    """Its figures; `ranges` by radius, `near`: the one that its report leads with."""
    ranges = {entry["radius"]: entry for entry in summary["ranges"][summary["measure"]]}
    near = ranges[headline(list(ranges))]
    return {**summary, "ranges": ranges, "within": f"±{near['radius']:g}", "near": near}


def _linearity(runs: Sequence[Summary]) -> list[Row]:
    rows = [*SAMPLED, SHIFTS]
    for radius in sorted({radius for run in runs for radius in run["ranges"]}):
        for name, field, reported in (
            ("|r| ≥ 0.95", "linear", paper.LINEAR),
            ("|r| ≥ 0.99", "very_linear", NOTHING),
            ("NEG > 0", "positive", paper.POSITIVE),
        ):
            there = reported if radius == paper.RADIUS else NOTHING
            at = ("ranges", radius, "every", field)
            rows.append(Row(f"{name}, within ±{radius:g}", at, ".1%", there))
    rows.append(NEAR)
    for name, key, method in (("NeurGrad", "neurgrad", "neurgrad"), ("CG", "computed", "cg")):
        here, gradient = ("near", "predictions", key), paper.ESTIMATORS[method]
        rows += [
            Row(f"{name}, r", (*here, "pearson"), ".4f", paper.told(gradient.pearson)),
            Row(f"{name}, MAE", (*here, "mae"), ".1e", paper.told(gradient.mae)),
        ]
    return rows


def _of_estimators(summary: Summary) -> Summary:
    """Its figures; `near`: agreements by convention in the range that its report leads with."""
    radius = headline([entry["radius"] for entry in summary["agreement"]["signed"]])
    near = {
        convention: entry["estimates"]
        for convention, ranges in summary["agreement"].items()
        for entry in ranges
        if entry["radius"] == radius
    }
    hidden = {
        entry["dose"]: f"{entry['hidden']:,} ({written(entry['by_chance'], ',.1f')})"
        for entry in summary["dosed"]["doses"]
    }
    return {**summary, "within": f"±{radius:g}", "near": near, "hidden": hidden}


def _estimators(runs: Sequence[Summary]) -> list[Row]:
    rows = [*SAMPLED, NEAR]
    forms = [form for form in FORMS if any(form.method in run["methods"] for run in runs)]
    for convention in CONVENTIONS:
        for form in forms:
            there = paper.ESTIMATORS.get(form.name)
            # The paper's NEG is that of its own convention.
            reported = paper.told(there.pearson) if there and convention == "signed" else NOTHING
            name = f"{form.written(convention)}, r, {convention}"
            rows.append(Row(name, ("near", convention, form.name, "pearson"), ".4f", reported))
    for form in forms:
        there = paper.ESTIMATORS.get(form.name)
        reported = paper.told(there.mae) if there else NOTHING
        if form.slope or reported != NOTHING:
            name = f"{form.written('signed')}, MAE, signed"
            rows.append(Row(name, ("near", "signed", form.name, "mae"), ".1e", reported))
    for method in dict.fromkeys(form.method for form in forms):
        there = paper.ESTIMATORS.get(method)
        name, reported = f"{LABELS[method]}, seconds a prompt", there.seconds if there else NOTHING
        rows.append(Row(name, ("seconds_a_prompt", method), ".3g", reported))
    rows.append(Row("predicted linear range holds", ("linear_range", "holds"), ".1%"))
    for dose in sorted({dose for run in runs for dose in run["hidden"]}):
        rows.append(Row(f"hidden controllers at ±{dose:g} (by chance)", ("hidden", dose)))
    return rows


def _of_multi_neuron(summary: Summary) -> Summary:
    """Its figures; `sums`: how well Σ NEG x predicts, shifts added, by choice, size, magnitude."""
    sums = {}
    for entry in summary["additivity"]:
        if entry["variant"] == "added":
            neg = entry["predictions"]["neg"]
            text = f"{written(neg['pearson'], '.3f')} ({written(neg['explained'], '.3g')})"
            sums[entry["choice"], entry["size"], entry["magnitude"]] = text
    return {**summary, "sums": sums}


def _multi_neuron(runs: Sequence[Summary]) -> list[Row]:
    rows = [
        Row("prompts", ("prompts_measured",), ","),
        Row("sets", ("sets_measured",), ","),
        SHIFTS,
    ]
    cases = [case for run in runs for case in run["sums"]]
    for choice in dict.fromkeys(choice for choice, _, _ in cases):
        sizes = sorted({size for name, size, _ in cases if name == choice})
        for size in sizes:
            there = f"≥ {paper.TOGETHER_PEARSON:g}" if size == paper.TOGETHER else NOTHING
            at = ("sums", (choice, size, None))
            rows.append(Row(f"{choice}: {size:,}", at, paper=there))
        every = {m for name, size, m in cases if (name, size) == (choice, sizes[-1])}
        for magnitude in sorted(m for m in every if m is not None):
            name = f"{choice}: {sizes[-1]:,}, each by ±{magnitude:g}"
            rows.append(Row(name, ("sums", (choice, sizes[-1], magnitude))))
    return rows


KINDS: Mapping[
    str, tuple[str, Callable[[Summary], Summary], Callable[[Sequence[Summary]], list[Row]]]
] = {
    "linearity": ("Linearity, and NeurGrad and CG against NEG", _of_linearity, _linearity),
    "estimators": ("Estimators against NEG", _of_estimators, _estimators),
    "multi_neuron": (
        "Neurons together: r and, in parentheses, R² of Σ NEG x with ΔP, shifts added",
        _of_multi_neuron,
        _multi_neuron,
    ),
}
"""What can be compared: a title, what a summary is prepared to, and rows of what runs were."""
