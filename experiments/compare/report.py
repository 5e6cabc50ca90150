"""The table of finished runs: a row a figure, a column a run, and one for the paper."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments import paper
from experiments.inputs.estimates import CONVENTIONS, FORMS, LABELS
from experiments.reporting.escaping import code_span, for_markdown
from experiments.reporting.statistics import headline
from experiments.reporting.tables import NOTHING, Column, Table, markdown_lines, written

Summary = Mapping[str, Any]
Cell = Callable[[Summary], str]
"""What a row says of a run; a KeyError where the run has no such figure."""


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
    paper: str
    cell: Cell


def comparison(runs: Sequence[Run]) -> str:
    """Markdown: a heading, the table, and below it where its columns come from."""
    title, rows = KINDS[runs[0].kind]
    headings = _headings(runs)
    table = Table(
        columns=[
            Column("", lambda row: row.name),
            *(Column(head, _figure(run)) for head, run in zip(headings, runs, strict=True)),
            Column("the paper", lambda row: row.paper),
        ],
        rows=rows([run.summary for run in runs]),
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


def _figure(run: Run) -> Callable[[Row], str]:
    """What a row says of a run; a dash where the run has no such figure."""

    def value(row: Row) -> str:
        try:
            return row.cell(run.summary)
        except KeyError:
            return NOTHING

    return value


def _headings(runs: Sequence[Run]) -> list[str]:
    """Models with their sites, and the runs' folders where those are not enough."""
    models = [Path(run.summary["model"]["name"]).name for run in runs]
    names = [f"{model}, {run.summary['site']}" for model, run in zip(models, runs, strict=True)]
    if len(set(names)) < len(names):
        names = [f"{name}, {run.folder}" for name, run in zip(names, runs, strict=True)]
    return names


def _sampled() -> list[Row]:
    """What was measured, of the experiments that sample neurons."""
    neurons = f"{paper.PROMPTS * paper.NEURONS:,}"
    return [
        Row("prompts", f"{paper.PROMPTS:,}", lambda s: f"{s['prompts_measured']:,}"),
        Row("neurons", neurons, lambda s: f"{s['neurons_measured']:,}"),
    ]


def _linearity(summaries: Sequence[Summary]) -> list[Row]:
    rows = [*_sampled(), Row("shifts", "signed", lambda s: s["convention"])]
    for radius in sorted({r for s in summaries for r in _ranges(s)}):
        for name, field, reported in (
            ("|r| ≥ 0.95", "linear", paper.LINEAR),
            ("|r| ≥ 0.99", "very_linear", NOTHING),
            ("NEG > 0", "positive", paper.POSITIVE),
        ):
            there = reported if radius == paper.RADIUS else NOTHING
            rows.append(Row(f"{name}, within ±{radius:g}", there, _share(radius, field)))
    rows.append(
        Row("NEG within", f"±{paper.RADIUS:g}", lambda s: f"±{headline(list(_ranges(s))):g}")
    )
    for name, key, method in (("NeurGrad", "neurgrad", "neurgrad"), ("CG", "computed", "cg")):
        gradient = paper.ESTIMATORS[method]
        rows += [
            Row(f"{name}, r", paper.told(gradient.pearson), _slope(key, "pearson", ".4f")),
            Row(f"{name}, MAE", paper.told(gradient.mae), _slope(key, "mae", ".1e")),
        ]
    return rows


def _ranges(summary: Summary) -> dict[float, Any]:
    """Statistics by radius, of the measure that the run's report leads with."""
    return {entry["radius"]: entry for entry in summary["ranges"][summary["measure"]]}


def _share(radius: float, field: str) -> Cell:
    return lambda s: written(_ranges(s)[radius]["every"][field], ".1%")


def _slope(key: str, field: str, form: str) -> Cell:
    """How well a gradient predicts NEG within the range that the run's report leads with."""

    def cell(summary: Summary) -> str:
        ranges = _ranges(summary)
        return written(ranges[headline(list(ranges))]["predictions"][key][field], form)

    return cell


