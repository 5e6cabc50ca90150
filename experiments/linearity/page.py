"""How the study of linearity is shown: the printed table, summary.json, figures and report."""

import dataclasses

import numpy as np

from experiments.inputs import facts, facts_page
from experiments.linearity import report as linearity_report
from experiments.linearity.results import Results, neuron_table, resolved
from experiments.reporting import figures, study
from experiments.reporting.page_parts import aligned
from experiments.reporting.report import Drawing, drawings
from experiments.running import documents
from negjax.storage import store
from negjax.storage.store import RunFolder


def write(inputs: facts.Inputs, folder: RunFolder, results: Results, complete: bool) -> None:
    """Writes tables, summary, pictures and report into the run's folder."""
    probability, noise = (np.full(len(inputs.probes), np.nan) for _ in range(2))
    probability[results.prompts], noise[results.prompts] = results.probability, results.noise
    tables = {
        store.NEURONS: neuron_table(results),
        store.PROMPTS: facts_page.prompt_table(inputs, probability, noise),
    }
    about = facts_page.about_run(inputs, folder, complete)
    summary = about | {
        "neurons_measured": len(results.neurons["layer"]),
        "prompts_measured": len(results.prompts),
        "measure": results.measure,
        "noise": study.quantiles(results.noise),
        "thresholds": {"linear": study.LINEAR, "very_linear": study.VERY_LINEAR},
        "ranges": {
            measure: [dataclasses.asdict(s) for s in found]
            for measure, found in results.statistics.items()
        },
        "series_against_grid": results.comparison and dataclasses.asdict(results.comparison),
    }
    documents.write(
        folder,
        tables,
        summary,
        lambda: linearity_report.document(
            inputs, results, summary, draw(results, inputs.lm.config.layers)
        ),
    )


def draw(results: Results, layers: int) -> dict[str, Drawing]:
    """The figures, by name of file."""
    fits, neurons, measure = results.fits[results.measure], results.neurons, results.measure
    statistics = results.statistics[results.measure]
    told = [s.radius for s in statistics if s.every.linear is not None]
    headline = fits[results.headline]
    agreements = next(s for s in statistics if s.radius == results.headline).predictions
    names = {"neurgrad": "NeurGrad", "computed": "CG"}
    return drawings(
        {
            "linearity": lambda: figures.linearity_figure(
                told,
                [fits[r].pearson for r in told],
                [resolved(neurons, fits[r], measure) for r in told],
                statistics,
            ),
            "predictions": lambda: figures.predictions_figure(
                headline.slope,
                [(name, results.neurons[key]) for key, name in names.items()],
                [agreements[key] for key in names],
            ),
            "layers": lambda: figures.layers_figure(
                results.neurons["layer"], headline.slope, layers
            ),
            "gallery": lambda: figures.gallery_figure(results.most_linear, results.least_linear),
            "noise": lambda: figures.noise_figure(
                results.ranges, [fits[r].largest_change for r in results.ranges], neurons["bound"]
            ),
        }
    )


def printed(inputs: facts.Inputs, folder: RunFolder, results: Results) -> str:
    """The table for the terminal, and where the report lies."""
    count, prompts = len(results.neurons["layer"]), len(results.prompts)
    lines = [
        f"{inputs.lm.name}: {prompts} prompts, {count:,} neurons (site {inputs.site}), "
        f"shifts {facts.convention()}"
    ]
    for measure, found in results.statistics.items():
        lines += [
            "",
            f"{measure}: {linearity_report.MEASURES[measure]}",
            *aligned(linearity_report.HEAD, [linearity_report.cells(s) for s in found]),
        ]
    compared = results.comparison
    if compared and compared.slope and compared.curve:
        lines += [
            "",
            f"series against grid: NEG differs by {compared.slope['0.5']:.1e} (median), "
            f"{compared.slope['0.95']:.1e} (95%); ΔP by {compared.curve['0.5']:.1f} (median) noise "
            "deviations",
        ]
    return "\n".join([*lines, "", f"report: {folder.path / store.REPORT}"])
