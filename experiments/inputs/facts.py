"""The facts that an experiment asks a model: flags, the table, and what the model can be asked."""

import dataclasses
import functools
import hashlib
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import negjax
from experiments.running import common, messages, terminal
from experiments.running.settings import define, setting
from negjax.execution.conventions import Convention
from negjax.inputs.encoding import encode
from negjax.inputs.probes import Probes, TargetMode, probes_key
from negjax.model.language_model import LanguageModel


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Which facts a model is asked, what counts as an answer, and what a shift does."""

    probes: str | None = setting(
        None,
        "Table of prompts and answers: .csv, .tsv, .parquet, .feather, .arrow, .json or .jsonl; or "
        "facts-bert, what that model was trained on. Default: the shipped facts.",
    )
    prompts: int | None = setting(
        None,
        "Number of prompts of the table, drawn by --seed; 0: all. Default: up to 24, of "
        "multi_neuron 8, of neg_map 1, of atlas all.",
        least=0,
    )
    prompt_column: str = setting(
        "prompt",
        "Column of the prompts: texts, or lists of token ids or chat messages. A masked LM reads "
        "prompts with one [MASK]: `masked` in the shipped facts.",
    )
    answer_column: str = setting("answer", "Column of the answers: texts, or lists of token ids.")
    target_mode: TargetMode = setting(
        "single",
        "single: an answer is one token; first: its first token counts; all: the joint probability "
        "of all its tokens.",
        choices=["single", "first", "all"],
    )
    separator: str | None = setting(
        None,
        "Text between prompt and answer. Default: of a chat, what its template puts there; "
        "otherwise a space, or nothing where there is white space.",
    )
    template_options: str | None = setting(
        None,
        "Of chats: what the model's template reads beside the messages, as a JSON object, such as "
        '{"enable_thinking": false}.',
    )
    skip_unusable: bool = setting(
        True,
        "Leave out prompts that this model cannot be asked (an answer of several tokens, for "
        "instance), and say how many. Off: such a prompt is an error.",
    )
    convention: Convention = setting(
        "signed",
        "signed: shift x moves a to a + x·s(a), with s(a) = 1 if a > 0 else -1, as in the paper; "
        "additive: to a + x.",
        choices=["signed", "additive"],
    )


FLAGS = define(Settings)


@dataclasses.dataclass(frozen=True, kw_only=True)
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
    settings = FLAGS.read()
    count: int | None = 0
    if table is None:
        table, count = _read_table(settings), settings.prompts
    asked = functools.partial(
        encode,
        target_mode=settings.target_mode,
        separator=settings.separator,
        template_options=_options(settings),
    )
    total = len(table.prompts)
    if count is None:
        count = min(default_prompts, total)
    if count > total:
        raise ValueError(
            f"--prompts={count}: {table.source} has {total}; pass 1 to {total}, or 0 for all"
        )
    lm = common.load_model()
    kept, skipped = _usable(lm, table, count or total, asked=asked, skip=settings.skip_unusable)
    if skipped:
        terminal.note(
            f"{len(skipped)} of {table.source}'s prompts left out, for instance: {skipped[0][1]}"
        )
    probes = asked(lm, [table.prompts[i] for i in kept], [table.answers[i] for i in kept])
    return Inputs(
        lm=lm,
        probes=probes,
        rows=tuple(table.rows[i] for i in kept),
        source=table.source,
        source_sha256=table.sha256,
        skipped=tuple((table.rows[i], reason) for i, reason in skipped),
        seconds=time.perf_counter() - start,
    )


def _options(settings: Settings) -> dict[str, Any] | None:
    given = settings.template_options
    if given is None:
        return None
    with messages.of_flag(FLAGS["template_options"]):
        try:
            options = json.loads(given)
        except ValueError as error:
            raise ValueError(f"expected a JSON object: {error}") from None
        if not isinstance(options, dict):
            raise ValueError('expected a JSON object, such as {"enable_thinking": false}')
    return options


def _read_table(settings: Settings) -> negjax.Facts:
    with messages.of_flag(FLAGS["probes"]):
        return negjax.read_facts(
            settings.probes,
            prompt_column=settings.prompt_column,
            answer_column=settings.answer_column,
        )


def single_fact(prompt: str, answer: str) -> negjax.Facts:
    """A table of one prompt, typed in."""
    content = json.dumps([prompt, answer]).encode()
    digest = hashlib.sha256(content).hexdigest()
    return negjax.Facts(
        prompts=(prompt,), answers=(answer,), rows=(0,), source="the command line", sha256=digest
    )


def _usable(
    lm: LanguageModel,
    table: negjax.Facts,
    wanted: int,
    *,
    asked: Callable[..., Probes],
    skip: bool,
) -> tuple[list[int], list[tuple[int, str]]]:
    """Numbers of random prompts that the model can be asked, and of those met that it cannot."""
    kept: list[int] = []
    skipped: list[tuple[int, str]] = []
    for number in np.random.default_rng(common.seed()).permutation(len(table.prompts)).tolist():
        if len(kept) == wanted:
            break
        prompt, answer = table.prompts[number], table.answers[number]
        try:
            asked(lm, [prompt], [answer])
        except ValueError as error:
            # `encode` counts the prompts it is given: one. Readers look for the table's row.
            row = f"row {table.rows[number]}"
            reason = messages.told(error).replace("prompts[0]", row, 1).replace("prompt 0", row, 1)
            if not skip:
                raise ValueError(f"{table.source}: {reason}") from error
            skipped.append((number, reason))
        else:
            kept.append(number)
    if not kept:
        masked = "" if lm.config.causal else "; name their column: --prompt_column=masked, or other"
        raise ValueError(
            f"none of the {len(skipped)} prompts of {table.source} can be asked of this model; "
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
    return FLAGS.read().target_mode


def convention() -> Convention:
    """What a shift x does to an activation."""
    return FLAGS.read().convention
