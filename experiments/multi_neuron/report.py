"""What the study of many neurons shows: tables, and the numbers of its report's template."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.inputs import facts, facts_page
from experiments.multi_neuron import figures
from experiments.multi_neuron.results import (
    VARIANTS,
    Additivity,
    Results,
    neuron_table,
    set_table,
)
from experiments.multi_neuron.sets import CHOICES, SIGNS
from experiments.reporting import statistics
from experiments.reporting.figures import Picture
from experiments.reporting.tables import Column, Table, counted, written
from experiments.reporting.templates import Contents
from experiments.running.study import Findings, Finished, Report
from negjax.storage import store
from negjax.storage.store import RunFolder

ADDITIVE = 0.9
"""Pearson r from which sums are said to predict."""
SCATTERED = 3
"""Sizes whose sums are drawn against what was measured."""
# Rows are sets of one choice and size, by variant.
BY_SIZE = (
    Column("choice", lambda row: row["added"].choice),
    Column("neurons", lambda row: row["added"].size, ","),
    Column("sets", lambda row: row["added"].sets),
    Column("added, r", lambda row: row["added"].neg.pearson, ".3f", "Σ NEG x"),
    Column("added, r", lambda row: row["added"].neg.pearson_interval.low, ".3f", "from"),
    Column("added, r", lambda row: row["added"].neg.pearson_interval.high, ".3f", "to"),
    Column("added, r", lambda row: row["added"].gradient.pearson, ".3f", "Σ grad x"),
    Column("added, R²", lambda row: row["added"].neg.explained, ".3f", "Σ NEG x"),
    Column("added, R²", lambda row: row["added"].gradient.explained, ".3f", "Σ grad x"),
    Column("clamped, r", lambda row: row["clamped"].neg.pearson, ".3f", "Σ NEG x"),
    Column("clamped, R²", lambda row: row["clamped"].neg.explained, ".3f", "Σ NEG x"),
    Column("slope", lambda row: row["added"].neg.slope, ".2f", "Σ NEG x"),
    Column("outside", lambda row: row["added"].neg.impossible, ".1%", "[0, 1]"),
    Column("within", lambda row: row["added"].within_noise, ".1%", "noise"),
    Column("median", lambda row: row["added"].change, ".1e", "|ΔP|"),
    Column("median", lambda row: row["added"].kl, ".1e", "KL"),
)
SETS = Column("sets", lambda row: f"{row.choice}, {counted(row.size, 'neuron')}")
PAPER = (
    SETS,
    Column("shifts", lambda row: f"±{row.magnitude:g}" if row.magnitude else "all"),
    Column("Σ NEG x: r", lambda row: row.neg.pearson, ".3f"),
    Column("Σ NEG x: r,", lambda row: row.neg.prompt_pearson, ".3f", "median of prompts"),
    Column("Σ gradient x: r", lambda row: row.gradient.pearson, ".3f"),
    Column("Σ gradient x: r,", lambda row: row.gradient.prompt_pearson, ".3f", "median of prompts"),
)
BY_SIGNS = (
    SETS,
    Column("signs", lambda row: row.signs),
    Column("how many", lambda row: row.sets, ","),
    Column("r", lambda row: row.neg.pearson, ".3f"),
    Column("R²", lambda row: row.neg.explained, ".3f"),
    Column("slope", lambda row: row.neg.slope, ".2f"),
    Column("median |ΔP|", lambda row: row.change, ".1e"),
    Column("median KL", lambda row: row.kl, ".1e"),
)


def findings(
    inputs: facts.Inputs,
    folder: RunFolder,
    results: Results,
    done: Sequence[tuple[int, str]],
    finished: Finished,
) -> Findings:
    """Tables and summary of the run, and its report.

    Args:
        done: (prompt, choice) pairs that are finished.
    """
    cases = [
        (choice, variant, size)
        for choice in results.choices
        for variant in VARIANTS
        for size in results.sizes_of(choice)
    ]
    additivity = [results.of(*case, m) for case in cases for m in (None, *results.magnitudes)]
    by_signs = [results.of(*case, signs=signs) for case in cases for signs in results.signs]
    summary = facts_page.about_run(inputs, folder, finished.complete) | {
        "prompts_measured": len(results.prompts),
        "neurons_measured": results.neurons,
        "sets_measured": len(results.sets["size"]),
        "noise": statistics.quantiles(results.noise),
        "additivity": additivity,
        "by_signs": by_signs,
    }
    return Findings(
        tables={
            store.PROMPTS: facts_page.prompt_table(
                inputs, results.prompts, results.probability, results.noise
            ),
            store.NEURONS: neuron_table(folder, done),
            store.SETS: set_table(results),
        },
        summary=summary,
        report=lambda summary: make_report(inputs, results, summary),
    )


def _additive(results: Results) -> str:
    """Up to how many neurons of the first choice sums predict."""
    choice, upto = results.choices[0], 0
    for row in results.by_size(choice, "added"):
        if row.neg.pearson is None or row.neg.pearson < ADDITIVE:
            break
        upto = row.size
    if not upto:
        return (
            f"The effects of no number of neurons tried ({choice}) add up: Pearson r of their sum "
            f"with what they do together is below {ADDITIVE:g}."
        )
    return (
        f"The effects of up to {counted(upto, 'neuron')} ({choice}) add up: their sum agrees with "
        f"what they do together with Pearson r ≥ {ADDITIVE:g}."
    )


def make_report(inputs: facts.Inputs, results: Results, summary: Mapping[str, Any]) -> Report:
    """What is shown of the results."""
    prompts, sets = len(results.prompts), len(results.sets["size"])
    largest = {choice: max(results.sizes_of(choice)) for choice in results.choices}
    whole = [results.of(choice, "added", size) for choice, size in largest.items()]
    by_size = Table(
        name="additivity",
        columns=BY_SIZE,
        rows=[
            {variant: results.of(choice, variant, size) for variant in VARIANTS}
            for choice in results.choices
            for size in results.sizes_of(choice)
        ],
    )
    chosen = " ".join(f"{choice}: {CHOICES[choice]}." for choice in results.choices)
    beside = [
        results.of(choice, "added", size, magnitude)
        for choice, size in largest.items()
        for magnitude in (None, *results.magnitudes)
    ]
    of_largest = (results.choices[0], "added", whole[0].size)
    ends = results.magnitudes[0], results.magnitudes[-1]
    values = facts_page.values(inputs, summary) | {
        "count": f"{counted(sets, 'set')} of {counted(prompts, 'prompt')}",
        "widest": results.magnitudes[-1],
        "narrowest": results.magnitudes[0],
        "several": len(results.magnitudes) > 1,
        "additive": _additive(results),
        "largest": whole[0],
        **{
            name: results.of(*of_largest, magnitude).neg.pearson_interval
            for name, magnitude in zip(("narrow", "wide"), ends, strict=True)
        },
        "agreement": ", ".join(
            f"{written(row.neg.pearson, '.3f')} ({row.choice}, {row.size:,})" for row in whole
        ),
        "chosen": chosen,
        "signs": " ".join(f"{name.capitalize()}: {SIGNS[name]}." for name in results.signs),
        "noise_deviations": statistics.NOISE_DEVIATIONS / 2**0.5,
    }
    draws: dict[str, Callable[[], Picture]] = {
        "additivity": lambda: figures.additivity_figure(results),
        "sums": lambda: figures.sums_figure(_sums(results)),
        "magnitudes": lambda: figures.magnitudes_figure(results),
        "effects": lambda: figures.effects_figure(results),
    }
    return Report(
        contents=Contents(
            values=values,
            tables={
                "by_size": by_size,
                "paper": Table(columns=PAPER, rows=beside),
                "by_signs": Table(columns=BY_SIGNS, rows=_by_signs(results)),
            },
            figures=draws,
        ),
        headline=facts_page.headline(
            inputs,
            summary,
            counted(prompts, "prompt"),
            f"{counted(sets, 'set')} of neurons",
            f"up to ±{results.magnitudes[-1]:g}",
        ),
        printed=_ends(results),
        measured=[
            *facts_page.measured(inputs, summary),
            facts_page.probabilities(results.probability),
            ("Neurons alone", f"NEG of {results.neurons:,} neurons"),
            ("Sets", f"{sets:,}, each added and clamped"),
            ("Shifts of a set", ", ".join(f"±{m:g}" for m in results.magnitudes)),
        ],
    )


def _ends(results: Results) -> Table:
    """Of each choice the smallest and the largest sets."""
    rows = [
        {variant: results.of(choice, variant, size) for variant in VARIANTS}
        for choice in results.choices
        for size in sorted({extreme(results.sizes_of(choice)) for extreme in (min, max)})
    ]
    return Table(columns=BY_SIZE, rows=rows)


def _by_signs(results: Results) -> list[Additivity]:
    rows = []
    for choice in results.choices:
        sizes = results.sizes_of(choice)
        shown = dict.fromkeys([sizes[0], sizes[len(sizes) // 2], sizes[-1]])
        rows += [
            results.of(choice, "added", size, signs=signs)
            for size in shown
            for signs in results.signs
        ]
    return rows


def _sums(results: Results) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Σ NEG x and ΔP of all sets, for sizes from the smallest to about the largest."""
    sets, every = results.sets, max(1, (len(results.sizes) - 1) // (SCATTERED - 1))
    return {
        size: (sets["predicted_neg"][kept], sets["change_added"][kept])
        for size in results.sizes[::every]
        for kept in [sets["size"] == size]
    }
