"""How a study of skill neurons runs: task by task, each saved when it is finished, then shown.

A folder of results is gone on with if the flags are the same and each task's prompts are; tasks may
be added. A task that cannot be measured is told of, and the others go on.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from experiments.reporting import page_parts, report
from experiments.running import common, documents, provenance, terminal
from experiments.skill_studies import inputs as skills_inputs
from experiments.skill_studies.inputs import Measured
from experiments.skill_studies.jobs import (
    Found,
    Job,
    Outcome,
    Row,
    measure_all,
    refuse_other_prompts,
)
from negjax import mceval8k, skills
from negjax.model.language_model import LanguageModel
from negjax.storage import store
from negjax.storage.store import RunFolder


class Shown(NamedTuple):
    """A study's results, for people."""

    lead: str
    sections: Sequence[report.Section]
    printed: Sequence[str]
    """Lines for the terminal."""
    summary: Mapping[str, Any]
    """Figures for summary.json."""


def run(
    name: str,
    title: str,
    settings: Mapping[str, Any],
    jobs: Callable[[], Sequence[Job]],
    show: Callable[[Mapping[str, Found], LanguageModel], Shown],
) -> int:
    """Runs a study and writes its results; the exit status: 1 if a task could not be measured.

    Args:
        name: of the experiment.
        settings: what its results depend on, beside model, sizes, wording and the jobs' keys.
        jobs: makes them; called once the flags are known to be right.
        show: makes the results of the finished tasks readable.

    Raises:
        ValueError: the folder holds a run with other settings, or of other prompts of a task.
    """
    start = time.perf_counter()
    todo = jobs()
    lm = common.load_model()
    template, shots = skills_inputs.asked()
    asked = {
        "experiment": name,
        **common.model_settings(lm),
        "kind": skills_inputs.kind(),
        "sizes": skills_inputs.wanted(),
        "template": template,
        "shots": shots,
        **settings,
    }
    loading = time.perf_counter() - start
    with common.open_folder(name, asked, {}, {}) as folder:
        refuse_other_prompts(folder, todo)
        outcome = measure_all(folder, lm, todo)
        if outcome.interrupted and not outcome.found:
            return 130
        shown = show(outcome.found, lm) if outcome.found else NOTHING
        _write(folder, lm, title, outcome, shown, loading)
    terminal.say("\n".join([*shown.printed, f"report: {folder.path / store.REPORT}"]))
    if outcome.interrupted:
        return 130
    return 0 if outcome.complete else 1


NOTHING = Shown("No task could be measured.", (), (), {})


def row(measured: Measured, part: str, predicted: np.ndarray, **what: Any) -> Row:
    """The row of a part's predictions [B], or of several probes' [n, B]: then of their mean.

    The interval of a mean is the mean interval: that of one of them, not of their mean.

    Args:
        what: further fields; `trained` is otherwise the number of its training prompts.
    """
    gold = measured.parts[part].gold
    found = skills.bootstrap_interval(predicted, gold, seed=common.seed())
    share, low, high = (float(np.mean(x)) for x in found)
    told = {"trained": len(measured.parts["train"]), **what}
    return Row(
        task=measured.task.name,
        split=measured.task.split,
        part=part,
        tested=len(gold),
        accuracy=share,
        low=low,
        high=high,
        **told,
    )


def _write(
    folder: RunFolder,
    lm: LanguageModel,
    title: str,
    outcome: Outcome,
    shown: Shown,
    loading: float,
) -> None:
    found = outcome.found
    rows = [row for one in found.values() for row in one.rows]
    names = [field.name for field in dataclasses.fields(Row)]
    table = pa.table({name: [getattr(row, name) for row in rows] for name in names})
    summary = provenance.about_program(lm, folder, outcome.complete, loading) | {
        "tasks": list(found),
        "failed": outcome.failed,
        "asked": {task: one.asked for task, one in found.items()},
        "sizes": skills_inputs.wanted(),
        "kind": skills_inputs.kind(),
        **shown.summary,
    }
    sizes = ", ".join(f"{size or 'all'} {part}" for part, size in skills_inputs.wanted().items())
    rows_told = [
        ("Benchmark", f"MCEval8K, {len(found)} of {len(mceval8k.names())} tasks"),
        ("Prompts a task", f"{sizes}, or as many as there are, as many of each label"),
        ("Scores", KINDS[skills_inputs.kind()]),
        ("Site", page_parts.SITES[common.site(lm)]),
    ]
    sections = [
        *_unfinished(outcome),
        *shown.sections,
        page_parts.run_section(summary, rows_told),
        page_parts.reproduce(summary),
    ]
    document = report.Document(title, shown.lead, sections)
    documents.write(folder, {store.ACCURACIES: table}, summary, lambda: document)


def _unfinished(outcome: Outcome) -> list[report.Section]:
    """What the results lack."""
    sections = []
    if outcome.interrupted:
        sections.append(report.Section("Unfinished", page_parts.unfinished(complete=False)))
    if outcome.failed:
        text = "These tasks could not be measured: nothing below says anything about them."
        failed = report.Facts([*outcome.failed.items()])
        told: list[report.Block] = [report.Paragraph(text, warning=True), failed]
        sections.append(report.Section("Tasks that failed", told))
    return sections


KINDS = {
    "neurgrad": "NeurGrad of every label's probability",
    "cg": "the computed gradient of every label's probability",
    "cgxa": "the computed gradient of every label's probability, times the activation",
}
