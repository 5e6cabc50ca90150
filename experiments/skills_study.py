"""How a study of skill neurons runs: task by task, each saved when it is finished, then shown."""

import dataclasses
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from experiments import common, page_parts, provenance, skills_inputs
from experiments.skills_inputs import Measured, Progress
from negjax import mceval8k, report, skills, store
from negjax.figures import Picture
from negjax.language_model import LanguageModel
from negjax.store import RunFolder


@dataclasses.dataclass(frozen=True)
class Row:
    """One accuracy, with its 95% bootstrap interval over the tested prompts."""

    task: str
    split: str
    probe: str
    part: str
    """Of the tested prompts."""
    tested: int
    accuracy: float
    low: float
    high: float
    neurons: int | None = None
    """That the probe asks: of each node, in Act."""
    trained: int | None = None
    """Training prompts."""
    number: int | None = None
    """Of a disjoint set of neurons, best first from 0; of Random, seeds that were averaged."""
    trees: int | None = None
    depth: int | None = None
    """None: not limited."""
    source: str | None = None
    """How, or on which task, the probe was trained, where that is not how it is tested."""
    target: str | None = None
    """How it is tested, likewise."""


class Found(NamedTuple):
    """What a study measured of a task."""

    rows: list[Row]
    more: Mapping[str, Any] = {}
    """Further results, as JSON values."""


class Job(NamedTuple):
    """A task of a study."""

    task: str
    key: str
    """Of all that its results depend on beside the study's settings (`mceval8k.Task.key`)."""
    prompts: int
    measure: Callable[[LanguageModel, RunFolder, Progress], Found]

    @property
    def group(self) -> str:
        """Name in the run's folder."""
        return f"{self.task} {self.key[:16]}"


class Shown(NamedTuple):
    """A study's results, for people."""

    lead: str
    sections: Sequence[report.Section]
    pictures: Mapping[str, Picture]
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
    """Runs a study and writes its results; the exit status of the program.

    Args:
        name: of the experiment.
        settings: what its results depend on, beside model, sizes and the jobs' keys.
        jobs: makes them; called once the flags are known to be right.
        show: makes the results of the finished tasks readable.
    """
    start = time.perf_counter()
    todo = jobs()
    lm = common.load_model()
    asked = {
        "experiment": name,
        **common.model_settings(lm),
        "kind": skills_inputs.kind(),
        "sizes": skills_inputs.wanted(),
        **settings,
    }
    loading = time.perf_counter() - start
    with common.open_folder(name, asked, {}, {}) as folder:
        complete = _measure(folder, lm, todo)
        found = {job.task: _read(folder, job) for job in todo if job.group in folder.finished}
        if not found:
            return 130
        shown = show(found, lm)
        _write(folder, lm, title, found, shown, complete, loading)
    print("\n".join(shown.printed))
    print(f"report: {folder.path / store.REPORT}")
    return 0 if complete else 130


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


def _measure(folder: RunFolder, lm: LanguageModel, jobs: Sequence[Job]) -> bool:
    """Measures what is not finished yet; False if it was interrupted."""
    todo = [job for job in jobs if job.group not in folder.finished]
    with tqdm(
        total=sum(job.prompts for job in todo),
        unit="prompt",
        mininterval=0.5 if sys.stderr.isatty() else 15,
        disable=not todo,
    ) as bar:
        for job in todo:
            bar.set_description(job.task)
            try:
                start = time.perf_counter()
                found = job.measure(lm, folder, bar.update)
                value = {
                    "rows": [dataclasses.asdict(row) for row in found.rows],
                    "more": found.more,
                }
                folder.write_json(_file(job), value)
                folder.save(job.group, (), {}, time.perf_counter() - start)
            except KeyboardInterrupt:
                common.note(
                    f"interrupted: {len(folder.finished)} of {len(jobs)} tasks are saved in "
                    f"{folder.path}, and features of the next one; the same command goes on "
                    "from there"
                )
                return False
    return True


def _file(job: Job) -> str:
    return f"{store.TASKS}/{job.group.replace(' ', '-')}.json"


def _read(folder: RunFolder, job: Job) -> Found:
    value = json.loads((folder.path / _file(job)).read_text("utf-8"))
    return Found([Row(**row) for row in value["rows"]], value["more"])


def _write(
    folder: RunFolder,
    lm: LanguageModel,
    title: str,
    found: Mapping[str, Found],
    shown: Shown,
    complete: bool,
    loading: float,
) -> None:
    rows = [row for one in found.values() for row in one.rows]
    names = [field.name for field in dataclasses.fields(Row)]
    table = pa.table({name: [getattr(row, name) for row in rows] for name in names})
    folder.write_table(store.ACCURACIES, table)
    for name, picture in shown.pictures.items():
        folder.write_bytes(f"{store.FIGURES}/{name}.svg", picture.svg)
        folder.write_bytes(f"{store.FIGURES}/{name}.png", picture.png)
    summary = provenance.about_program(lm, folder, complete, loading) | {
        "tasks": list(found),
        "sizes": skills_inputs.wanted(),
        "kind": skills_inputs.kind(),
        **shown.summary,
    }
    folder.write_json(store.SUMMARY, summary)
    sizes = ", ".join(f"{size or 'all'} {part}" for part, size in skills_inputs.wanted().items())
    rows_told = [
        ("Benchmark", f"MCEval8K, {len(found)} of {len(mceval8k.names())} tasks"),
        ("Prompts a task", f"{sizes}, or as many as there are, as many of each label"),
        ("Scores", KINDS[skills_inputs.kind()]),
        ("Site", page_parts.SITES[common.site(lm)]),
    ]
    sections = [
        report.Section("Unfinished", page_parts.unfinished(complete)) if not complete else None,
        *shown.sections,
        page_parts.run_section(summary, rows_told),
        page_parts.reproduce(summary),
    ]
    page = report.page(title, shown.lead, [section for section in sections if section is not None])
    folder.write_bytes(store.REPORT, page.encode())


KINDS = {
    "neurgrad": "NeurGrad of every label's probability",
    "cg": "the computed gradient of every label's probability",
    "cgxa": "the computed gradient of every label's probability, times the activation",
}
