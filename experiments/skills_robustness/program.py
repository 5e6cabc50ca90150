"""The program: its flags, and what it measures of a task, asked in several ways."""

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from experiments.inputs import benchmark_flags, probe_flags
from experiments.running import common
from experiments.running.settings import define, recorded, setting
from experiments.running.study import Study
from experiments.skill_studies import inputs as skills_inputs
from experiments.skill_studies import probes as skills_probes
from experiments.skill_studies import rows as skills_rows
from experiments.skill_studies import study as skills_study
from experiments.skill_studies import transfer as skills_transfer
from experiments.skill_studies.inputs import Measured
from experiments.skill_studies.jobs import Job, Row, TaskResult
from experiments.skill_studies.probes import Answers
from experiments.skills_robustness import report as skills_robustness_report
from experiments.skills_robustness.results import AXES, FITTED
from negjax import mceval8k
from negjax.mceval8k.catalogue import LANGUAGES
from negjax.model.language_model import LanguageModel
from negjax.storage.store import RunFolder


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of this study alone."""

    axes: list[str] = setting(AXES, "What differs between the ways of asking.", choices=AXES)
    templates: list[str] = setting([], "Templates, by number. Default: all of a task.")
    shots_list: list[str] = setting(["0", "1", "2"], "Numbers of demonstrations a label.")
    languages: list[str] = setting(
        LANGUAGES, "Languages, in multilingual tasks.", choices=LANGUAGES
    )


FLAGS = define(Settings)


class Way(NamedTuple):
    """A way of asking a task."""

    template: int
    shots: int
    language: str | None = None
    """Of the items; None: of all languages."""


Ways = Mapping[str, Mapping[str, Way]]
"""By axis, and by name: `template 0`, `shots 2`, `language de`."""


def prepare() -> Study:
    """Reads the flags and loads what they name."""
    settings, probes = FLAGS.read(), probe_flags.read(FITTED)
    axes, languages = settings.axes, settings.languages
    taught = [name for name in FITTED if name != "lm_prob"]
    if not set(taught) & set(probes.fitted):
        raise ValueError(
            f"--fitted={','.join(probes.fitted)}: expected at least one probe that is taught: "
            f"{', '.join(taught)}"
        )
    templates, shots = _integers("templates"), _integers("shots_list")
    for axis, name in (
        ("template", "templates"),
        ("shots", "shots_list"),
        ("language", "languages"),
    ):
        values = FLAGS[name].value
        if axis in axes and len(values) < 2 and (values or axis != "template"):
            raise ValueError(
                f"--{name}={','.join(values)}: expected two or more to compare, or --axes without "
                f"{axis}"
            )
    best = skills_transfer.FLAGS.read()

    def jobs() -> list[Job]:
        every = []
        for name in benchmark_flags.tasks():
            ways = ways_of(name, axes, templates, shots, languages)
            if any(ways.values()):
                every.append(_job(name, ways, probes, best.best_neurons))
        if not every:
            raise ValueError(
                f"--axes={','.join(axes)}: none of the tasks is asked in several such ways"
            )
        return every

    return skills_study.of_tasks(
        "skills_robustness",
        recorded(settings)
        | {"templates": templates, "shots_list": shots}
        | recorded(probes)
        | recorded(best),
        jobs,
        skills_robustness_report.findings,
    )


def ways_of(
    name: str,
    axes: Sequence[str],
    templates: Sequence[int],
    shots: Sequence[int],
    languages: Sequence[str],
) -> Ways:
    """The ways in which a task is asked, by axis; axes with fewer than two of them are left out.

    Args:
        templates: numbers; none: all that the task has.
    """
    wording = skills_inputs.FLAGS.read()
    numbers = templates or range(mceval8k.template_count(name))
    known = languages if mceval8k.TASKS[name].language is not None else ()
    every = {
        "template": {f"template {n}": Way(n, wording.shots) for n in numbers},
        "shots": {f"shots {n}": Way(wording.template, n) for n in shots},
        "language": {f"language {x}": Way(wording.template, wording.shots, x) for x in known},
    }
    return {axis: every[axis] for axis in axes if len(every[axis]) > 1}


def transfers(
    measured: Mapping[str, Mapping[str, Measured]], fitted: Sequence[str], trees: int, shared: int
) -> TaskResult:
    """Probes of each way tested on each other way, axis by axis.

    Args:
        measured: by axis, and by the way's name; the same object where ways are the same.
        fitted: names of the probes.
        trees: of the forest.
        shared: k: so many best neurons are compared.

    Raises:
        ValueError: ways that differ in their labels' number; too few training prompts to halve.
    """
    fit = skills_probes.fitters(trees)
    answers: dict[tuple[int, str], Answers] = {}
    rows: list[Row] = []
    losses: dict[str, dict[str, Any]] = {}
    for axis, ways in measured.items():
        losses[axis] = {}
        for name in fitted:
            for way in ways.values():
                if (id(way), name) not in answers:
                    answers[id(way), name] = fit[name](way)
            right, cells = _matrix(name, ways, answers)
            rows += cells
            if name != "lm_prob":
                losses[axis][name] = skills_transfer.mean_interval(
                    _losses(right, joined=axis != "language"), common.seed()
                )
    shares = {
        axis: skills_transfer.shared(list(ways.values()), shared) for axis, ways in measured.items()
    }
    more = {
        "ways": {axis: list(ways) for axis, ways in measured.items()},
        "labels": {
            name: list(way.task.labels) for ways in measured.values() for name, way in ways.items()
        },
        "losses": losses,
        "shared": shares,
    }
    return TaskResult(rows=rows, more=more)


def _job(name: str, ways: Ways, probes: probe_flags.Settings, best: int) -> Job:
    different = tuple(dict.fromkeys(way for some in ways.values() for way in some.values()))
    key, prompts, tested = hashlib.sha256(), 0, set()
    for way in different:
        # One after the other, and none is kept: all tasks in all ways take gigabytes.
        task = _load(name, way)
        key.update(repr((tuple(way), task.key)).encode())
        prompts += skills_inputs.prompts_of(task, language=way.language)
        if way.language is None:
            items = skills_inputs.items_of(task, "test")
            tested.add((len(task.labels), tuple(item.row for item in items)))
    if len(tested) > 1:
        raise ValueError(
            f"{name}: its templates or numbers of demonstrations do not ask the same test items "
            "with labels in the same order; they cannot be compared"
        )
    return Job(
        task=name,
        key=key.hexdigest(),
        prompts=prompts,
        measure=functools.partial(_measure, name, ways, probes, best),
    )


def _load(name: str, way: Way) -> mceval8k.Task:
    return skills_inputs.load(name, shots=way.shots, template=way.template)


def _measure(
    name: str,
    ways: Ways,
    probes: probe_flags.Settings,
    best: int,
    lm: LanguageModel,
    folder: RunFolder,
) -> TaskResult:
    del folder  # Forests of every way would be hundreds of files.
    by_way: dict[Way, Measured] = {}
    for way in (way for some in ways.values() for way in some.values()):
        if way not in by_way:
            task = _load(name, way)
            by_way[way] = skills_inputs.measure(lm, task, language=way.language)
    measured = {
        axis: {title: by_way[way] for title, way in some.items()} for axis, some in ways.items()
    }
    result = transfers(measured, probes.fitted, probes.trees, best)
    more = {
        **result.more,
        "genre": mceval8k.TASKS[name].genre,
        "total": lm.config.layers * lm.config.neurons,
        "k": best,
    }
    return TaskResult(rows=result.rows, more=more, about=[way.about for way in by_way.values()])


def _matrix(
    name: str, ways: Mapping[str, Measured], answers: Mapping[tuple[int, str], Answers]
) -> tuple[dict[tuple[str, str], np.ndarray], list[Row]]:
    """Which test prompts each way's probe answers right, [B] by source and target, and the rows."""
    right, rows = {}, []
    for target, tested in ways.items():
        test = tested.parts["test"]
        for source, taught in ways.items():
            answered = answers[id(taught), name]
            if source != target and answered.fitted is None:
                continue  # The model's own answers were not taught anything.
            predicted = answered.predicted["test"]
            if source != target and answered.fitted is not None:
                predicted = skills_transfer.ask(answered.fitted, test)
            right[source, target] = predicted == test.gold
            rows.append(
                skills_rows.row(
                    *(tested, "test", predicted),
                    probe=name,
                    neurons=answered.neurons,
                    trained=len(taught.parts["train"]),
                    trees=answered.trees,
                    source=source,
                    target=target,
                )
            )
    return right, rows


def _losses(right: Mapping[tuple[str, str], np.ndarray], joined: bool) -> list[np.ndarray]:
    """What each test prompt loses [B], on average over sources, where the probe is another way's.

    Args:
        joined: whether the prompts of all targets are the same items: then they are averaged.
    """
    names = list(dict.fromkeys(target for _, target in right))
    each = [
        np.mean([1.0 * right[t, t] - right[s, t] for s in names if s != t], axis=0) for t in names
    ]
    return [np.mean(each, axis=0)] if joined else each


def _integers(name: str) -> list[int]:
    """Numbers of a flag of this study, as they stand.

    Raises:
        ValueError: something that is no number from 0, or a number twice.
    """
    words = FLAGS[name].value
    numbers = [int(word) for word in words if word.isascii() and word.isdigit()]
    if len(set(numbers)) < len(words):
        raise ValueError(f"--{name}={','.join(words)}: expected numbers from 0, each once")
    return numbers
