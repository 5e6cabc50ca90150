"""The program: its flags, what it measures, how it goes on after an interruption."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments import paper
from experiments.estimators.results import CONVENTIONS, FORMS
from experiments.estimators.tables import LABELS
from experiments.linearity.results import headline
from experiments.reporting.escaping import code_span, for_markdown
from experiments.reporting.page_parts import number, percent
from experiments.running import common, terminal
from negjax.storage import given_files, run_settings, store
from negjax.storage.whole_files import write_whole

Summary = Mapping[str, Any]
Cell = Callable[[Summary], str]
"""What a row says of a run; a KeyError where the run has no such figure."""


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run."""

    folder: Path
    kind: str
    """Of which experiment."""
    summary: Summary


@dataclasses.dataclass(frozen=True)
class Row:
    """A figure of every run."""

    name: str
    paper: str
    cell: Cell


def main(arguments: Sequence[str]) -> int:
    """Prints the table of the runs named, and writes it if asked; returns the exit status."""
    text = markdown(read_runs(arguments))
    file = common.output_file()
    if file is not None:
        write_whole(file, lambda out: out.write(text.encode()))
    terminal.say(text.rstrip("\n"))
    return 0


def read_runs(folders: Sequence[str]) -> list[Run]:
    """The runs, of one kind and none of them twice.

    Raises:
        ValueError: there are none, or one is no finished run, is of another experiment than the
            first or of one that is not compared, or is named twice.
    """
    if not folders:
        raise ValueError(f"no runs: pass folders of finished runs, of one of {', '.join(KINDS)}")
    runs = [_read_run(Path(folder).expanduser()) for folder in folders]
    for i, run in enumerate(runs):
        if run.kind != runs[0].kind:
            raise ValueError(
                f"{run.folder} is a run of {run.kind}, {runs[0].folder} one of {runs[0].kind}; "
                "pass runs of one experiment"
            )
        if run.folder.resolve() in [other.folder.resolve() for other in runs[:i]]:
            raise ValueError(f"{run.folder} is named twice; pass each run once")
    return runs


def _read_run(folder: Path) -> Run:
    settings = _read_json(folder, run_settings.SETTINGS, "is no folder of a run")
    kind = str(settings["settings"].get("experiment"))
    if kind not in KINDS:
        raise ValueError(f"{folder} is a run of {kind}, expected one of {', '.join(KINDS)}")
    hint = "is not finished; the command that began the run goes on with it"
    summary = _read_json(folder, store.SUMMARY, hint)
    if not summary["complete"]:
        raise ValueError(f"{folder} {hint}")
    return Run(folder, kind, summary)


def _read_json(folder: Path, name: str, without: str) -> dict[str, Any]:
    file = folder / name
    if not file.is_file():
        raise ValueError(f"{folder} {without}: it has no {name}")
    try:
        return given_files.read_json(file)
    except ValueError as error:
        raise ValueError(f"{file} is damaged: {error}") from None


def markdown(runs: Sequence[Run]) -> str:
    """A heading, the table, and below it where its columns come from."""
    title, rows = KINDS[runs[0].kind]
    table = [["", *_headings(runs), "the paper"]]
    for row in rows([run.summary for run in runs]):
        table.append([row.name, *(_told(row.cell, run.summary) for run in runs), row.paper])
    table = [[for_markdown(cell) for cell in cells] for cells in table]
    table.insert(1, ["---", *["---:"] * len(runs), "---:"])
    return "\n".join(
        [
            f"# {title}",
            "",
            *("| " + " | ".join(cells) + " |" for cells in table),
            "",
            f"The paper: as reported by {paper.SOURCE}. Models, prompts and machines differ, so "
            "the figures may.",
            "",
            *(
                f"- {for_markdown(head)}: {code_span(run.summary['command'])}"
                for head, run in zip(_headings(runs), runs, strict=True)
            ),
            "",
        ]
    )


def _headings(runs: Sequence[Run]) -> list[str]:
    """Models with their sites, and the runs' folders where those are not enough."""
    models = [Path(run.summary["model"]["name"]).name for run in runs]
    names = [f"{model}, {run.summary['site']}" for model, run in zip(models, runs, strict=True)]
    if len(set(names)) < len(names):
        names = [f"{name}, {run.folder}" for name, run in zip(names, runs, strict=True)]
    return names


def _told(cell: Cell, summary: Summary) -> str:
    try:
        return cell(summary)
    except KeyError:
        return "—"


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
            ("|r| ≥ 0.99", "very_linear", "—"),
            ("NEG > 0", "positive", paper.POSITIVE),
        ):
            there = reported if radius == paper.RADIUS else "—"
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
    return {found["radius"]: found for found in summary["ranges"][summary["measure"]]}


