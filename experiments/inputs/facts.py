"""The facts that an experiment asks a model: flags, the table, and what the model can be asked."""

import dataclasses
import hashlib
import json
import time
from typing import Any, cast

import numpy as np
from absl import flags

import negjax
from experiments.running import common, messages, terminal
from negjax.execution.conventions import Convention
from negjax.inputs.encoding import encode
from negjax.inputs.probes import Probes, TargetMode, probes_key
from negjax.model.language_model import LanguageModel

_PROBES = flags.DEFINE_string(
    "probes",
    None,
    "Table of prompts and answers: .csv, .parquet, .feather, .arrow or .jsonl; or facts-bert, what "
    "that model was trained on. Default: the shipped facts.",
)
_PROMPTS = flags.DEFINE_integer(
    "prompts",
    None,
    "Number of prompts of the table, drawn by --seed; 0: all. Default: up to 24, of "
    "multi_neuron 8, of neg_map 1.",
    lower_bound=0,
)
_PROMPT_COLUMN = flags.DEFINE_string(
    "prompt_column",
    "prompt",
    "Column of the prompts. A masked LM reads prompts with one [MASK]: `masked` in the shipped "
    "facts.",
)
_ANSWER_COLUMN = flags.DEFINE_string("answer_column", "answer", "Column of the answers.")
_TARGET_MODE = flags.DEFINE_enum(
    "target_mode",
    "single",
    ["single", "first", "all"],
    "single: an answer is one token; first: its first token counts; all: the joint probability of "
    "all its tokens.",
)
_SKIP_UNUSABLE = flags.DEFINE_bool(
    "skip_unusable",
    True,
    "Leave out prompts that this model cannot be asked (an answer of several tokens, for "
    "instance), and say how many. Off: such a prompt is an error.",
)
_CONVENTION = flags.DEFINE_enum(
    "convention",
    "signed",
    ["signed", "additive"],
    "signed: shift x moves a to a + x·s(a), with s(a) = 1 if a > 0 else -1, as in the paper; "
    "additive: to a + x.",
)


@dataclasses.dataclass(frozen=True)
class Inputs:
    """A model and the prompts to ask it."""

    lm: LanguageModel
    probes: Probes
    rows: tuple[int, ...]
    """Row of each prompt in its table, from 0."""
    source: str
    """The table."""
    source_sha256: str
    skipped: tuple[tuple[int, str], ...]
    """(row, reason) of the prompts left out."""
    seconds: float
    """To load and encode."""

    @property
    def site(self) -> str:
        """The chosen site, or the model's default."""
        return common.site(self.lm)


def load_inputs(default_prompts: int, table: negjax.Facts | None = None) -> Inputs:
    """The model, and random prompts of the table: as many as the flags say.

    Args:
        default_prompts: how many, if no flag says.
        table: prompts and answers, all to be used; default: the table that the flags name.

    Raises:
        ValueError: more prompts than the table has, or none that the model can be asked.
    """
    start = time.perf_counter()
    found = table or _read_table()
    prompts = _PROMPTS.value
    if table is not None:
        prompts = 0
    elif prompts is None:
        prompts = min(default_prompts, len(found.prompts))
    if prompts > len(found.prompts):
        raise ValueError(
            f"--prompts={prompts}: {found.source} has {len(found.prompts)}; pass 1 to "
            f"{len(found.prompts)}, or 0 for all"
        )
    lm = common.load_model()
    kept, skipped = _usable(lm, found, prompts or len(found.prompts))
    if skipped:
        terminal.note(
            f"{len(skipped)} of {found.source}'s prompts left out, for instance: {skipped[0][1]}"
        )
    probes = encode(
        lm,
        [found.prompts[i] for i in kept],
        [found.answers[i] for i in kept],
        target_mode=target_mode(),
    )
    return Inputs(
        lm,
        probes,
        tuple(found.rows[i] for i in kept),
        found.source,
        found.sha256,
        tuple((found.rows[i], reason) for i, reason in skipped),
        time.perf_counter() - start,
    )


def _read_table() -> negjax.Facts:
    with messages.of_flag(_PROBES):
        return negjax.read_facts(
            _PROBES.value, prompt_column=_PROMPT_COLUMN.value, answer_column=_ANSWER_COLUMN.value
        )


def single_fact(prompt: str, answer: str) -> negjax.Facts:
    """A table of one prompt, typed in."""
    content = json.dumps([prompt, answer]).encode()
    digest = hashlib.sha256(content).hexdigest()
    return negjax.Facts((prompt,), (answer,), (0,), "the command line", digest)


def _usable(
    lm: LanguageModel, found: negjax.Facts, wanted: int
) -> tuple[list[int], list[tuple[int, str]]]:
    """Numbers of random prompts that the model can be asked, and of those met that it cannot."""
    kept: list[int] = []
    skipped: list[tuple[int, str]] = []
    for number in np.random.default_rng(common.seed()).permutation(len(found.prompts)).tolist():
        if len(kept) == wanted:
            break
        try:
            encode(lm, [found.prompts[number]], [found.answers[number]], target_mode=target_mode())
        except ValueError as error:
            # `encode` counts the prompts it is given: one. Readers look for the table's row.
            reason = str(error).replace("prompt 0", f"row {found.rows[number]}", 1)
            if not _SKIP_UNUSABLE.value:
                raise ValueError(f"{found.source}: {reason}") from error
            skipped.append((number, reason))
        else:
            kept.append(number)
    if not kept:
        masked = "" if lm.config.causal else "; name their column: --prompt_column=masked, or other"
        raise ValueError(
            f"none of the {len(skipped)} prompts of {found.source} can be asked of this model; "
            f"the first: {skipped[0][1]}{masked}"
        )
    return sorted(kept), skipped


def input_settings(inputs: Inputs) -> dict[str, Any]:
    """Settings that determine measurements of these inputs, whatever the experiment."""
    return {
        **common.model_settings(inputs.lm),
        "prompts": probes_key(inputs.probes),
        "target_mode": target_mode(),
        "convention": convention(),
    }


def target_mode() -> TargetMode:
    """What counts as the target where an answer is several tokens."""
    return cast(TargetMode, _TARGET_MODE.value)


def convention() -> Convention:
    """What a shift x does to an activation."""
    return cast(Convention, _CONVENTION.value)
