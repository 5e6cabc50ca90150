"""The program: its flags, what it measures, how it goes on after an interruption."""

import functools
from collections.abc import Iterator, Sequence

from absl import flags

from experiments.inputs import benchmark_flags, probe_flags
from experiments.running import flag_lists
from experiments.skill_studies import inputs as skills_inputs
from experiments.skill_studies import page as skills_page
from experiments.skill_studies import probes as skills_probes
from experiments.skill_studies import study as skills_study
from experiments.skill_studies.inputs import Measured, Progress
from experiments.skill_studies.jobs import Found, Job, Row
from experiments.skill_studies.probes import Answers
from negjax import mceval8k, skills
from negjax.mceval8k.benchmark import Split
from negjax.model.language_model import LanguageModel
from negjax.storage import store
from negjax.storage.store import RunFolder

_SPLITS = flags.DEFINE_list(
    "splits",
    ["disjoint", "original"],
    "disjoint: no text in two parts; original: the published parts, whose test items leak.",
)


def main() -> int:
    """Measures, fits, and writes accuracies, fitted probes, figures and report."""
    splits = flag_lists.names(_SPLITS, ("disjoint", "original"))
    fitted = probe_flags.wanted(skills_page.PROBES)
    settings = {"splits": splits, "fitted": fitted, "trees": probe_flags.trees()}

    def jobs() -> list[Job]:
        return [_job(name, splits, fitted) for name in benchmark_flags.tasks()]

    return skills_study.run("skills", skills_page.TITLE, settings, jobs, skills_page.show)


def _job(name: str, splits: Sequence[str], fitted: Sequence[str]) -> Job:
    keys, prompts = [], 0
    for split in splits:
        task = skills_inputs.load(name, _split(split))
        keys.append(task.key)
        prompts += skills_inputs.prompts_of(task)
    key = skills_inputs.joined(keys)
    return Job(name, key, prompts, functools.partial(_measure, name, splits, fitted))


def _split(name: str) -> Split:
    return "original" if name == "original" else "disjoint"


def _measure(
    task: str,
    splits: Sequence[str],
    fitted: Sequence[str],
    lm: LanguageModel,
    folder: RunFolder,
    progress: Progress,
) -> Found:
    rows: list[Row] = []
    layers, asked = {}, []
    for split in splits:
        measured = skills_inputs.measure(lm, skills_inputs.load(task, _split(split)), progress)
        asked.append(measured.asked)
        for name, answers in _answers(measured, fitted):
            rows += [
                skills_study.row(
                    *(measured, part, answers.predicted[part]),
                    probe=name,
                    neurons=answers.neurons,
                    trees=answers.trees,
                )
                for part in measured.parts
            ]
            if answers.fitted is not None:
                path = folder.path / store.SAVED_PROBES
                path.mkdir(exist_ok=True)
                answers.fitted.save(path / f"{task}_{split}_{name}.safetensors")
            if split == "disjoint" and isinstance(answers.fitted, skills.ScoreProbe):
                explained = skills.explain(answers.fitted, (lm.config.layers, lm.config.neurons))
                layers[name] = explained.per_layer.tolist()
    return Found(rows, {"layers": layers, "genre": mceval8k.TASKS[task].genre}, asked)


def _answers(measured: Measured, fitted: Sequence[str]) -> Iterator[tuple[str, Answers]]:
    """What each probe predicts; Random has as many neurons as Polar."""
    fit = skills_probes.fitters(probe_flags.trees())
    polar = None
    if {"random", "polar"} & set(fitted):
        polar = fit["polar"](measured)
    for name in fitted:
        if name == "polar" and polar is not None:
            yield name, polar
        elif name == "random" and polar is not None and polar.neurons is not None:
            yield name, skills_probes.random_answers(measured, polar.neurons)
        else:
            yield name, fit[name](measured)
