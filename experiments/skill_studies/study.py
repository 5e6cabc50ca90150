"""A study of skill neurons: task by task, each saved when it is finished, and what they show.

A folder of results is continued if the flags are the same and each task's prompts are; tasks may be
added. A task that cannot be measured is named, and the others continue.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from experiments.inputs import benchmark_flags
from experiments.reporting import page_parts
from experiments.reporting.report import Facts, Paragraph, Section
from experiments.reporting.tables import Table
from experiments.reporting.templates import Contents
from experiments.running import common, provenance
from experiments.running.study import Findings, Finished, Report, Study
from experiments.skill_studies import inputs as skills_inputs
from experiments.skill_studies import jobs as skills_jobs
from experiments.skill_studies import verdicts as skills_verdicts
from experiments.skill_studies.accuracies import MEANINGS, PROBES, notes, tasks_in_words
from experiments.skill_studies.inputs import PARTS, Measured
from experiments.skill_studies.jobs import Job, Results, Row, TaskResult
from experiments.skill_studies.verdicts import Verdict
from negjax import mceval8k
from negjax.model.language_model import LanguageModel
from negjax.storage import store
from negjax.storage.store import RunFolder

KINDS = {
    "neurgrad": "NeurGrad of every label's probability",
    "cg": "the computed gradient of every label's probability",
    "cgxa": "the computed gradient of every label's probability, times the activation",
}
NOTHING = "No task could be measured."


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shown(Contents):
    """What a study of tasks shows.

    Templates may name, beside its contents, how many `{tasks}` (“2 tasks”), the `{model}`, what it
    `{rests}` on where tasks are few, what its `{probes}` are, the `{notes}` on the tasks' parts
    and, where there are verdicts, `{verdicts}` in short and the `{claims}`.
    """

    summary: Mapping[str, Any]
    """Its part of summary.json."""
    printed: str
    """Name of the table for the terminal."""
    verdicts: Sequence[Verdict] = ()


def of_tasks(
    name: str,
    settings: Mapping[str, Any],
    jobs: Callable[[], Sequence[Job]],
    findings: Callable[[Results], Shown],
) -> Study:
    """A study of tasks of the benchmark.

    Args:
        name: of the experiment.
        settings: what its results depend on, beside model, sizes, wording and the jobs' keys.
        jobs: makes them; called once the flags are known to be right.
        findings: of the finished tasks.
    """
    start = time.perf_counter()
    every = jobs()
    lm = common.load_model()
    loading = time.perf_counter() - start

    # Pairs of tasks read the features of both, which one process at a time writes.
    paired = any(job.others for job in every)
    of_jobs = skills_jobs.Tasks if paired else skills_jobs.DivisibleTasks

    def results(folder: RunFolder, finished: Finished) -> Findings | None:
        measured = {o.task: o.result for o in finished.work if o.result is not None}
        failed = {o.task: o.failure for o in finished.work if o.failure is not None}
        if finished.interrupted and not measured:
            return None
        shown = findings_of(findings(measured), measured, lm) if measured else _nothing()
        about = provenance.about_program(lm, folder, finished.complete, loading) | {
            "tasks": list(measured),
            "failed": failed,
            "asked": {task: result.about for task, result in measured.items()},
            "sizes": skills_inputs.FLAGS.read().sizes,
            "kind": skills_inputs.FLAGS.read().kind,
        }

        def report(summary: Mapping[str, Any]) -> Report:
            facts = _facts(lm, len(measured))
            return dataclasses.replace(
                shown.report(summary), measured=facts, before=_failures(failed)
            )

        return Findings(
            tables={store.ACCURACIES: _accuracies(measured)},
            summary={**about, **shown.summary},
            report=report,
        )

    return Study(
        name=name,
        settings={
            **common.model_settings(lm),
            **skills_inputs.FLAGS.read().recorded,
            **settings,
        },
        measure=of_jobs(lm=lm, jobs=every),
        results=results,
    )


def by_task(
    name: str,
    settings: Mapping[str, Any],
    measure: Callable[[Measured], TaskResult],
    findings: Callable[[Results], Shown],
) -> Study:
    """A study that looks at each task by itself, in disjoint parts; arguments as of `of_tasks`."""

    def job(name: str) -> Job:
        def measured(lm: LanguageModel, folder: RunFolder) -> TaskResult:
            del folder
            return measure(skills_inputs.measure(lm, skills_inputs.load(name)))

        task = skills_inputs.load(name)
        prompts = skills_inputs.prompts_of(task)
        return Job(task=name, key=task.key, prompts=prompts, measure=measured)

    return of_tasks(name, settings, lambda: [*map(job, benchmark_flags.tasks())], findings)


def findings_of(shown: Shown, results: Results, lm: LanguageModel) -> Findings:
    """What a study of tasks found."""
    tasks = tasks_in_words(len(results))
    few = len(results) < skills_verdicts.FEW
    asked = {row.probe for result in results.values() for row in result.rows}
    values: dict[str, Any] = {
        "tasks": tasks,
        "model": lm.name,
        "rests": f"{tasks}: too few to say it of others." if few else "",
        "probes": Facts([(PROBES[probe], MEANINGS[probe]) for probe in PROBES if probe in asked]),
        "notes": notes(results),
    }
    summary = dict(shown.summary)
    if shown.verdicts:
        values["verdicts"] = skills_verdicts.lead_of(shown.verdicts)
        values["claims"] = skills_verdicts.facts_of(shown.verdicts)
        summary["verdicts"] = shown.verdicts
    report = Report(
        contents=dataclasses.replace(shown, values={**values, **shown.values}),
        headline=f"{lm.name}: {len(results)} of {len(mceval8k.names())} tasks of MCEval8K",
        printed=table if isinstance(table := shown.tables[shown.printed], Table) else None,
        measured=None,
    )
    return Findings(tables={}, summary=summary, report=lambda _: report)


def _nothing() -> Findings:
    report = Report(
        contents=Contents(values={}), headline=NOTHING, printed=None, measured=None, instead=NOTHING
    )
    return Findings(tables={}, summary={}, report=lambda _: report)


def _accuracies(results: Results) -> pa.Table:
    rows = [row for result in results.values() for row in result.rows]
    names = [field.name for field in dataclasses.fields(Row)]
    return pa.table({name: [getattr(row, name) for row in rows] for name in names})


def _facts(lm: LanguageModel, count: int) -> list[tuple[str, str]]:
    settings = skills_inputs.FLAGS.read()
    sizes = ", ".join(f"{settings.sizes[part] or 'all'} {part}" for part in PARTS)
    return [
        ("Benchmark", f"MCEval8K, {count} of {len(mceval8k.names())} tasks"),
        ("Prompts a task", f"{sizes}, or as many as there are, as many of each label"),
        ("Scores", KINDS[settings.kind]),
        ("Site", page_parts.SITES[common.site(lm)]),
    ]


def _failures(failed: Mapping[str, str]) -> list[Section]:
    if not failed:
        return []
    text = "These tasks could not be measured: nothing below says anything about them."
    return [Section("Tasks that failed", [Paragraph(text, warning=True), Facts([*failed.items()])])]
