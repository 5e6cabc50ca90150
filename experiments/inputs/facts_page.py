"""What the reports and summaries of all experiments with facts have in common."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

from experiments import paper
from experiments.inputs import facts
from experiments.reporting import page_parts, statistics
from experiments.reporting.escaping import storable
from experiments.reporting.tables import counted
from experiments.running import provenance
from negjax.storage.store import RunFolder

CONVENTIONS = {
    "signed": "signed: shift x moves a to a + x·s(a), where s(a) = 1 if a > 0 and −1 otherwise",
    "additive": "additive: shift x moves a to a + x",
}
SHIPPED = "negjax facts"
"""What `read_facts` calls the shipped table."""


def prompt_table(
    inputs: facts.Inputs, prompts: ArrayLike, probability: ArrayLike, noise: ArrayLike = np.nan
) -> pa.Table:
    """One row a prompt; probability and noise of the `prompts` that were measured, else NaN."""
    probes = inputs.probes

    def everywhere(values: ArrayLike) -> np.ndarray:
        result = np.full(len(probes), np.nan)
        result[np.asarray(prompts)] = values
        return result

    return pa.table(
        {
            "prompt": np.arange(len(probes)),
            "table_row": list(inputs.rows),
            "text": list(map(storable, probes.prompts)),
            "answer": [storable(targets[0]) for targets in probes.targets],
            "tokens": probes.mask.sum(1),
            "probability": everywhere(probability),
            "noise": everywhere(noise),
        }
    )


def about_run(inputs: facts.Inputs, folder: RunFolder, complete: bool) -> dict[str, Any]:
    """The part of summary.json that every experiment with facts has."""
    return provenance.about_program(inputs.lm, folder, complete, inputs.seconds) | {
        "prompts": {
            "source": inputs.source,
            "source_sha256": inputs.source_sha256,
            "asked": len(inputs.probes),
            "left_out": [{"row": row, "reason": reason} for row, reason in inputs.skipped],
        },
        "convention": facts.convention(),
        "target_mode": facts.target_mode(),
    }


def values(inputs: facts.Inputs, summary: Mapping[str, Any]) -> dict[str, Any]:
    """What the templates of all experiments with facts may name."""
    return {
        "model": inputs.lm.name,
        "dtype": inputs.lm.dtype.name,
        "convention": summary["convention"],
        "signed": summary["convention"] == "signed",
        "selection_notes": selection_notes(summary),
        "paper": paper,
    }


def headline(inputs: facts.Inputs, summary: Mapping[str, Any], *counts: str) -> str:
    """First line in the terminal: the model, what was counted, site and convention."""
    about = f"site {inputs.site}; {summary['convention']} shifts"
    return f"{inputs.lm.name}: {', '.join(counts)} ({about})"


def measured(inputs: facts.Inputs, summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the numbers are about, beside the model."""
    prompts = summary["prompts"]
    return [
        ("Prompts", f"{prompts['asked']:,} of {prompts['source']}{_left_out(summary)}"),
        ("Site", page_parts.SITES[inputs.site]),
        ("Shifts", CONVENTIONS[summary["convention"]]),
    ]


def probabilities(probability: np.ndarray) -> tuple[str, str]:
    """How P(answer) [b], unperturbed, spreads over the prompts, as a row of what was measured."""
    spread = statistics.quantiles(probability, (0.05, 0.5, 0.95)) or {}
    shown = ", ".join(f"{value:.3g}" for value in spread.values())
    return "P(answer)", f"5%, median, 95% of the prompts: {shown}"


def selection_notes(summary: Mapping[str, Any]) -> list[str]:
    """What to know about the prompts."""
    notes = []
    if summary["prompts"]["source"] == SHIPPED:
        notes.append(
            "The shipped facts were chosen so that the embedded model gives most of their answers "
            "a real probability. Prompts whose answer a model does not know may behave otherwise."
        )
    left_out = summary["prompts"]["left_out"]
    if left_out:
        notes.append(
            f"Left out of the table: {counted(len(left_out), 'prompt')} that this model cannot be "
            f"asked; the first: {left_out[0]['reason']}"
        )
    return notes


def _left_out(summary: Mapping[str, Any]) -> str:
    left_out = summary["prompts"]["left_out"]
    return f"; {len(left_out)} left out" if left_out else ""