def _share(radius: float, field: str) -> Cell:
    return lambda s: percent(_ranges(s)[radius]["every"][field])


def _slope(key: str, field: str, form: str) -> Cell:
    """How well a gradient tells NEG within the range that the run's report leads with."""

    def cell(summary: Summary) -> str:
        ranges = _ranges(summary)
        return number(ranges[headline(list(ranges))]["predictions"][key][field], form)

    return cell


def _estimators(summaries: Sequence[Summary]) -> list[Row]:
    rows = [*_sampled(), Row("NEG within", f"±{paper.RADIUS:g}", lambda s: f"±{_radius(s):g}")]
    forms = [form for form in FORMS if any(form.method in s["methods"] for s in summaries)]
    for convention in CONVENTIONS:
        for form in forms:
            there = paper.ESTIMATORS.get(form.name)
            # The paper's NEG is that of its own convention.
            told = paper.told(there.pearson) if there and convention == "signed" else "—"
            name = f"{form.written(convention)}, r, {convention}"
            rows.append(Row(name, told, _agreement(convention, form.name, "pearson", ".4f")))
    for form in forms:
        there = paper.ESTIMATORS.get(form.name)
        told = paper.told(there.mae) if there else "—"
        if form.slope or told != "—":
            name = f"{form.written('signed')}, MAE, signed"
            rows.append(Row(name, told, _agreement("signed", form.name, "mae", ".1e")))
    for method in dict.fromkeys(form.method for form in forms):
        there = paper.ESTIMATORS.get(method)
        name = f"{LABELS[method]}, seconds a prompt"
        rows.append(Row(name, there.seconds if there else "—", _seconds(method)))
    rows.append(
        Row("foretold linear range holds", "—", lambda s: percent(s["linear_range"]["holds"]))
    )
    for dose in sorted({d for s in summaries for d in _doses(s)}):
        rows.append(Row(f"hidden controllers at ±{dose:g} (by chance)", "—", _hidden(dose)))
    return rows


def _agreement(convention: str, form: str, field: str, written: str) -> Cell:
    """How well an estimate tells NEG within the range that the run's report leads with."""

    def cell(summary: Summary) -> str:
        found = {entry["radius"]: entry["estimates"] for entry in summary["agreement"][convention]}
        return number(found[_radius(summary)][form][field], written)

    return cell


def _radius(summary: Summary) -> float:
    return headline([entry["radius"] for entry in summary["agreement"]["signed"]])


def _seconds(method: str) -> Cell:
    return lambda s: number(s["seconds_a_prompt"][method], ".3g")


def _doses(summary: Summary) -> dict[float, Any]:
    return {found["dose"]: found for found in summary["dosed"]["doses"]}


def _hidden(dose: float) -> Cell:
    def cell(summary: Summary) -> str:
        found = _doses(summary)[dose]
        return f"{found['hidden']:,} ({number(found['by_chance'], ',.1f')})"

    return cell


def _multi_neuron(summaries: Sequence[Summary]) -> list[Row]:
    rows = [
        Row("prompts", "—", lambda s: f"{s['prompts_measured']:,}"),
        Row("sets", "—", lambda s: f"{s['sets_measured']:,}"),
        Row("shifts", "signed", lambda s: s["convention"]),
    ]
    cases = [case for s in summaries for case in _added(s)]
    for choice in dict.fromkeys(choice for choice, _, _ in cases):
        sizes = sorted({size for own, size, _ in cases if own == choice})
        for size in sizes:
            there = f"≥ {paper.TOGETHER_PEARSON:g}" if size == paper.TOGETHER else "—"
            rows.append(Row(f"{choice}: {size:,}", there, _sum((choice, size, None))))
        every = {m for own, size, m in cases if (own, size) == (choice, sizes[-1])}
        for magnitude in sorted(m for m in every if m is not None):
            name = f"{choice}: {sizes[-1]:,}, each by ±{magnitude:g}"
            rows.append(Row(name, "—", _sum((choice, sizes[-1], magnitude))))
    return rows


def _added(summary: Summary) -> dict[tuple[str, int, float | None], Any]:
    """How well Σ NEG x tells the change, shifts added: by choice, size and magnitude."""
    return {
        (found["choice"], found["size"], found["magnitude"]): found["predictions"]["neg"]
        for found in summary["additivity"]
        if found["variant"] == "added"
    }


def _sum(case: tuple[str, int, float | None]) -> Cell:
    def cell(summary: Summary) -> str:
        found = _added(summary)[case]
        return f"{number(found['pearson'], '.3f')} ({number(found['explained'], '.3g')})"

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