def _estimators(summaries: Sequence[Summary]) -> list[Row]:
    rows = [*_sampled(), Row("NEG within", f"±{paper.RADIUS:g}", lambda s: f"±{_radius(s):g}")]
    forms = [form for form in FORMS if any(form.method in s["methods"] for s in summaries)]
    for convention in CONVENTIONS:
        for form in forms:
            there = paper.ESTIMATORS.get(form.name)
            # The paper's NEG is that of its own convention.
            reported = paper.told(there.pearson) if there and convention == "signed" else NOTHING
            name = f"{form.written(convention)}, r, {convention}"
            rows.append(Row(name, reported, _agreement(convention, form.name, "pearson", ".4f")))
    for form in forms:
        there = paper.ESTIMATORS.get(form.name)
        reported = paper.told(there.mae) if there else NOTHING
        if form.slope or reported != NOTHING:
            name = f"{form.written('signed')}, MAE, signed"
            rows.append(Row(name, reported, _agreement("signed", form.name, "mae", ".1e")))
    for method in dict.fromkeys(form.method for form in forms):
        there = paper.ESTIMATORS.get(method)
        name = f"{LABELS[method]}, seconds a prompt"
        rows.append(Row(name, there.seconds if there else NOTHING, _seconds(method)))
    rows.append(
        Row(
            "predicted linear range holds",
            NOTHING,
            lambda s: written(s["linear_range"]["holds"], ".1%"),
        )
    )
    for dose in sorted({d for s in summaries for d in _doses(s)}):
        rows.append(Row(f"hidden controllers at ±{dose:g} (by chance)", NOTHING, _hidden(dose)))
    return rows


def _agreement(convention: str, form: str, field: str, digits: str) -> Cell:
    """How well an estimate predicts NEG within the range that the run's report leads with."""

    def cell(summary: Summary) -> str:
        ranges = {e["radius"]: e["estimates"] for e in summary["agreement"][convention]}
        return written(ranges[_radius(summary)][form][field], digits)

    return cell


def _radius(summary: Summary) -> float:
    return headline([entry["radius"] for entry in summary["agreement"]["signed"]])


def _seconds(method: str) -> Cell:
    return lambda s: written(s["seconds_a_prompt"][method], ".3g")


def _doses(summary: Summary) -> dict[float, Any]:
    return {entry["dose"]: entry for entry in summary["dosed"]["doses"]}


def _hidden(dose: float) -> Cell:
    def cell(summary: Summary) -> str:
        controllers = _doses(summary)[dose]
        return f"{controllers['hidden']:,} ({written(controllers['by_chance'], ',.1f')})"

    return cell


def _multi_neuron(summaries: Sequence[Summary]) -> list[Row]:
    rows = [
        Row("prompts", NOTHING, lambda s: f"{s['prompts_measured']:,}"),
        Row("sets", NOTHING, lambda s: f"{s['sets_measured']:,}"),
        Row("shifts", "signed", lambda s: s["convention"]),
    ]
    cases = [case for s in summaries for case in _added(s)]
    for choice in dict.fromkeys(choice for choice, _, _ in cases):
        sizes = sorted({size for name, size, _ in cases if name == choice})
        for size in sizes:
            there = f"≥ {paper.TOGETHER_PEARSON:g}" if size == paper.TOGETHER else NOTHING
            rows.append(Row(f"{choice}: {size:,}", there, _sum((choice, size, None))))
        every = {m for name, size, m in cases if (name, size) == (choice, sizes[-1])}
        for magnitude in sorted(m for m in every if m is not None):
            name = f"{choice}: {sizes[-1]:,}, each by ±{magnitude:g}"
            rows.append(Row(name, NOTHING, _sum((choice, sizes[-1], magnitude))))
    return rows


def _added(summary: Summary) -> dict[tuple[str, int, float | None], Any]:
    """How well Σ NEG x predicts the change, shifts added: by choice, size and magnitude."""
    return {
        (entry["choice"], entry["size"], entry["magnitude"]): entry["predictions"]["neg"]
        for entry in summary["additivity"]
        if entry["variant"] == "added"
    }


def _sum(case: tuple[str, int, float | None]) -> Cell:
    def cell(summary: Summary) -> str:
        sums = _added(summary)[case]
        return f"{written(sums['pearson'], '.3f')} ({written(sums['explained'], '.3g')})"

    return cell


KINDS: dict[str, tuple[str, Callable[[Sequence[Summary]], list[Row]]]] = {
    "linearity": ("Linearity, and NeurGrad and CG against NEG", _linearity),
    "estimators": ("Estimators against NEG", _estimators),
    "multi_neuron": (
        "Neurons together: r and, in parentheses, R² of Σ NEG x with ΔP, shifts added",
        _multi_neuron,
    ),
}
"""What can be compared: a title, and rows of the runs' summaries."""
