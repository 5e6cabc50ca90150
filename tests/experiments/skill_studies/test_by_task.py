"""The studies that look at each task by itself, from flags to folder, and their figures."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from absl import flags
from matplotlib.figure import Figure
from pyarrow import parquet

from experiments.inputs import benchmark_flags
from experiments.reporting import figures, skill_figures
from experiments.running import study as runner
from experiments.skill_studies import accuracies
from experiments.skill_studies import inputs as skills_inputs
from experiments.skill_studies.inputs import Measured
from experiments.skills_efficiency import program as skills_efficiency
from experiments.skills_flexibility import program as skills_flexibility
from experiments.skills_interdependency import program as skills_interdependency
from negjax import mceval8k
from negjax.storage import store
from negjax.weights.saving import save_pretrained
from tests.support.block_shapes import tiny
from tests.support.pages import Page
from tests.support.places import FLAGFILES
from tests.support.tasks_in_memory import SIZES, TASKS, measured_task
from tests.support.tiny_runs import undraw

pytestmark = pytest.mark.usefixtures("restored_flags", "well_drawn")

STUDIES = {
    "skills_efficiency": (skills_efficiency, ["neurons", "prompts"]),
    "skills_flexibility": (skills_flexibility, ["sets"]),
    "skills_interdependency": (skills_interdependency, ["gains", "matrices"]),
}
OWN = {
    "skills_efficiency": ["--by_prompts=polar,magn"],
    "skills_flexibility": ["--set_size=5", "--disjoint_sets=0"],
    "skills_interdependency": ["--depths=1,2", "--tree_counts=1,3"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("inputs")
    save_pretrained(tiny("gated"), path / "gated")
    return path


@pytest.fixture(scope="module")
def measured(folder: Path) -> dict[str, Measured]:
    return {name: measured_task(folder, name)[0] for name in TASKS}


def parse(folder: Path, output: Path, *more: str) -> None:
    given = {"model": folder / "gated", "root": folder / "root", "output": output}
    sizes = {part: min(size, 8) for part, size in SIZES.items()}
    named = [f"--{name}={value}" for name, value in (given | sizes).items()]
    flags.FLAGS(["experiment", *named, "--compilation_cache=none", *more])


@pytest.mark.parametrize("name", STUDIES)
def test_a_run_writes_what_it_found(
    name: str,
    folder: Path,
    measured: dict[str, Measured],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    study, pictures = STUDIES[name]
    asked = []

    def found(lm: object, task: mceval8k.Task) -> Measured:
        asked.append(task.name)
        return measured[task.name]

    monkeypatch.setattr(skills_inputs, "measure", found)
    undraw(monkeypatch)
    given = [f"--tasks={','.join(TASKS)}", *OWN[name]]
    parse(folder, tmp_path, *given)
    assert runner.run(study.prepare) == 0
    assert asked == list(TASKS)
    assert str(tmp_path / store.REPORT) in capsys.readouterr().out
    summary = json.loads((tmp_path / store.SUMMARY).read_text(encoding="utf-8"))
    assert summary["complete"] and summary["tasks"] == list(TASKS)
    assert summary["asked"] == {task: [measured[task].about] for task in TASKS}
    for verdict in summary["verdicts"]:
        said = [*verdict["for_it"], *verdict["against"], *verdict["silent"]]
        assert sorted(said) == sorted(TASKS), verdict["claim"]
    table = parquet.read_table(tmp_path / store.ACCURACIES).to_pylist()
    assert {row["task"] for row in table} == set(TASKS)
    assert {row["part"] for row in table} == {"valid", "test"}
    assert all(row["low"] <= row["accuracy"] <= row["high"] for row in table)
    files = sorted(file.name for file in (tmp_path / store.FIGURES).iterdir())
    assert files == sorted(f"{p}.{form}" for p in pictures for form in ("png", "svg"))
    page = Page((tmp_path / store.REPORT).read_text(encoding="utf-8"))
    assert len(page.images) == len(pictures)
    assert "What this says of the paper's claim" in page.text
    # What is finished is not measured again.
    parse(folder, tmp_path, *given)
    assert runner.run(study.prepare) == 0
    assert asked == list(TASKS)
    # Another setting is another run.
    own = {"skills_efficiency": "--by_prompts=polar", "skills_flexibility": "--set_size=6"}
    parse(folder, tmp_path, *given, own.get(name, "--nounlimited"))
    with pytest.raises(ValueError, match=f"{tmp_path} holds a run with other settings"):
        runner.run(study.prepare)


@pytest.mark.parametrize(
    ("study", "flag", "message"),
    [
        (skills_efficiency, "--by_prompts=random", "--by_prompts=random: expected some of polar, "),
        (skills_efficiency, "--by_prompts=", "--by_prompts=: expected some of polar, "),
        (skills_interdependency, "--depths=1,2.5", "--depths=1,2.5: expected whole numbers from"),
        (skills_interdependency, "--depths=-1,2", "--depths=-1,2: expected whole numbers from 1"),
        (skills_interdependency, "--depths=two", "--depths=two: could not convert"),
        (skills_interdependency, "--tree_counts=5,5", "--tree_counts=5,5: a number is named twice"),
        (skills_interdependency, "--tree_counts=0", "--tree_counts=0: expected 1 or more"),
        (skills_flexibility, "--tasks=nerd", "--tasks=nerd: expected some of ged, pos"),
    ],
)
def test_bad_flags_are_refused_by_name(study: ModuleType, flag: str, message: str) -> None:
    flags.FLAGS(["experiment", flag])
    with pytest.raises(ValueError, match=message):
        runner.run(study.prepare)


@pytest.mark.parametrize("flag", ["set_size=0", "disjoint_sets=-1"])
def test_sets_have_neurons(flag: str) -> None:
    with pytest.raises(flags.IllegalFlagValueError, match=flag):
        flags.FLAGS(["experiment", f"--{flag}"])


@pytest.mark.parametrize("size", ["quick", "full"])
@pytest.mark.parametrize("name", STUDIES)
def test_flag_files(name: str, size: str) -> None:
    file = FLAGFILES / f"{name}_{size}.flags"
    assert f"python -m experiments.{name}:" in file.read_text(encoding="utf-8")
    flags.FLAGS(["experiment", f"--flagfile={file}"])
    assert flags.FLAGS.output == f"runs/{name}_{size}"
    assert len(benchmark_flags.tasks()) == (1 if size == "quick" else 22)
    # The same prompts as those of the table of accuracies: their features are measured once.
    table = (FLAGFILES / f"skills_{size}.flags").read_text(encoding="utf-8").splitlines()
    assert {f"--{part}={count}" for part, count in skills_inputs.FLAGS.read().sizes.items()} <= set(
        table
    )
    assert size == "full" or f"--tasks={benchmark_flags.tasks()[0]}" in table


def drawn_by(draw: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> Figure:
    drawn: list[Figure] = []
    monkeypatch.setattr(figures, "rendered", drawn.append)
    draw()
    return drawn[0]


@pytest.mark.parametrize(("count", "lines", "across"), [(1, 1, 1), (3, 1, 3), (6, 2, 4)])
def test_matrices_stand_in_lines_of_four(
    count: int, lines: int, across: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrices = [(str(n), np.full((2, 3), n / 10)) for n in range(count)]
    figure = drawn_by(
        lambda: skill_figures.matrix_figure(
            *(matrices, ["a", "b"], ["x", "y", "z"], "accuracy"),
            form=".2f",
            axes_names=("depth", "trees"),
        ),
        monkeypatch,
    )
    panels = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title(loc="left") or axes.get_title() for axes in panels] == [
        title for title, _ in matrices
    ]
    places = [axes.get_subplotspec() for axes in panels]
    assert places[0] is not None
    grid = places[0].get_gridspec()
    assert (grid.nrows, grid.ncols) == (lines, across)
    shown = [text.get_text() for text in panels[-1].texts]
    assert shown == [f"{(count - 1) / 10:.2f}".replace("0.", ".")] * 6
    assert (panels[0].get_ylabel(), panels[0].get_xlabel()) == ("depth", "trees")


def test_differences_have_colours_of_two_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = np.asarray([[0.3, -0.1], [0.004, -0.004]])
    figure = drawn_by(
        lambda: skill_figures.matrix_figure(
            *([("", matrix)], ["a", "b"], ["a", "b"], "lead"), form="+.0f", percent=True
        ),
        monkeypatch,
    )
    [image] = [image for axes in figure.axes for image in axes.images]
    assert image.get_clim() == (-0.3, 0.3)
    assert [text.get_text() for text in figure.axes[0].texts] == ["+30", "−10", "0", "0"]


@pytest.mark.parametrize(("size", "shown"), [(20, 400), (60, 0)])
def test_numbers_too_small_to_read_are_left_out(
    size: int, shown: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, matrix = [str(n) for n in range(size)], np.full((size, size), 0.123)
    figure = drawn_by(
        lambda: skill_figures.matrix_figure([("", matrix)], names, names, "", form=".3f"),
        monkeypatch,
    )
    assert len(figure.axes[0].texts) == shown


def test_every_probe_has_a_colour_of_its_own() -> None:
    assert len(set(accuracies.COLORS.values())) == len(accuracies.PROBES)
    assert accuracies.COLORS.keys() == accuracies.MEANINGS.keys() == accuracies.PROBES.keys()
