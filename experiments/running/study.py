"""How a study runs, whatever it measures: settings, folder, measurements, results, report, status.

A study says what it measures and what that shows; everything else happens here, once: the folder
is opened to begin or to go on, groups are measured and saved, an interruption keeps what there is,
tables and summary.json are written before anything is drawn, and the program ends in the status
that says how it went.
"""

import abc
import functools
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import pyarrow as pa

from experiments.reporting import page_parts, templates
from experiments.reporting.report import Document, Section
from experiments.reporting.tables import Table, terminal_lines
from experiments.reporting.templates import Contents
from experiments.running import (
    common,
    documents,
    in_buckets,
    interrupts,
    many_hosts,
    pages,
    profiles,
    terminal,
)
from experiments.running.common import Work
from negjax.process.hosts import Hosts
from negjax.storage import store
from negjax.storage.store import ArraySpec, RunFolder

WIDTH, MOST_LINES = 100, 12
"""Of a lead in the terminal, in characters; of its table."""
TEMPLATE = "report.md"
"""Of a study's report, in its package."""


@dataclass(frozen=True, kw_only=True)
class Finished:
    """How far a study has come."""

    work: Sequence[Any]
    """What of it is finished."""
    complete: bool = True
    interrupted: bool = False

    @property
    def status(self) -> int:
        """Of the program."""
        return 130 if self.interrupted else 0 if self.complete else 1


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a study shows: in its report, and in the terminal."""

    contents: Contents
    headline: str
    """First line in the terminal; below it comes the report's lead."""
    printed: Table | None
    """Below that, its first lines."""
    measured: Sequence[tuple[str, str]] | None
    """What the numbers are about, between model and machine; None: there is no model."""
    before: Sequence[Section] = ()
    """Sections that come first, whatever the template says."""
    files: Sequence[str] = ()
    """Lines that say where other files than the report lie."""
    instead: str = ""
    """Of all that the template says below its title, where there is nothing to show."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What a study found."""

    tables: Mapping[str, pa.Table]
    """By the names of their files."""
    summary: Mapping[str, Any]
    report: Callable[[Mapping[str, Any]], Report]
    """Of the summary; called when tables and summary are safe."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study whose flags are read and whose inputs are there; nothing is measured yet."""

    name: str
    settings: Mapping[str, Any]
    """That its measurements depend on: a folder of others is not continued."""
    measure: Callable[[RunFolder], Finished]
    results: Callable[[RunFolder, Finished], Findings | None]
    """Of finished work; None: what is finished shows nothing yet."""
    arrays: Mapping[str, ArraySpec] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """Of the arrays: what they are to be read with."""
    template: Callable[[], str] | None = None
    """Of the report; default: `report.md` of the study's package."""


class Divisible(abc.ABC):
    """How a study measures that several processes may measure together."""

    @abc.abstractmethod
    def __call__(self, folder: RunFolder) -> Finished:
        """Measures all that is not finished yet, in one process."""

    @abc.abstractmethod
    def parts(self, folder: RunFolder) -> int:
        """How many there are to divide, finished or not."""

    @abc.abstractmethod
    def together(self, folder: RunFolder, hosts: Hosts) -> Finished:
        """Measures this process's share; process 0 then waits for the others and has all."""

    @abc.abstractmethod
    def in_step(self, folder: RunFolder, hosts: Hosts) -> Finished:
        """Measures all that is not finished yet, on a mesh of all processes' devices: each process
        runs the same programs in the same order, and process 0 saves what they find."""


@dataclass(frozen=True, kw_only=True)
class Groups:
    """Measures groups of work one after the other, each saved when it is finished."""

    work: Callable[[RunFolder], Sequence[Work]]
    unit: str
    """Of progress."""

    def __call__(self, folder: RunFolder) -> Finished:
        """Measures all that is not finished yet."""
        every = self.work(folder)
        complete = common.measure_all(folder, every, self.unit)
        if not complete:
            interrupts.say_interrupted(folder, len(every))
        finished = [item for item in every if item.name in folder.finished]
        return Finished(work=finished, complete=complete, interrupted=not complete)


