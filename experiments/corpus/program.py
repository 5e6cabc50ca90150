"""The program: its flags, what it measures, how it goes on after an interruption."""

import functools
import hashlib
import json
import time
from dataclasses import dataclass

import negjax
from experiments.corpus import contrasting, report, sources
from experiments.corpus.results import HALVES, Halves
from experiments.inputs.text_tables import Texts
from experiments.running import common
from experiments.running.settings import define, recorded, setting
from experiments.running.study import Findings, Finished, Study, measured
from negjax.model.language_model import LanguageModel
from negjax.storage import store
from negjax.storage.store import RunFolder


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Which texts, and which neurons are a group's."""

    texts: str = setting(
        sources.SHIPPED,
        f"What to read: {sources.SHIPPED} (facts and sentences), {sources.MCEVAL8K} (its tasks of "
        "several languages, by language), or a table of texts.",
        recorded=False,
    )
    text_column: str = setting("text", "Column of the table with the texts.", recorded=False)
    group_column: str = setting("group", "Column of the table with groups.", recorded=False)
    most_texts: int | None = setting(
        None, "Texts of a group at most: the first ones.", least=2, recorded=False
    )
    window: int | None = setting(
        None, "Tokens that the model reads at once, at most. Default: its context.", least=2
    )
    chosen_share: float = setting(
        0.01, "Share of all neurons that LAPE chooses.", above=0, most=1, recorded=False
    )
    firing_quantile: float = setting(
        0.95,
        "Of the probabilities of firing, above which a neuron fires often enough for a group.",
        least=0,
        most=1,
        recorded=False,
    )


FLAGS = define(Settings)


def prepare() -> Study:
    """Reads the flags, the texts and the model."""
    start = time.perf_counter()
    settings = FLAGS.read()
    texts = sources.named(settings.texts, settings.text_column, settings.group_column)
    texts = texts.first(settings.most_texts)
    texts.check_groups()
    lm = common.load_model()
    contrast = contrasting.FLAGS.read()
    contrast.check(lm, texts)
    loading = time.perf_counter() - start

    def findings(folder: RunFolder, finished: Finished) -> Findings | None:
        if not finished.complete:
            return None
        found = Halves.of(
            *(_statistics(lm, settings, texts, folder, number) for number in range(len(HALVES))),
            share=settings.chosen_share,
            quantile=settings.firing_quantile,
        )
        told_apart = contrasting.contrasted(lm, texts, found, contrast)
        return report.findings(lm, folder, texts, found, told_apart, finished, loading)

    def work(folder: RunFolder) -> list[common.Work]:
        return [
            common.Work(
                f"texts that {what}",
                len(texts.half(number).texts),
                functools.partial(_measure, lm, settings, texts, folder, number),
            )
            for number, what in enumerate(HALVES)
        ]

    return Study(
        name="corpus",
        settings={
            **common.model_settings(lm),
            **recorded(settings),
            "texts": texts.source,
            "texts_sha256": hashlib.sha256(json.dumps(texts[:2]).encode()).hexdigest(),
        },
        measure=measured(work, "text"),
        results=findings,
    )


def _measure(
    lm: LanguageModel, settings: Settings, texts: Texts, folder: RunFolder, number: int
) -> common.Values:
    _statistics(lm, settings, texts, folder, number)
    return (), {}


def _statistics(
    lm: LanguageModel, settings: Settings, texts: Texts, folder: RunFolder, number: int
) -> negjax.CorpusStatistics:
    """Of a half: measured, or read where it was."""
    half = texts.half(number)
    return negjax.corpus_statistics(
        lm,
        half.texts,
        half.labels,
        site=common.site(lm),
        window=settings.window,
        folder=folder.path / store.STATES / f"half_{number}",
        budget_bytes=common.budget_bytes(),
    )
