"""The program: its flags, what it measures, how it goes on after an interruption."""

import numpy as np
from absl import flags

from experiments.estimators import page as estimators_page
from experiments.estimators import study as estimators_study
from experiments.estimators.doses import Thresholds
from experiments.estimators.work import Asked, DosedLayer, Group, all_work, array_specs
from experiments.inputs import curves, facts
from experiments.running import common, flag_lists, terminal
from negjax.estimators import METHODS

_METHODS = flags.DEFINE_list("methods", list(METHODS), "Estimators to compare.")
_IG_STEPS = flags.DEFINE_integer("ig_steps", 20, "Steps of integrated gradients.", lower_bound=1)
_TOP = flags.DEFINE_integer(
    "top", 100, "Neurons of a prompt's top, which NEG and an estimate may share.", lower_bound=1
)
_TOLERANCE = flags.DEFINE_float(
    "tolerance", 0.05, "Share of its tangent's change by which a straight curve may be off it."
)
_DOSES = flags.DEFINE_list(
    "doses",
    ["0.25", "0.5", "1", "2", "4"],
    "Doses of every neuron, each in both directions: length of its write over that of the residual "
    "stream in its layer.",
)
_DOSED_PROMPTS = flags.DEFINE_integer(
    "dosed_prompts", 1, "Prompts whose every neuron is dosed: the first so many.", lower_bound=1
)
_DOSED_EVERY = flags.DEFINE_integer("dosed_every", 1, "Dose one layer in so many.", lower_bound=1)
_LARGE = flags.DEFINE_float(
    "large_quantile",
    0.99,
    "Quantile from which a |ΔP| or a KL is large, among the dosed neurons of a prompt.",
    lower_bound=0,
    upper_bound=1,
)
_SMALL = flags.DEFINE_float(
    "small_quantile",
    0.25,
    "Quantile up to which a |NeurGrad| is small, among the dosed neurons of a prompt.",
    lower_bound=0,
    upper_bound=1,
)
_FLAT = flags.DEFINE_float(
    "flat_entropy",
    0.5,
    "Share of the way from the output's entropy to log(vocabulary) from which it has collapsed.",
    lower_bound=0,
    upper_bound=1,
)


def main() -> int:
    """Runs the experiment; returns the exit status."""
    plan, methods, doses = curves.read_plan(), _methods(), _doses()
    if not (np.isfinite(_TOLERANCE.value) and _TOLERANCE.value > 0):
        raise ValueError(f"--tolerance={_TOLERANCE.value}: expected a positive share of the change")
    inputs = facts.load_inputs(24)
    neurons = curves.choose_neurons(inputs, plan)
    prompts, each = neurons.shape[:2]
    if _DOSED_PROMPTS.value > prompts:
        raise ValueError(
            f"--dosed_prompts={_DOSED_PROMPTS.value}: the run has {prompts} prompts; pass 1 to "
            f"{prompts}"
        )
    if "lpi" in methods and inputs.probes.target_ids.shape[2] > 1:
        others = ",".join(method for method in methods if method != "lpi")
        raise ValueError(
            "--target_mode=all: lpi reads the first token of an answer alone; pass "
            f"--target_mode=first, or --methods={others}"
        )
    asked = Asked(plan, methods, _IG_STEPS.value, doses, _DOSED_PROMPTS.value, _DOSED_EVERY.value)
    group = curves.group_size(each, plan.nodes)
    settings = {
        "experiment": "estimators",
        **facts.input_settings(inputs),
        **plan.settings,
        "methods": list(methods),
        "ig_steps": asked.ig_steps,
        "doses": doses.tolist(),
        "dosed_prompts": asked.dosed_prompts,
        "dosed_every": asked.dosed_every,
        "group": group,
    }
    specs = array_specs(inputs, neurons, group, asked)
    attributes = {"site": inputs.site, **plan.attributes}
    with common.open_folder("estimators", settings, specs, attributes) as folder:
        work = all_work(inputs, neurons, group, asked, folder)
        complete = common.measure_all(folder, work, "neuron")
        if not complete:
            common.say_interrupted(folder, work)
        done = [
            some
            for some in curves.groups(range(prompts), group)
            if all(
                item.name in folder.finished
                for item in work
                if isinstance(item, Group) and item.prompts == some
            )
        ]
        if not done:
            return 130
        dosed = [
            item for item in work if isinstance(item, DosedLayer) and item.name in folder.finished
        ]
        found = estimators_study.read(
            inputs,
            folder,
            asked,
            done,
            dosed,
            top=_TOP.value,
            tolerance=_TOLERANCE.value,
            thresholds=Thresholds(_LARGE.value, _SMALL.value, _FLAT.value),
        )
        estimators_page.write(inputs, folder, found, complete)
    terminal.say(estimators_page.printed(inputs, folder, found))
    return 0 if complete else 130


def _methods() -> tuple[str, ...]:
    asked = flag_lists.names(_METHODS, METHODS)
    if "neurgrad" not in asked:
        raise ValueError(
            f"--methods={','.join(asked)}: neurgrad must be among them; hidden is what it misses"
        )
    return tuple(asked)


def _doses() -> np.ndarray:
    doses = flag_lists.numbers(_DOSES)
    if doses[0] < 0:
        raise ValueError(
            f"--doses={','.join(_DOSES.value)}: expected positive numbers; both signs are measured"
        )
    return doses
