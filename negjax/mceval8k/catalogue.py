"""The 22 tasks of MCEval8K as data: where each lies, what its records hold, what its answers are.

MCEval8K is the benchmark of Zhao, Jiang and Yoshinaga, *Neuron Empirical Gradient* (ACL 2025, arXiv
2412.18053): six genres, every answer one token out of a few. Wordings stand in `templates.toml`.
"""

import dataclasses
from collections.abc import Mapping

from negjax.checks import shown, text
from negjax.records import readable

HUB_ID = "iszhaoxin/MCEval8K"

PARTS = ("train", "valid", "test")

DEFAULT_LANGUAGE = "en"
LANGUAGES = ("en", "de", "fr", "es", "zh")
"""In which the items of the multilingual tasks are asked."""

LETTERS = ("a", "b", "c", "d", "e")
STARS = ("1", "2", "3", "4", "5")


@readable
@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskSpec:
    """One task: fields are those of the records in its files."""

    folder: str
    """Below the benchmark's root: genre/task; holds train.json, valid.json and test.json."""
    labels: tuple[str, ...]
    """K answers, as appended to a prompt."""
    texts: tuple[str, ...]
    """Fields of the input texts, in the order of the prompt. By any of them items are told apart:
    no text of an item may be one of an item in another part."""
    gold: str
    """Field of the answer."""
    seed: int
    """Orders the items and decides on parts and demonstrations."""
    golds: tuple[object, ...] = ()
    """The values of `gold` in the order of the labels. Default: 0, 1, …"""
    target: str | None = None
    """Field of the word or phrase of the text that is asked about: a string, or its words."""
    options: str | None = None
    """Field of the options, one a label. Options that all items share stand with the templates."""
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """By which header a field goes in prompts, where it is not the one of its own name."""
    language: str | None = None
    """Field of the language in which an item is asked. Default: English."""
    translations: str | None = None
    """Field that the translations of an item share, within one file."""
    without_null: bool = False
    """Whether published records lack a text (null) and are to be left out."""
    without_train: bool = False
    """Whether train.json may be absent: the task then trains on a slice of valid."""

    @property
    def genre(self) -> str:
        """One of six."""
        return self.folder.partition("/")[0]


TASKS: Mapping[str, TaskSpec] = {
    "ged": TaskSpec(
        folder="linguistic/clang8",
        labels=LETTERS[:2],
        texts=("sentence1", "sentence2"),
        gold="acceptable",
        seed=1,
        headers={"sentence1": "sentence_a", "sentence2": "sentence_b"},
        without_null=True,
    ),
    "pos": TaskSpec(
        folder="linguistic/postag",
        labels=LETTERS[:4],
        texts=("text",),
        gold="label",
        seed=2,
        target="target_token",
        options="options",
    ),
    "chunk": TaskSpec(
        folder="linguistic/chunking",
        labels=LETTERS[:4],
        texts=("text",),
        gold="label",
        seed=3,
        target="target_chunk",
        options="options",
        without_train=True,
    ),
    "ner": TaskSpec(
        folder="linguistic/ner",
        labels=LETTERS[:4],
        texts=("text",),
        gold="label",
        seed=4,
        target="target_chunk",
        options="options",
    ),
    "agnews": TaskSpec(
        folder="classification/agnews", labels=LETTERS[:4], texts=("text",), gold="label", seed=5
    ),
    "amazon": TaskSpec(
        folder="classification/amazon-reviews",
        labels=STARS,
        texts=("text",),
        gold="label",
        seed=6,
        golds=(1, 2, 3, 4, 5),
        headers={"text": "review"},
    ),
    "imdb": TaskSpec(
        folder="classification/imdb",
        labels=("bad", "good"),
        texts=("text",),
        gold="label",
        seed=7,
        headers={"text": "review"},
        without_train=True,
    ),
    "myriadlama": TaskSpec(
        folder="fact/myriadlama",
        labels=LETTERS[:4],
        texts=("text",),
        gold="label",
        seed=8,
        options="options",
        headers={"text": "statement"},
    ),
    "fever": TaskSpec(
        folder="fact/fever", labels=("False", "True"), texts=("claim",), gold="label", seed=9
    ),
    "csqa": TaskSpec(
        folder="fact/commensenseqa",
        labels=LETTERS[:5],
        texts=("text",),
        gold="label",
        seed=10,
        options="options",
        headers={"text": "question"},
    ),
    "templama": TaskSpec(
        folder="fact/templama",
        labels=LETTERS[:4],
        texts=("text",),
        gold="label",
        seed=11,
        options="options",
        headers={"text": "statement"},
    ),
    "paws": TaskSpec(
        folder="nli/paws",
        labels=("no", "yes"),
        texts=("sentence1", "sentence2"),
        gold="label",
        seed=12,
    ),
    "mnli": TaskSpec(
        folder="nli/mnli",
        labels=LETTERS[:3],
        texts=("premise", "hypothesis"),
        gold="label",
        seed=13,
    ),
    "swag": TaskSpec(
        folder="nli/swag",
        labels=LETTERS[:4],
        texts=("text",),
        gold="label",
        seed=14,
        options="options",
        headers={"text": "beginning"},
    ),
    "halueval": TaskSpec(
        folder="self-reflection/halueval",
        labels=("no", "yes"),
        texts=("knowledge", "dialogue", "response"),
        gold="hallucination",
        seed=15,
    ),
    "toxic": TaskSpec(
        folder="self-reflection/toxicity",
        labels=("no", "yes"),
        texts=("text",),
        gold="toxic",
        seed=16,
    ),
    "stereoset": TaskSpec(
        folder="self-reflection/stereoset",
        labels=LETTERS[:3],
        texts=("context",),
        gold="non-stereotype",
        seed=17,
        options="sentences",
    ),
    "m-amazon": TaskSpec(
        folder="multilingual/amazon-review-multi",
        labels=STARS,
        texts=("review",),
        gold="label",
        seed=18,
        golds=(1, 2, 3, 4, 5),
        language="lang",
    ),
    "lti": TaskSpec(
        folder="multilingual/lti",
        labels=LETTERS[:5],
        texts=("text",),
        gold="lang",
        seed=19,
        golds=("en", "fr", "de", "zh", "es"),
    ),
    "mlama": TaskSpec(
        folder="multilingual/mlama",
        labels=LETTERS[:4],
        texts=("text",),
        gold="label",
        seed=20,
        options="options",
        headers={"text": "statement"},
        language="lang",
        translations="uuid",
    ),
    "xnli": TaskSpec(
        folder="multilingual/xnli",
        labels=LETTERS[:3],
        texts=("premise", "hypothesis"),
        gold="label",
        seed=21,
        language="lang",
        translations="index",
    ),
    "m-pos": TaskSpec(
        folder="multilingual/mpostag",
        labels=LETTERS[:4],
        texts=("text",),
        gold="label",
        seed=22,
        target="target_token",
        options="options",
        language="lang",
    ),
}


def names() -> tuple[str, ...]:
    """The 22 tasks by name, genre by genre."""
    return tuple(TASKS)


def task_name(name: str) -> str:
    """The name of a task that is called by it, in whatever case, or by its published folder.

    Raises:
        ValueError: there is no such task.
    """
    wanted = text(name, "name").lower()
    for known, spec in TASKS.items():
        if wanted in (known, spec.folder, spec.folder.partition("/")[2]):
            return known
    raise ValueError(f"name: task {shown(name)}: expected one of {', '.join(TASKS)}")
