"""The program: its flags, what it measures, how it continues after an interruption."""

import negjax
from experiments.control import report as control_report
from experiments.control.edits import EditTable, read_edits
from experiments.control.results import analyse
from experiments.control.settings import Settings
from experiments.control.work import Plan, all_work, array_specs
from experiments.inputs import facts, written_texts
from experiments.running import messages
from experiments.running.settings import define, recorded
from experiments.running.study import Findings, Finished, Study, measured
from negjax.control.folding import with_bias
from negjax.inputs.probes import Probes
from negjax.model.language_model import LanguageModel
from negjax.storage.store import RunFolder

WRITTEN = 12
"""Tokens of a text, if no flag says."""

FLAGS = define(Settings)


def prepare() -> Study:
    """Reads the flags and loads what they name."""
    settings, inputs = FLAGS.read(), facts.load_inputs(24)
    editing = "editing" in settings.parts
    if editing:
        # Refuses a model whose edits could not be saved, before anything slow begins.
        with_bias(inputs.lm)
    edits = _read_edits(inputs.lm, settings) if editing else None
    asked = [inputs.probes] if "steering" in settings.parts else []
    asked += [fact.probes(inputs.lm).select([0]) for fact in edits.facts] if edits else []
    plan = Plan(
        settings=settings,
        edits=edits,
        unrelated=_unrelated(inputs.lm, settings),
        written=written_texts.text_length(inputs.lm, WRITTEN, asked) if asked else 0,
    )

    def results(folder: RunFolder, finished: Finished) -> Findings | None:
        if not finished.work:
            return None
        found = analyse(folder, finished.work, plan, inputs)
        return control_report.findings(inputs, folder, plan, found, finished)

    return Study(
        name="control",
        settings={
            **facts.input_settings(inputs),
            **recorded(settings),
            "edits": [fact.name for fact in plan.facts],
            "edit_table": plan.edits and plan.edits.sha256,
            "written": plan.written,
            "unrelated": plan.unrelated and list(plan.unrelated.prompts),
        },
        arrays=array_specs(len(inputs.probes), plan),
        attributes={"site": inputs.site, "convention": "additive", "output": "probability"},
        measure=measured(lambda _: all_work(inputs, plan), "replay", divisible=True),
        results=results,
    )


def _read_edits(lm: LanguageModel, settings: Settings) -> EditTable:
    with messages.of_flag(FLAGS["edit_table"]):
        return read_edits(lm, settings.edit_table, settings.edits)


def _unrelated(lm: LanguageModel, settings: Settings) -> Probes | None:
    if settings.unrelated is None:
        return None
    column = "prompt" if lm.config.causal else "masked"
    with messages.of_flag(FLAGS["unrelated"]):
        table = negjax.read_facts(settings.unrelated, prompt_column=column)
        if len(table.prompts) < 2:
            raise ValueError("expected 2 or more prompts")
        return negjax.encode(lm, table.prompts, table.answers)
