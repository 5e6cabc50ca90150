"""What an atlas shows in report and terminal: where it lies, and what holds on the whole."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from experiments.atlas import figures
from experiments.atlas.planning import Plan
from experiments.atlas.results import Atlas, read_atlas
from experiments.atlas.site_files import write_site
from experiments.inputs import facts_page
from experiments.reporting import statistics
from experiments.reporting.tables import Column, Table, counted
from experiments.reporting.templates import Contents
from experiments.running import in_buckets
from experiments.running.study import Findings, Finished, Report
from negjax.storage import store
from negjax.storage.store import RunFolder

LISTED = 12
"""Neurons listed in the report."""
PAGE = f"{store.ATLAS}/index.html"


def findings(plan: Plan, folder: RunFolder, finished: Finished) -> Findings:
    """Writes the atlas; returns tables and summary of the run, and its report."""
    atlas = read_atlas(plan, folder)
    size = write_site(atlas, folder)
    columns, first = atlas.columns(), atlas.strongest
    fact = atlas.curves.fact[first]
    places = plan.pairs()
    sampled = statistics.agreement(atlas.sampled_slopes().ravel(), atlas.arrays["neg"].ravel())
    summary = facts_page.about_run(plan.inputs, folder, finished.complete) | {
        "neurons": plan.neurons,
        "layers": plan.layers,
        "curves": plan.curves,
        "sample": atlas.arrays["sampled"].tolist(),
        "site_bytes": size,
        "straight_median": float(np.nanmedian(columns["straight"])),
        "straight_from_one": float((columns["straight"] >= 1).mean()),
        "unresolved": float(np.isnan(columns["straight"]).mean()),
        "sample_agreement": sampled,
    }
    return Findings(
        tables={
            store.PROMPTS: facts_page.prompt_table(
                plan.inputs, np.arange(plan.facts), atlas.probability
            ),
            store.NEURONS: pa.table(
                {"layer": places[:, 0], "neuron": places[:, 1], "fact": fact, **columns}
            ),
        },
        summary=summary,
        report=lambda summary: make_report(atlas, folder, summary),
    )


def make_report(atlas: Atlas, folder: RunFolder, summary: Mapping[str, Any]) -> Report:
    """Returns what is shown of the atlas."""
    plan, columns = atlas.plan, atlas.columns()
    shape = (len(plan.layers), plan.width)
    values = facts_page.values(plan.inputs, summary) | {
        "page": PAGE,
        "neurons": plan.neurons,
        "facts": counted(plan.facts, "fact"),
        "curves": plan.curves,
        "size": summary["site_bytes"] / 1e6,
        "median": summary["straight_median"],
        "from_one": summary["straight_from_one"],
        "unresolved": summary["unresolved"],
        "sample": counted(plan.settings.sample_facts, "fact"),
        "agreement": summary["sample_agreement"],
        "tolerance": plan.settings.straight,
        "radius": f"{plan.settings.curve_range:g}",
        "neg_radius": f"{plan.rule.neg_radius:g}",
        "listed": LISTED,
        "top_facts": plan.settings.top_facts,
    }
    strongest = _strongest(atlas)
    return Report(
        contents=Contents(
            values=values,
            tables={"strongest": strongest},
            figures={
                "layers": lambda: figures.layers_figure(
                    np.asarray(plan.layers),
                    columns["slope"].reshape(shape),
                    columns["straight"].reshape(shape),
                )
            },
        ),
        headline=facts_page.headline(
            plan.inputs,
            summary,
            counted(plan.neurons, "neuron"),
            counted(plan.facts, "fact"),
            counted(plan.curves, "curve"),
        ),
        printed=strongest,
        files=[f"atlas: {in_buckets.shown(folder, PAGE)} ({summary['site_bytes'] / 1e6:.1f} MB)"],
        measured=[
            *facts_page.measured(plan.inputs, summary),
            ("NEG over", f"±{plan.rule.neg_step:g}, …, ±{plan.rule.neg_radius:g}"),
            ("Curves over", f"±{plan.settings.curve_range:g}"),
            ("Texts", f"{len(plan.texts.texts):,} of {plan.texts.source}"),
        ],
    )


def _strongest(atlas: Atlas) -> Table:
    """The neurons of the largest slopes, each with the fact of it."""
    columns, places, first = atlas.columns(), atlas.plan.pairs(), atlas.strongest
    probes, fact = atlas.plan.inputs.probes, atlas.curves.fact[first]
    rows = np.argsort(-np.abs(columns["slope"]), kind="stable")[:LISTED].tolist()
    return Table(
        columns=(
            Column("neuron", lambda n: f"{places[n, 0]}.{places[n, 1]}"),
            Column("prompt", lambda n: probes.prompts[fact[n]]),
            Column("answer", lambda n: probes.targets[fact[n]][0]),
            Column("NeurGrad", lambda n: columns["slope"][n], "+.3g"),
            Column("NEG", lambda n: columns["neg"][n], "+.3g"),
            Column("r", lambda n: columns["pearson"][n], "+.3f"),
            Column("straight to", lambda n: columns["straight"][n], ".2f"),
        ),
        rows=rows,
    )
