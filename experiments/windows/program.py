"""The program: its flags, what it measures, how it goes on after an interruption."""

from experiments.inputs import facts, written_texts
from experiments.running import common
from experiments.running.settings import define, recorded
from experiments.running.study import Findings, Finished, Study, measured
from experiments.windows import report
from experiments.windows.results import read_facts
from experiments.windows.settings import Settings
from experiments.windows.work import Plan, all_work, array_specs
from negjax.storage.store import RunFolder

WRITTEN = 24
"""Tokens of a text, if no flag says."""

FLAGS = define(Settings)


def prepare() -> Study:
    """Reads the flags and loads what they name."""
    settings = FLAGS.read()
    common.refuse_unread("windows", ("convention",), "which adds shifts as they are")
    inputs = facts.load_inputs(24)
    c = inputs.lm.config
    if not c.causal:
        raise ValueError(f"--model={inputs.lm.name}: a masked LM writes no text; pass a causal LM")
    for name, count in (("size", settings.size), ("singles", settings.singles)):
        if count > c.layers * c.neurons:
            raise ValueError(f"--{name}={count}: the model has {c.layers * c.neurons} neurons")
    written = written_texts.text_length(inputs.lm, WRITTEN, [inputs.probes])
    if not written:
        raise ValueError("--written=0: without texts there is nothing to collapse; pass 1 or more")
    # What is written at one activation is the same at every token: of a gated layer, what its last
    # map reads.
    site = common.FLAGS["site"].value or c.sites[-1]
    plan = Plan(inputs=inputs, settings=settings, site=site, written=written)

    def findings(folder: RunFolder, finished: Finished) -> Findings | None:
        numbers = [int(item.name.rpartition(" ")[2]) for item in finished.work]
        found = read_facts(folder, plan, numbers)
        return report.findings(folder, plan, numbers, found, finished) if numbers else None

    return Study(
        name="windows",
        settings={
            **facts.input_settings(inputs),
            **recorded(settings),
            "written": written,
            "dosed_site": site,
        },
        arrays=array_specs(plan),
        attributes={"site": site, "convention": "additive", "output": "probability"},
        measure=measured(lambda _: all_work(plan), "fact", divisible=True),
        results=findings,
    )
