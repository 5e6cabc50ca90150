"""What the studies of skill neurons share: flags, and the features of a task's prompts.

Features are the expensive part. They lie in one folder, by a hash of all that they depend on, so
that a study reads what another one measured, and a run that was killed continues where it was.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import jax

from experiments.inputs import benchmark_flags
from experiments.running import common, messages
from experiments.running.settings import define, setting
from negjax import mceval8k, skills
from negjax.mceval8k.benchmark import Split
from negjax.model.language_model import LanguageModel
from negjax.process import memory
from negjax.skills.features.feature_streams import Kind

PARTS = ("train", "valid", "test")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Which prompts of a task, how they are asked, and where their features lie."""

    features: str = setting(
        "runs/skills_features",
        "Folder of the prompts' features, for all studies: what one measured another reads. A "
        "prompt of the embedded model takes 0.2 to 0.3 MB. Processes that measure in step share "
        "it.",
    )
    train: int = setting(600, "Training prompts a task; 0: all that there are.", least=0)
    valid: int = setting(
        100,
        "Prompts a task that choose numbers of neurons and strengths of penalties; 0: all that "
        "there are.",
        least=0,
    )
    test: int = setting(400, "Test prompts a task; 0: all that there are.", least=0)
    kind: str = setting(
        "neurgrad",
        "Scores of neurons: NeurGrad, the computed gradient, or that times the activation.",
        choices=["neurgrad", "cg", "cgxa"],
    )
    shots: int = setting(1, "Demonstrations a label.", least=0)
    template: int = setting(0, "Template, by number, of the prompts.", least=0)

    @property
    def sizes(self) -> dict[str, int]:
        """Prompts of each part; 0: all."""
        return {part: getattr(self, part) for part in PARTS}

    @property
    def recorded(self) -> dict[str, Any]:
        """What results depend on, for the run's folder."""
        names = ("kind", "sizes", "template", "shots")
        return {name: getattr(self, name) for name in names}


FLAGS = define(Settings)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A task's prompts with their features."""

    task: mceval8k.Task
    parts: Mapping[str, skills.Features]
    about: Mapping[str, Any]
    """How it was asked, as results record it (`about_task`)."""

    @property
    def labels(self) -> int:
        """K."""
        return len(self.task.labels)


def load(
    name: str, split: Split = "disjoint", shots: int | None = None, template: int | None = None
) -> mceval8k.Task:
    """A task, asked as the flags say where no argument does."""
    settings = FLAGS.read()
    return mceval8k.load(
        name,
        benchmark_flags.root(),
        split,
        settings.shots if shots is None else shots,
        settings.template if template is None else template,
    )


def items_of(
    task: mceval8k.Task, part: str, language: str | None = None
) -> tuple[mceval8k.Item, ...]:
    """The prompts of a part that the flags ask for, labels taking turns."""
    items = [i for i in getattr(task, part) if language is None or i.language == language]
    count = min(FLAGS.read().sizes[part] or len(items), len(items))
    return mceval8k.in_turns(mceval8k.first(items, count, task.labels), task.labels)


def joined(keys: Iterable[str]) -> str:
    """One key, SHA-256, of several (`mceval8k.Task.key`), in their order."""
    return hashlib.sha256(" ".join(keys).encode()).hexdigest()


def about_task(
    task: mceval8k.Task, prompts: Mapping[str, int], language: str | None = None
) -> dict[str, Any]:
    """How a task was asked, as JSON values: what results record of it.

    `template` is the wording with its version, `sizes` the items that there are, `prompts` those
    that were asked.

    Args:
        prompts: of each part.
        language: of the items; None: of all languages.
    """
    return {
        **{name: getattr(task, name) for name in ("split", "template", "shots", "seed", "key")},
        "language": language,
        "sizes": task.sizes,
        "prompts": dict(prompts),
        "notes": list(task.notes),
    }


def training_counts(most: int) -> tuple[int, ...]:
    """Numbers of first training prompts at which rankings are looked at: 2³, 2⁴, … and all."""
    powers = [2**n for n in range(3, 20) if 2**n < most]
    return (*powers, most)


def measure(
    lm: LanguageModel,
    task: mceval8k.Task,
    parts: Sequence[str] = PARTS,
    language: str | None = None,
) -> Measured:
    """The features of a task's prompts, measured or, where they have been, read.

    Args:
        language: of the items, in multilingual tasks; None: of all languages.

    Raises:
        ValueError: a prompt or label does not fit the model, or the features cannot be used: the
            message names task, split and part, and what to do.
    """
    measured = {}
    for part in parts:
        try:
            measured[part] = _measure_part(lm, task, part, language)
        except ValueError as error:
            wording = [f"{part} of the {task.split} parts", task.template, f"shots={task.shots}"]
            where = ", ".join([task.name, *wording, *([language] if language else [])])
            raise ValueError(f"{where}: {_advised(str(error))}") from error
    # Each task compiles for lengths of its own, and a process may map only so many pieces of memory
    # (on Linux, vm.max_map_count): of 22 tasks it would be too many. Nor should what measuring has
    # freed stand beside what fitting needs.
    jax.clear_caches()
    memory.give_back()
    prompts = {part: len(features) for part, features in measured.items()}
    return Measured(task=task, parts=measured, about=about_task(task, prompts, language))


def _measure_part(
    lm: LanguageModel,
    task: mceval8k.Task,
    part: str,
    language: str | None,
) -> skills.Features:
    items = items_of(task, part, language)
    return skills.extract(
        messages.path(FLAGS["features"]),
        lm,
        mceval8k.encode_items(lm, items, task.labels),
        [item.label for item in items],
        kinds=(cast(Kind, FLAGS.read().kind),),
        site=common.site(lm),
        activations=True,
        counts=training_counts(len(items)) if part == "train" else (),
        about={
            "task": task.name,
            "part": part,
            "split": task.split,
            "template": task.template,
            "shots": task.shots,
            "seed": task.seed,
            "language": language,
        },
        budget_bytes=common.budget_bytes(),
        progress=False,
    )


def _advised(message: str) -> str:
    """An error's message; of a folder of features, with advice that helps there.

    `negjax.storage` advises what helps with a run's own folder: another one, or overwrite=True.
    """
    folder = re.match(re.escape(str(messages.path(FLAGS["features"]))) + r"/[0-9a-f]+", message)
    if folder is None:
        return message
    what = message.rpartition("; ")[0] or message
    if "in use" in what:
        return f"{what}; wait until it has ended, or pass another --features"
    return f"{what}; delete {folder[0]}, and its prompts are measured again"


def prompts_of(
    task: mceval8k.Task, parts: Sequence[str] = PARTS, language: str | None = None
) -> int:
    """How many prompts `measure` asks."""
    return sum(len(items_of(task, part, language)) for part in parts)
