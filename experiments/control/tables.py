"""Every measurement of the study of control as tidy tables, of what its folder holds."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from experiments.control.continuations import Written
from experiments.control.settings import DIRECTIONS, LINES, PARTS
from experiments.control.work import Plan
from experiments.inputs import facts
from experiments.inputs.written_texts import text_of
from experiments.reporting.escaping import storable
from negjax.storage.store import RunFolder

TURNED = ("turned", "turned_rank", "turned_top_token", "turned_kl")
"""Arrays of what turning does: P, rank, most probable token, KL."""


def turning_table(folder: RunFolder, plan: Plan, done: list[int]) -> pa.Table:
    """One row a prompt, direction, amount and count."""
    p, rank, top, kl = (folder.read(name)[done] for name in TURNED)
    shape = p.shape
    at = np.indices(shape).reshape(4, -1)
    names, sizes = zip(*plan.settings.amounts, strict=True)
    return pa.table(
        {
            "prompt": np.asarray(done)[at[0]],
            "direction": np.asarray(DIRECTIONS)[at[1]],
            "amount": np.asarray(names)[at[2]],
            "size": np.asarray(sizes)[at[2]],
            "count": np.asarray(plan.settings.counts)[at[3]],
            "before": folder.read("baseline")[done][at[0]],
            "probability": p.ravel(),
            "rank_before": folder.read("rank")[done][at[0]],
            "rank": rank.ravel(),
            "top_token_before": folder.read("top_token")[done][at[0]],
            "top_token": top.ravel(),
            "kl": kl.ravel(),
        }
    )


def steering_table(folder: RunFolder, plan: Plan, done: list[int]) -> pa.Table:
    """One row a prompt and wanted probability."""
    names = (
        *("steered", "cosine", "norm", "straight_norm", "predicted_norm", "turns", "kl"),
        *("unrelated_mean", "unrelated_median", "unrelated_most"),
    )
    row, column = np.indices((len(done), len(plan.settings.wanted))).reshape(2, -1)
    line = folder.read("line")[done]
    return pa.table(
        {
            "prompt": np.asarray(done)[row],
            "wanted": np.asarray(plan.settings.wanted)[column],
            "before": folder.read("before")[done][row],
            "activation_norm": folder.read("size")[done][row],
            "reached": folder.read("reached")[done].ravel() > 0,
            **{name: folder.read(name)[done].ravel() for name in names},
            **{f"line in {name}": line[..., i].ravel() for i, name in enumerate(LINES)},
        }
    )


def editing_table(folder: RunFolder, plan: Plan, done: list[int]) -> pa.Table:
    """One row a fact, way and prompt about it."""
    prompt_arrays = ("plain_new", "plain_own", "edited_new", "edited_own")
    plain_new, plain_own, new, own = (folder.read(name) for name in prompt_arrays)
    edit_arrays = ("edit_norm", "edit_cosine", "edit_reached", "perplexity", "edit_kl")
    of_edit = {name: folder.read(name) for name in edit_arrays}
    rows = [
        {
            "fact": fact.name,
            "way": way,
            "kind": kind,
            "prompt": prompt,
            "own_answer": answer,
            "new_answer": fact.new,
            "new_before": float(plain_new[number, column]),
            "own_before": float(plain_own[number, column]),
            "new": float(new[number, w, column]),
            "own": float(own[number, w, column]),
            **{name: float(values[number, w]) for name, values in of_edit.items()},
        }
        for number, fact in ((number, plan.facts[number]) for number in done)
        for w, way in enumerate(plan.settings.ways)
        for column, (prompt, answer, kind) in enumerate(
            zip(fact.prompts, fact.answers, fact.kinds, strict=True)
        )
    ]
    return pa.Table.from_pylist(rows)


TIDY = dict(zip(PARTS, (turning_table, steering_table, editing_table), strict=True))


def every_text(
    inputs: facts.Inputs, folder: RunFolder, plan: Plan, done: Mapping[str, list[int]]
) -> list[Written]:
    """What was written after steered prompts, then after edited ones; nothing of masked LMs."""
    lm = inputs.lm
    found: list[Written] = []
    if not plan.written:
        return found
    for number in done.get("steering", []):
        before, after = (folder.read(name, (number,)) for name in ("plain_text", "steered_text"))
        plain = text_of(lm, inputs.probes, number, before)
        found += [
            Written(
                part="steering",
                what=f"steered to {wanted:g}",
                prompt=inputs.probes.prompts[number],
                answer=inputs.probes.targets[number][0],
                before=plain,
                after=text_of(lm, inputs.probes, number, own),
            )
            for wanted, own in zip(plan.settings.wanted, after, strict=True)
        ]
    for number in done.get("editing", []):
        fact = plan.facts[number]
        probes = fact.probes(lm)
        before, after = (folder.read(name, (number,)) for name in ("unedited_text", "edited_text"))
        plain = text_of(lm, probes, 0, before)
        found += [
            Written(
                part="editing",
                what=f"edited: {way}",
                prompt=fact.prompts[0],
                answer=fact.new,
                before=plain,
                after=text_of(lm, probes, 0, own),
            )
            for way, own in zip(plan.settings.ways, after, strict=True)
        ]
    return found


def texts_table(texts: Sequence[Written]) -> pa.Table:
    """One row a text, in which nothing is that UTF-8 lacks."""
    names = [field.name for field in dataclasses.fields(Written)]
    return pa.table({name: [storable(getattr(text, name)) for text in texts] for name in names})