class DivisibleGroups(Groups, Divisible):
    """Groups of which none needs what another has saved, and each fills whole chunks of arrays."""

    def parts(self, folder: RunFolder) -> int:
        """Groups that take time."""
        return sum(item.units > 0 for item in self.work(folder))

    def together(self, folder: RunFolder, hosts: Hosts) -> Finished:
        """Every so many-th group that was not finished when the folder was opened."""
        every = self.work(folder)
        todo = [item for item in every if item.name not in folder.finished]
        if not common.measure_all(folder, todo[hosts.index :: hosts.count], self.unit):
            raise KeyboardInterrupt
        many_hosts.gather(hosts, folder)
        return Finished(work=[item for item in every if item.name in folder.finished])

    def in_step(self, folder: RunFolder, hosts: Hosts) -> Finished:
        """Every group."""
        every = self.work(folder)
        if not common.measure_all(folder, every, self.unit):
            raise KeyboardInterrupt
        many_hosts.gather(hosts, folder)
        return Finished(work=every)


def measured(
    work: Callable[[RunFolder], Sequence[Work]], unit: str, *, divisible: bool = False
) -> Groups:
    """Measures groups of work, one after the other, each saved when it is finished.

    Args:
        unit: of progress.
        divisible: whether several processes may measure them (`DivisibleGroups`).
    """
    return (DivisibleGroups if divisible else Groups)(work=work, unit=unit)


def run(prepare: Callable[[], Study]) -> int:
    """Runs a study and shows what it found; returns the exit status of the program.

    Args:
        prepare: reads the flags, loads the inputs and refuses what cannot be measured.

    Raises:
        ValueError: input is at fault; the folder holds a run with other settings.
        OSError: the disk is full or failed; what was written before is kept.
    """
    with many_hosts.joined() as hosts:
        return _run(prepare(), hosts)


def _run(study: Study, hosts: Hosts) -> int:
    page = pages.page_file(study.name)
    settings = {"experiment": study.name, **study.settings}
    with many_hosts.opened(hosts, study.name, settings, study.arrays, study.attributes) as folder:
        terminal.stage("measure")
        with profiles.traced(hosts):
            finished = _measured(study, folder, hosts)
        if hosts.index != 0:
            hosts.hear("finished")
            return finished.status
        terminal.stage("analyse")
        results = study.results(folder, finished)
        if results is None:
            return finished.status
        finite = documents.write_results(folder, results.tables, results.summary)
        report = results.report(results.summary)
        document = _document(study, report, results.summary, finished)
        terminal.stage("draw")
        drawn = documents.write_report(folder, document, finite)
        if not hosts.alone:
            hosts.tell("finished", "")
    files = [*report.files, f"report: {in_buckets.shown(folder, store.REPORT)}"]
    if page is not None and finished.complete:
        documents.write_page(page, study.name, document, drawn)
        files.append(f"page: {page}")
    terminal.say("\n".join([*printed(report, document.lead), "", *files]))
    return finished.status


def _measured(study: Study, folder: RunFolder, hosts: Hosts) -> Finished:
    if hosts.alone:
        return study.measure(folder)
    if not isinstance(study.measure, Divisible):
        raise ValueError(f"--coordinator: one process alone measures {study.name}; leave it out")
    if many_hosts.in_step():
        return study.measure.in_step(folder, hosts)
    many_hosts.refuse_idle(hosts, study.measure.parts(folder))
    return study.measure.together(folder, hosts)


def main(prepare: Callable[[], Study]) -> None:
    """The program of a study: parses the flags, runs it and ends with its status."""
    common.run(functools.partial(run, prepare))


def template(name: str, file_name: str = TEMPLATE) -> str:
    """The template of a study's report, or of a part of it."""
    file = resources.files(f"experiments.{name}") / file_name
    return file.read_text(encoding="utf-8")


def printed(report: Report, lead: str) -> list[str]:
    """A report's lines for the terminal: what was measured, what was found, one table."""
    lines = [report.headline]
    if lead not in ("", report.headline):
        lines += ["", *textwrap.wrap(lead, WIDTH, break_long_words=False)]
    if report.printed is not None and report.printed.rows:
        lines += ["", *terminal_lines(report.printed, MOST_LINES)]
    return lines


def _document(
    study: Study, report: Report, summary: Mapping[str, Any], finished: Finished
) -> Document:
    text = study.template() if study.template is not None else template(study.name)
    if report.instead:
        title, _, _ = text.partition("\n")
        text = f"{title}\n\n{report.instead}"
    made = templates.document(text, report.contents)
    sections = [*report.before, *made.sections]
    if finished.interrupted:
        first = Section(sections[0].heading, [page_parts.UNFINISHED, *sections[0].blocks])
        sections = [first, *sections[1:]]
    if report.measured is not None:
        sections.append(page_parts.run_section(summary, report.measured))
    return Document(made.title, made.lead, [*sections, page_parts.reproduce(summary)])
