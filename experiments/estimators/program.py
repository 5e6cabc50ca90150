"""The program: its flags, what it measures, how it goes on after an interruption."""

from experiments.estimators import report
from experiments.estimators.results import analyse
from experiments.estimators.settings import Settings
from experiments.estimators.work import DosedLayer, Plan, all_work, array_specs, done
from experiments.inputs import curves, facts
from experiments.running.settings import define, recorded
from experiments.running.study import Findings, Finished, Study, measured
from negjax.storage.store import RunFolder

FLAGS = define(Settings)


def prepare() -> Study:
    """Reads the flags and loads what they name."""
    sampling, settings = curves.read(), FLAGS.read()
    if "neurgrad" not in settings.methods:
        raise ValueError(
            f"--methods={','.join(settings.methods)}: neurgrad must be among them; hidden is what "
            "it misses"
        )
    inputs = facts.load_inputs(24)
    neurons = curves.choose_neurons(inputs, sampling)
    plan = Plan(inputs=inputs, sampling=sampling, settings=settings, neurons=neurons)
    _check(plan)

    def findings(folder: RunFolder, finished: Finished) -> Findings | None:
        prompts = done(plan, finished.work)
        if not prompts:
            return None
        dosed = [item for item in finished.work if isinstance(item, DosedLayer)]
        return report.findings(plan, folder, analyse(plan, folder, prompts, dosed), finished)

    return Study(
        name="estimators",
        settings={
            **facts.input_settings(inputs),
            **sampling.recorded,
            **recorded(settings),
            "group": plan.group,
        },
        arrays=array_specs(plan),
        attributes={"site": inputs.site, **sampling.attributes},
        measure=measured(lambda _: all_work(plan), "replay", divisible=True),
        results=findings,
    )


def _check(plan: Plan) -> None:
    """Refuses what these prompts and this study cannot have."""
    prompts, dosed = len(plan.neurons), plan.settings.dosed_prompts
    if dosed > prompts:
        raise ValueError(
            f"--dosed_prompts={dosed}: the run has {prompts} prompts; pass 1 to {prompts}"
        )
    methods = plan.settings.methods
    if "lpi" in methods and plan.inputs.probes.target_ids.shape[2] > 1:
        others = ",".join(method for method in methods if method != "lpi")
        raise ValueError(
            "--target_mode=all: lpi reads the first token of an answer alone; pass "
            f"--target_mode=first, or --methods={others}"
        )
