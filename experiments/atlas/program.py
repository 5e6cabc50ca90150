"""The program: its flags, what it measures, how it goes on after an interruption."""

import hashlib
import json

from experiments.atlas import measuring, report
from experiments.atlas.planning import Plan, specs
from experiments.atlas.settings import SHIPPED, Settings
from experiments.inputs import facts, slopes, text_tables
from experiments.running.settings import define, recorded
from experiments.running.study import Findings, Finished, Study, measured
from negjax.storage.store import RunFolder

FLAGS = define(Settings)

ALL_FACTS = 10**9
"""Prompts of a table, where no flag says fewer."""


def prepare() -> Study:
    """Reads the flags, the texts and the model."""
    settings, rule = FLAGS.read(), slopes.read()
    read = (
        text_tables.shipped_texts()
        if settings.contexts == SHIPPED
        else text_tables.texts_of_table(
            settings.contexts, "text", "group", f"a table, or {SHIPPED}"
        )
    )
    inputs = facts.load_inputs(ALL_FACTS)
    plan = Plan(inputs=inputs, settings=settings, rule=rule, texts=read)
    settings.check_facts(plan.facts)

    def findings(folder: RunFolder, finished: Finished) -> Findings | None:
        return report.findings(plan, folder, finished) if finished.complete else None

    return Study(
        name="atlas",
        settings={
            **facts.input_settings(inputs),
            **recorded(settings),
            **recorded(rule),
            "texts_sha256": hashlib.sha256(json.dumps(read.texts).encode()).hexdigest(),
        },
        arrays=specs(plan),
        attributes={"site": inputs.site, "convention": facts.convention(), "output": "probability"},
        measure=measured(lambda folder: measuring.all_work(plan, folder), "step"),
        results=findings,
    )
