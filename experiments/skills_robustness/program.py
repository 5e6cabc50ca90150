"""The program: its flags, what it measures, how it goes on after an interruption."""

import functools
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from absl import flags

from experiments.inputs import benchmark_flags, probe_flags
from experiments.running import common, flag_lists
from experiments.skill_studies import inputs as skills_inputs
from experiments.skill_studies import probes as skills_probes
from experiments.skill_studies import study as skills_study
from experiments.skill_studies import transfer as skills_transfer
from experiments.skill_studies.inputs import Measured, Progress
from experiments.skill_studies.jobs import Found, Job, Row
from experiments.skill_studies.probes import Answers
from experiments.skills_robustness import page as skills_robustness_page
from experiments.skills_robustness.results import AXES, PROBES
from negjax import mceval8k
from negjax.mceval8k.catalogue import LANGUAGES
from negjax.model.language_model import LanguageModel
from negjax.storage.store import RunFolder

_AXES = flags.DEFINE_list("axes", list(AXES), "In what the ways of asking differ.")
_TEMPLATES = flags.DEFINE_list(
    "templates", [], "Numbers of templates. Default: all that there are."
)
_SHOTS = flags.DEFINE_list("shots_list", ["0", "1", "2"], "Numbers of demonstrations a label.")
_LANGUAGES = flags.DEFINE_list("languages", list(LANGUAGES), "Languages, in multilingual tasks.")


class Way(NamedTuple):
    """A way of asking a task."""

    template: int
    shots: int
    language: str | None = None
    """Of the items; None: of all languages."""


Ways = Mapping[str, Mapping[str, Way]]
"""By axis, and by name: `template 0`, `shots 2`, `language de`."""


def main() -> int:
    """Measures, fits, and writes accuracies, figures and report."""
    axes = flag_lists.names(_AXES, AXES)
    fitted = probe_flags.wanted(PROBES)
    taught = [name for name in PROBES if name != "lm_prob"]
    if not set(taught) & set(fitted):
        raise ValueError(
            f"--fitted={','.join(fitted)}: expected at least one probe that is taught: "
            f"{', '.join(taught)}"
        )
    languages = flag_lists.names(_LANGUAGES, LANGUAGES)
    shots, templates = _integers(_SHOTS), _integers(_TEMPLATES)
    for axis, flag in (("template", _TEMPLATES), ("shots", _SHOTS), ("language", _LANGUAGES)):
        if axis in axes and len(flag.value) < 2 and (flag.value or axis != "template"):
            raise ValueError(
                f"--{flag.name}={','.join(flag.value)}: expected two or more to compare, or "
                f"--axes without {axis}"
            )
    settings = {
        "axes": axes,
        "templates": templates,
        "shots_list": shots,
        "languages": languages,
        "fitted": fitted,
        "trees": probe_flags.trees(),
        "best_neurons": skills_transfer.compared(),
    }

    def jobs() -> list[Job]:
        found = []
        for name in benchmark_flags.tasks():
            ways = ways_of(name, axes, templates, shots, languages)
            if any(ways.values()):
                found.append(_job(name, ways, fitted))
        if not found:
            raise ValueError(
                f"--axes={','.join(axes)}: none of the tasks is asked in several such ways"
            )
        return found

    show = skills_robustness_page.show
    return skills_study.run("skills_robustness", skills_robustness_page.TITLE, settings, jobs, show)


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
    template, demonstrations = skills_inputs.asked()
    numbers = templates or range(mceval8k.template_count(name))
    known = languages if mceval8k.TASKS[name].language is not None else ()
    every = {
        "template": {f"template {n}": Way(n, demonstrations) for n in numbers},
        "shots": {f"shots {n}": Way(template, n) for n in shots},
        "language": {f"language {x}": Way(template, demonstrations, x) for x in known},
    }
    return {axis: every[axis] for axis in axes if len(every[axis]) > 1}


def transfers(
    measured: Mapping[str, Mapping[str, Measured]], fitted: Sequence[str], trees: int, shared: int
) -> Found:
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
            right, found = _matrix(name, ways, answers)
            rows += found
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
    return Found(rows, more)


def _job(name: str, ways: Ways, fitted: Sequence[str]) -> Job:
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
    return Job(name, key.hexdigest(), prompts, functools.partial(_measure, name, ways, fitted))


def _load(name: str, way: Way) -> mceval8k.Task:
    return skills_inputs.load(name, shots=way.shots, template=way.template)


def _measure(
    name: str,
    ways: Ways,
    fitted: Sequence[str],
    lm: LanguageModel,
    folder: RunFolder,
    progress: Progress,
) -> Found:
    del folder  # Forests of every way would be hundreds of files.
    asked: dict[Way, Measured] = {}
    for way in (way for some in ways.values() for way in some.values()):
        if way not in asked:
            task = _load(name, way)
            asked[way] = skills_inputs.measure(lm, task, progress, language=way.language)
    measured = {
        axis: {told: asked[way] for told, way in some.items()} for axis, some in ways.items()
    }
    found = transfers(measured, fitted, probe_flags.trees(), skills_transfer.compared())
    about = {
        "genre": mceval8k.TASKS[name].genre,
        "total": lm.config.layers * lm.config.neurons,
        "k": skills_transfer.compared(),
    }
    return Found(found.rows, {**found.more, **about}, [one.asked for one in asked.values()])


def _matrix(
    name: str, ways: Mapping[str, Measured], answers: Mapping[tuple[int, str], Answers]
) -> tuple[dict[tuple[str, str], np.ndarray], list[Row]]:
    """Which test prompts each way's probe answers right, [B] by source and target, and the rows."""
    right, rows = {}, []
    for target, asked in ways.items():
        test = asked.parts["test"]
        for source, taught in ways.items():
            own = answers[id(taught), name]
            if source != target and own.fitted is None:
                continue  # The model's own answers were not taught anything.
            predicted = own.predicted["test"]
            if source != target and own.fitted is not None:
                predicted = skills_transfer.ask(own.fitted, test)
            right[source, target] = predicted == test.gold
            rows.append(
                skills_study.row(
                    *(asked, "test", predicted),
                    probe=name,
                    neurons=own.neurons,
                    trained=len(taught.parts["train"]),
                    trees=own.trees,
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


def _integers(flag: flag_lists.ListFlag) -> list[int]:
    """A flag's numbers, as they stand.

    Raises:
        ValueError: something that is no number from 0, or a number twice.
    """
    known = [word for word in flag.value if word.isascii() and word.isdigit()]
    found = [int(word) for word in known]
    if len(set(found)) < len(flag.value):
        raise ValueError(
            f"--{flag.name}={','.join(flag.value)}: expected numbers from 0, each once"
        )
    return found
