"""How much of a task a model's neurons know: accuracies of probes, without test items in training.

    python -m experiments.skills --root=DIRECTORY \\
        --flagfile=experiments/flagfiles/skills_quick.flags

Time on 2 cores with the embedded model: about 0.12 s a prompt and a minute a task and split for the
probes; skills_quick.flags (one task) under 3 minutes, skills_full.flags (22 tasks, both splits)
3 hours and 12 GB of disk. Expected: of the 22 tasks, Linear beats the model's own answers (LM-Prob)
in half, Polar in few. Source: Zhao, Jiang, Yoshinaga, *Neuron Empirical Gradient*, ACL 2025,
arXiv 2412.18053.

Numbers of neurons and strengths of penalties are chosen on valid; test is looked at once.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence

from absl import flags

from experiments import (
    benchmark_flags,
    common,
    flag_lists,
    skills_inputs,
    skills_page,
    skills_probes,
    skills_study,
)
from experiments.skills_inputs import Measured, Progress
from experiments.skills_probes import Answers
from experiments.skills_study import Found, Job, Row
from negjax import mceval8k, skills, store
from negjax.language_model import LanguageModel
from negjax.mceval8k.benchmark import Split
from negjax.store import RunFolder

_SPLITS = flags.DEFINE_list(
    "splits",
    ["disjoint", "original"],
    "disjoint: no text in two parts; original: the published parts, whose test items leak.",
)


def main() -> int:
    """Measures, fits, and writes accuracies, fitted probes, figures and report."""
    splits = flag_lists.names(_SPLITS, ("disjoint", "original"))
    fitted = skills_probes.wanted(skills_page.PROBES)
    settings = {"splits": splits, "fitted": fitted, "trees": skills_probes.trees()}

    def jobs() -> list[Job]:
        return [_job(name, splits, fitted) for name in benchmark_flags.tasks()]

    return skills_study.run("skills", skills_page.TITLE, settings, jobs, skills_page.show)


def _job(name: str, splits: Sequence[str], fitted: Sequence[str]) -> Job:
    tasks = [skills_inputs.load(name, _split(split)) for split in splits]
    return Job(
        name,
        "".join(task.key[:8] for task in tasks),
        sum(map(skills_inputs.prompts_of, tasks)),
        functools.partial(_measure, tasks, fitted),
    )


def _split(name: str) -> Split:
    return "original" if name == "original" else "disjoint"


def _measure(
    tasks: Sequence[mceval8k.Task],
    fitted: Sequence[str],
    lm: LanguageModel,
    folder: RunFolder,
    progress: Progress,
) -> Found:
    rows: list[Row] = []
    layers = {}
    for task in tasks:
        measured = skills_inputs.measure(lm, task, progress)
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
                answers.fitted.save(path / f"{task.name}_{task.split}_{name}.safetensors")
            if task.split == "disjoint" and isinstance(answers.fitted, skills.ScoreProbe):
                explained = skills.explain(answers.fitted, (lm.config.layers, lm.config.neurons))
                layers[name] = explained.per_layer.tolist()
    return Found(rows, {"layers": layers, "notes": list(tasks[0].notes), "genre": tasks[0].genre})


def _answers(measured: Measured, fitted: Sequence[str]) -> Iterator[tuple[str, Answers]]:
    """What each probe predicts; Random has as many neurons as Polar."""
    fitters: Mapping[str, Callable[[Measured], Answers]] = {
        "lm_prob": skills_probes.lm_prob_answers,
        "majority": skills_probes.majority_answers,
        "magn": functools.partial(skills_probes.voting_answers, rule="magn"),
        "act": skills_probes.act_answers,
        "tree": functools.partial(skills_probes.tree_answers, trees=skills_probes.trees()),
        "linear": skills_probes.linear_answers,
    }
    polar = None
    if {"random", "polar"} & set(fitted):
        polar = skills_probes.voting_answers(measured, "polar")
    for name in fitted:
        if name == "polar" and polar is not None:
            yield name, polar
        elif name == "random" and polar is not None and polar.neurons is not None:
            yield name, skills_probes.random_answers(measured, polar.neurons)
        else:
            yield name, fitters[name](measured)


if __name__ == "__main__":
    common.run(main)
