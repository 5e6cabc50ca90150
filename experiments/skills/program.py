"""The program: its flags, and what it measures of a task."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from experiments.inputs import benchmark_flags, probe_flags
from experiments.running.settings import define, recorded, setting
from experiments.running.study import Study
from experiments.skill_studies import inputs as skills_inputs
from experiments.skill_studies import probes as skills_probes
from experiments.skill_studies import rows as skills_rows
from experiments.skill_studies import study as skills_study
from experiments.skill_studies.accuracies import PROBES
from experiments.skill_studies.inputs import Measured
from experiments.skill_studies.jobs import Job, Row, TaskResult
from experiments.skill_studies.probes import Answers
from experiments.skills import report as skills_report
from negjax import mceval8k, skills
from negjax.mceval8k.benchmark import Split
from negjax.model.language_model import LanguageModel
from negjax.storage import store
from negjax.storage.store import RunFolder


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of this study alone."""

    splits: list[str] = setting(
        ["disjoint", "original"],
        "disjoint: no text in two parts; original: the published parts, whose test items leak.",
        choices=["disjoint", "original"],
    )


FLAGS = define(Settings)


def prepare() -> Study:
    """Reads the flags and loads what they name."""
    settings, probes = FLAGS.read(), probe_flags.read(PROBES)
    splits = [cast(Split, split) for split in settings.splits]
    return skills_study.of_tasks(
        "skills",
        recorded(settings) | recorded(probes),
        lambda: [_job(name, splits, probes) for name in benchmark_flags.tasks()],
        skills_report.findings,
    )


def _job(name: str, splits: Sequence[Split], probes: probe_flags.Settings) -> Job:
    keys, prompts = [], 0
    for split in splits:
        task = skills_inputs.load(name, split)
        keys.append(task.key)
        prompts += skills_inputs.prompts_of(task)
    return Job(
        task=name,
        key=skills_inputs.joined(keys),
        prompts=prompts,
        measure=functools.partial(_measure, name, splits, probes),
    )


def _measure(
    task: str,
    splits: Sequence[Split],
    probes: probe_flags.Settings,
    lm: LanguageModel,
    folder: RunFolder,
) -> TaskResult:
    rows: list[Row] = []
    layers, about = {}, []
    for split in splits:
        measured = skills_inputs.measure(lm, skills_inputs.load(task, split))
        about.append(measured.about)
        for name, answers in _answers(measured, probes):
            rows += [
                skills_rows.row(
                    *(measured, part, answers.predicted[part]),
                    probe=name,
                    neurons=answers.neurons,
                    trees=answers.trees,
                )
                for part in measured.parts
            ]
            if answers.fitted is not None and folder.writes:
                path = folder.path / store.SAVED_PROBES
                path.mkdir(exist_ok=True)
                answers.fitted.save(path / f"{task}_{split}_{name}.safetensors")
            if split == "disjoint" and isinstance(answers.fitted, skills.ScoreProbe):
                explained = skills.explain(answers.fitted, (lm.config.layers, lm.config.neurons))
                layers[name] = explained.per_layer.tolist()
    more = {"layers": layers, "genre": mceval8k.TASKS[task].genre}
    return TaskResult(rows=rows, more=more, about=about)


def _answers(measured: Measured, probes: probe_flags.Settings) -> Iterator[tuple[str, Answers]]:
    """What each probe predicts; Random has as many neurons as Polar."""
    fit = skills_probes.fitters(probes.trees)
    polar = None
    if {"random", "polar"} & set(probes.fitted):
        polar = fit["polar"](measured)
    for name in probes.fitted:
        if name == "polar" and polar is not None:
            yield name, polar
        elif name == "random" and polar is not None and polar.neurons is not None:
            yield name, skills_probes.random_answers(measured, polar.neurons)
        else:
            yield name, fit[name](measured)
