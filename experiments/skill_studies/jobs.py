"""The tasks of a study of skill neurons: measured one by one, saved, and read again.

A task's results are a JSON file with its own digest. One that is not as it was written is measured
again.
"""

import dataclasses
import functools
import json
import time
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from experiments.running import common, in_buckets, interrupts, many_hosts, measuring, terminal
from experiments.running.study import Divisible, Finished
from negjax.model.language_model import LanguageModel
from negjax.process.hosts import Hosts
from negjax.storage import run_settings, store
from negjax.storage.store import RunFolder
from negjax.storage.whole_files import read_json

DIGEST = "sha256"
"""Of all else that a task's file holds."""


@dataclasses.dataclass(frozen=True, kw_only=True)
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

    @property
    def half(self) -> float:
        """Half the interval."""
        return (self.high - self.low) / 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskResult:
    """What a study measured of a task."""

    rows: Sequence[Row]
    more: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Further results, as JSON values."""
    about: Sequence[Mapping[str, Any]] = ()
    """Each way in which the task was asked (`inputs.Measured.about`)."""


Results = Mapping[str, TaskResult]
"""Of the finished tasks, by name, in the order of the study's jobs."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """A task of a study. It holds no items: those of all tasks together take much memory."""

    task: str
    key: str
    """SHA-256 of its prompts, in all ways in which they are asked (`mceval8k.Task.key`)."""
    prompts: int
    measure: Callable[[LanguageModel, RunFolder], TaskResult]
    others: str = ""
    """SHA-256 of the prompts of other tasks that its results depend on, if there are any."""
    without: Callable[[Collection[str]], "Job"] | None = None
    """The job where some of those could not be measured."""

    @property
    def group(self) -> str:
        """Name in the run's folder: the task, and the start of its keys."""
        return " ".join([self.task, *(key[:16] for key in (self.key, self.others) if key)])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What has become of a task: its result, or why it could not be measured."""

    task: str
    result: TaskResult | None = None
    failure: str | None = None


def refuse_other_prompts(folder: RunFolder, jobs: Sequence[Job]) -> None:
    """Refuses tasks that are finished in the folder with other prompts: theirs are its probes.

    Raises:
        ValueError: there are some; the message names them.
    """
    before = {task: key for task, key, *_ in map(str.split, folder.finished)}
    differing = [
        f"the prompts of {job.task} are not the same"
        for job in jobs
        if before.get(job.task, job.key[:16]) != job.key[:16]
    ]
    if differing:
        raise ValueError(
            f"{in_buckets.shown(folder)} holds a run with other settings "
            f"({'; '.join(differing)}); pass another --output, or --overwrite to discard it"
        )


def measure_all(
    folder: RunFolder, lm: LanguageModel, jobs: Sequence[Job], unfinished: bool = False
) -> Finished:
    """Measures what is not finished yet, saving each task; a task that fails is named, and the
    others continue. The work of what it returns are `Outcome`s.

    Args:
        unfinished: none of them is finished, whatever this machine sees of the folder.
    """
    results: dict[str, TaskResult] = {}
    failed: dict[str, str] = {}
    interrupted = False
    saved = {job.group: None if unfinished else _read(folder, job) for job in jobs}
    todo = [job for job in jobs if saved[job.group] is None]
    with measuring.shown(sum(job.prompts for job in todo), "prompt") as progress:
        for planned in jobs:
            job = planned.without(failed) if planned.without is not None else planned
            result = saved[job.group] if job.group in saved else _read(folder, job)
            if result is None and not interrupted:
                try:
                    progress.name(job.task)
                    work = functools.partial(_measure, folder, lm, job)
                    result = progress.group(job.prompts, work, rows_a_unit=1)
                except KeyboardInterrupt:
                    interrupted = True
                except ValueError as error:
                    failed[job.task] = str(error)
                    _say_failed(job.task, error)
            if result is not None:
                results[job.task] = result
    if interrupted:
        terminal.note(
            f"interrupted: {len(results)} of {len(jobs)} tasks are saved in "
            f"{in_buckets.shown(folder)}, and features of the next one; the same command goes on "
            f"from there; {interrupts.AGAIN}"
        )
    if failed:
        names = ", ".join(failed)
        terminal.note(f"{len(failed)} of {len(jobs)} tasks could not be measured: {names}")
    return Finished(
        work=[
            *(Outcome(task=task, result=result) for task, result in results.items()),
            *(Outcome(task=task, failure=reason) for task, reason in failed.items()),
        ],
        complete=not failed and not interrupted,
        interrupted=interrupted,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tasks:
    """Measures the tasks of a study one after the other."""

    lm: LanguageModel
    jobs: Sequence[Job]

    def __call__(self, folder: RunFolder) -> Finished:
        """Measures all that are not finished yet."""
        refuse_other_prompts(folder, self.jobs)
        return measure_all(folder, self.lm, self.jobs)


class DivisibleTasks(Tasks, Divisible):
    """Tasks of which none depends on another: several processes measure some of them each."""

    def parts(self, folder: RunFolder) -> int:
        """Tasks, finished or not."""
        del folder
        return len(self.jobs)

    def together(self, folder: RunFolder, hosts: Hosts) -> Finished:
        """Every so many-th task that was not finished when the folder was opened."""
        todo = self._unfinished(folder, hosts)
        share = measure_all(folder, self.lm, todo[hosts.index :: hosts.count], unfinished=True)
        if share.interrupted:
            raise KeyboardInterrupt
        failed = {done.task: done.failure for done in share.work if done.failure is not None}
        hosts.tell(f"failed/{hosts.index}", json.dumps(failed))
        many_hosts.gather(hosts, folder)
        for other in range(hosts.count):
            failed |= json.loads(hosts.hear(f"failed/{other}"))
        return self._gathered(folder, failed)

    def in_step(self, folder: RunFolder, hosts: Hosts) -> Finished:
        """Every task that was not finished when the folder was opened."""
        todo = self._unfinished(folder, hosts)
        share = measure_all(folder, self.lm, todo, unfinished=True)
        if share.interrupted:
            raise KeyboardInterrupt
        many_hosts.gather(hosts, folder)
        if not folder.writes:
            return share
        failed = {done.task: done.failure for done in share.work if done.failure is not None}
        return self._gathered(folder, failed)

    def _gathered(self, folder: RunFolder, failed: Mapping[str, str]) -> Finished:
        """All tasks, whoever has saved them; of those that failed, why."""
        found = [Outcome(task=job.task, result=_read(folder, job)) for job in self.jobs]
        return Finished(
            work=[
                *(outcome for outcome in found if outcome.result is not None),
                *(Outcome(task=task, failure=reason) for task, reason in failed.items()),
            ],
            complete=not failed,
        )

    def _unfinished(self, folder: RunFolder, hosts: Hosts) -> list[Job]:
        """Tasks that are to be measured, as process 0 says: a disk of the network may show others
        an older state."""
        refuse_other_prompts(folder, self.jobs)

        def names() -> str:
            return json.dumps([job.group for job in self.jobs if _read(folder, job) is None])

        unfinished = json.loads(hosts.agreed("unfinished", names))
        return [job for job in self.jobs if job.group in unfinished]


def _measure(folder: RunFolder, lm: LanguageModel, job: Job) -> TaskResult:
    start = time.perf_counter()
    result = job.measure(lm, folder)
    value = {
        "group": job.group,
        "rows": [dataclasses.asdict(row) for row in result.rows],
        "more": result.more,
        "asked": result.about,
    }
    # As it will be read: what is shown does not depend on whether a run was interrupted.
    value = json.loads(json.dumps(value))
    folder.write_json(_file(job), {**value, DIGEST: run_settings.settings_key(value)})
    folder.save(job.group, (), {}, time.perf_counter() - start)
    return _result(value)


def _say_failed(task: str, error: ValueError) -> None:
    if common.FLAGS["traceback"].value:
        traceback.print_exception(error)
    terminal.note(f"{task} could not be measured: {error}")


def _file(job: Job) -> str:
    return f"{store.TASKS}/{job.group.replace(' ', '-')}.json"


def _read(folder: RunFolder, job: Job) -> TaskResult | None:
    """What was saved of a task; None if it is not finished, or its file not as it was written."""
    if job.group not in folder.finished:
        return None
    file = folder.path / _file(job)
    try:
        value = read_json(file)
        whole = value.pop(DIGEST, None) == run_settings.settings_key(value)
    except ValueError:
        whole = False
    if whole and value["group"] == job.group:
        return _result(value)
    terminal.note(f"{file} is missing or damaged: {job.task} is measured again")
    return None


def _result(value: Mapping[str, Any]) -> TaskResult:
    return TaskResult(
        rows=[Row(**row) for row in value["rows"]], more=value["more"], about=value["asked"]
    )
