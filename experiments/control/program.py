"""The program: its flags, what it measures, how it goes on after an interruption."""

import numpy as np
from absl import flags

import negjax
from experiments.control import page as control_page
from experiments.control.edits import EditTable, read_edits
from experiments.control.results import analyse
from experiments.control.work import PARTS, WAYS, Asked, all_work, array_specs
from experiments.inputs import facts
from experiments.running import common, flag_lists, messages, terminal
from negjax.control import TURNS
from negjax.control.folding import with_bias
from negjax.inputs.probes import Probes
from negjax.model.language_model import LanguageModel

_PARTS = flags.DEFINE_list("parts", list(PARTS), f"What to measure: {', '.join(PARTS)}.")
_COUNTS = flags.DEFINE_list(
    "counts", ["1", "4", "16", "64", "256", "1024"], "Neurons of each polarity turned together."
)
_VOLUMES = flags.DEFINE_list(
    "volumes", ["0.25", "0.5", "1"], "Amounts by which neurons are turned, units of the activation."
)
_RATIOS = flags.DEFINE_list(
    "ratios", ["0.5", "1", "2"], "Amounts by which neurons are turned, multiples of the activation."
)
_WANTED = flags.DEFINE_list(
    "wanted", ["0.01", "0.1", "0.5", "0.9", "0.99"], "Probabilities of the answer to steer to."
)
_TURNS = flags.DEFINE_integer(
    "turns", TURNS, "Most directions tried to make a shift shorter.", lower_bound=0
)
_UNRELATED = flags.DEFINE_string(
    "unrelated",
    None,
    "Table of prompts (masked LMs: column masked) and answers to which shifts are applied to see "
    "what else they do. Default: shipped facts of other relations.",
)
_EDITS = flags.DEFINE_integer(
    "edits", 20, "Facts to edit, the table's first; 0: all.", lower_bound=0
)
_EDIT_TABLE = flags.DEFINE_string(
    "edit_table",
    None,
    "Table of edits, with columns fact, kind, prompt (masked LMs: masked), answer and new. "
    "Default: 20 shipped facts.",
)
_EDIT_PROBABILITY = flags.DEFINE_float(
    "edit_probability", 0.9, "P(new answer) that an edit is to reach."
)
_WAYS = flags.DEFINE_list("ways", list(WAYS), f"Ways to edit: {', '.join(WAYS)}.")


def main() -> int:
    """Runs the experiment; returns the exit status."""
    parts, ways = flag_lists.names(_PARTS, PARTS), flag_lists.names(_WAYS, WAYS)
    counts, wanted = flag_lists.numbers(_COUNTS), flag_lists.numbers(_WANTED)
    _check_numbers(counts, wanted)
    inputs = facts.load_inputs(24)
    if "editing" in parts:
        # Refuses a model whose edits could not be saved, before anything slow begins.
        with_bias(inputs.lm)
    asked = Asked(
        parts,
        counts.astype(int),
        flag_lists.numbers(_VOLUMES),
        flag_lists.numbers(_RATIOS),
        wanted,
        _TURNS.value,
        _read_edits(inputs.lm) if "editing" in parts else None,
        _EDIT_PROBABILITY.value,
        ways,
        _unrelated(inputs.lm),
    )
    settings = {
        "experiment": "control",
        **facts.input_settings(inputs),
        "parts": list(parts),
        "counts": asked.counts.tolist(),
        "volumes": asked.volumes.tolist(),
        "ratios": asked.ratios.tolist(),
        "wanted": wanted.tolist(),
        "turns": asked.turns,
        "edits": [fact.name for fact in asked.facts],
        "edit_table": asked.edits and asked.edits.sha256,
        "edit_probability": asked.edit_probability,
        "ways": list(ways),
        "unrelated": asked.unrelated and list(asked.unrelated.prompts),
    }
    specs = array_specs(len(inputs.probes), asked)
    attributes = {"site": inputs.site, "convention": "additive", "output": "probability"}
    with common.open_folder("control", settings, specs, attributes) as folder:
        work = all_work(inputs, asked)
        complete = common.measure_all(folder, work, "step")
        if not complete:
            common.say_interrupted(folder, work)
        if not folder.finished:
            return 130
        results = analyse(folder, work, asked, len(inputs.probes))
        control_page.write(inputs, asked, folder, results, complete)
    terminal.say(control_page.printed(inputs, asked, folder, results))
    return 0 if complete else 130


def _read_edits(lm: LanguageModel) -> EditTable:
    with messages.of_flag(_EDIT_TABLE):
        return read_edits(lm, _EDIT_TABLE.value, _EDITS.value)


def _unrelated(lm: LanguageModel) -> Probes | None:
    if _UNRELATED.value is None:
        return None
    column = "prompt" if lm.config.causal else "masked"
    with messages.of_flag(_UNRELATED):
        facts = negjax.read_facts(_UNRELATED.value, prompt_column=column)
        if len(facts.prompts) < 2:
            raise ValueError("expected 2 or more prompts")
        return negjax.encode(lm, facts.prompts, facts.answers)


def _check_numbers(counts: np.ndarray, wanted: np.ndarray) -> None:
    if (counts < 1).any() or (counts % 1 != 0).any():
        raise ValueError(f"--counts={','.join(_COUNTS.value)}: expected positive whole numbers")
    if (wanted <= 0).any() or (wanted >= 1).any():
        raise ValueError(f"--wanted={','.join(_WANTED.value)}: expected numbers between 0 and 1")
    if not 0 < _EDIT_PROBABILITY.value < 1:
        raise ValueError(
            f"--edit_probability={_EDIT_PROBABILITY.value}: expected a number between 0 and 1"
        )
    for flag in (_VOLUMES, _RATIOS):
        if (flag_lists.numbers(flag) < 0).any():
            raise ValueError(f"--{flag.name}={','.join(flag.value)}: expected positive numbers")
