"""What the study of probes' accuracies shows: tables, figures, numbers of its report's template."""

import statistics
from collections.abc import Callable, Mapping, Sequence

from experiments.reporting import skill_figures
from experiments.reporting.figures import Picture
from experiments.reporting.tables import Table
from experiments.skill_studies import accuracies as acc
from experiments.skill_studies.inputs import PARTS
from experiments.skill_studies.jobs import Results, Row
from experiments.skill_studies.study import Shown

PAPER: Mapping[str, tuple[float, float, float, float]] = {
    "ner": (0.361, 0.453, 0.498, 0.740),
    "agnews": (0.588, 0.849, 0.702, 0.872),
    "paws": (0.524, 0.825, 0.815, 0.888),
    "csqa": (0.610, 0.613, 0.639, 0.773),
    "halueval": (0.520, 0.788, 0.783, 0.818),
    "mlama": (0.608, 0.622, 0.637, 0.724),
}
"""Reported for Llama2-7B by Zhao, Jiang and Yoshinaga (ACL 2025): LM-Prob, Act, Magn, Tree."""
PAPER_PROBES = ("lm_prob", "act", "magn", "tree")
BASELINES = ("majority", "lm_prob", "random")
"""Probes of which none is a finding."""


def findings(results: Results) -> Shown:
    """Tables, figures and summary of the finished tasks."""
    rows = [row for result in results.values() for row in result.rows]
    cells = {(row.task, row.probe, row.split, row.part): row for row in rows}
    splits = list(dict.fromkeys(row.split for row in rows))
    probes = [name for name in acc.PROBES if any(row.probe == name for row in rows)]

    def of(probe: str, split: str = splits[0], part: str = "test") -> list[Row]:
        return [cells[task, probe, split, part] for task in results]

    def mean(probe: str, split: str = splits[0], part: str = "test") -> acc.Mean:
        return acc.mean_of(of(probe, split, part))

    def counted(tests: Sequence[bool | None]) -> str:
        return f"{tests.count(True)} of {acc.tasks_in_words(len(results))}"

    def leads(probe: str) -> str:
        return counted([acc.above(*pair) for pair in zip(of(probe), of("lm_prob"), strict=True)])

    own = "lm_prob" in probes
    best = max([p for p in probes if p not in BASELINES] or probes, key=lambda p: mean(p).accuracy)
    means = "; ".join(f"mean accuracy||{split}" for split in splits)
    return Shown(
        values={
            "split": splits[0],
            "probe": acc.PROBES[best],
            "of_probe": acc.interval(mean(best)),
            "guess": statistics.fmean(map(acc.chance, results)),
            "own": own and acc.interval(mean("lm_prob")),
            "gain": own and acc.signed(acc.mean_gain(zip(of(best), of("lm_prob"), strict=True))),
            "leads": own and leads(best),
        },
        tables={
            "means": acc.table_of(
                f"probe; {means}; above a guess; above LM-Prob",
                [
                    (
                        *(acc.PROBES[p], *(acc.interval(mean(p, split)) for split in splits)),
                        *(
                            counted([not acc.guessed(row) for row in of(p)]),
                            leads(p) if own else None,
                        ),
                    )
                    for p in probes
                ],
            ),
            "accuracies": _accuracies(results, cells, splits, probes),
        },
        figures=_figures(results, {probe: of(probe) for probe in probes}),
        printed="means",
        summary={
            "accuracy": {
                s: {part: {p: mean(p, s, part).accuracy for p in probes} for part in PARTS}
                for s in splits
            }
        },
    )


def _accuracies(
    results: Results,
    cells: Mapping[tuple[str, str, str, str], Row],
    splits: Sequence[str],
    probes: Sequence[str],
) -> Table:
    def row(task: str, probe: str) -> list[object]:
        shares = {
            at: cells[task, probe, *at] for at in ((s, part) for s in splits for part in PARTS)
        }
        shown = [acc.interval(r) if r.part == "test" else r.accuracy for r in shares.values()]
        tests = [shares[split, "test"].accuracy for split in sorted(splits)]
        leak = tests[1] - tests[0] if len(tests) > 1 else None
        reported = dict(zip(PAPER_PROBES, PAPER.get(task, ()), strict=False)).get(probe)
        return [task, results[task].more["genre"], acc.PROBES[probe], *shown, leak, reported]

    forms = {"train": ".1%", "valid": ".1%", "test": ""}
    shares = [f"{part}|{forms[part]}|{split}" for split in splits for part in PARTS]
    return acc.table_of(
        "; ".join(["task; genre; probe", *shares, "leak|+.1%; Llama2-7B|.1%"]),
        [row(task, probe) for task in results for probe in probes],
    )


def _figures(
    results: Results, rows: Mapping[str, Sequence[Row]]
) -> dict[str, Callable[[], Picture] | None]:
    tasks = list(results)
    # Of tasks whose probes have neurons.
    layers = {task: some for task, result in results.items() if (some := result.more["layers"])}

    def accuracy() -> Picture:
        series = [acc.series_of(some, range(len(tasks)), probe=p) for p, some in rows.items()]
        return skill_figures.dots_figure(tasks, series, [*map(acc.chance, tasks)])

    def drawn() -> Picture:
        probes = next(iter(layers.values()))
        counts = {probe: [some[probe] for some in layers.values()] for probe in probes}
        return acc.layers_figure(list(layers), counts)

    return {"accuracy": accuracy, "layers": drawn if layers else None}
