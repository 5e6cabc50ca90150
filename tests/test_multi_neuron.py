"""The study of many neurons at once: which sets, what is predicted, from flags to folder."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver
from pyarrow import parquet

import negjax
from experiments import common, multi_neuron
from experiments.multi_neuron_results import prediction
from experiments.multi_neuron_sets import CHOICES, design, pool, shifts_of, sizes_up_to
from negjax import set_figures, store, study
from negjax.export import save_pretrained
from negjax.figures import Picture
from tests.block_shapes import tiny
from tests.test_report import PNG, Page

ROOT = Path(__file__).parents[1]
PROMPTS = [f"w{i} w{i + 1} w{i + 2}" for i in range(2, 8)]
ANSWERS = [f"w{i}" for i in range(5, 11)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models and a table, as a user has them."""
    path = tmp_path_factory.mktemp("inputs")
    for shape in ("gated", "bert"):
        save_pretrained(tiny(shape), path / shape)
    lines = [f"{p},{a},{p} [MASK] w2" for p, a in zip(PROMPTS, ANSWERS, strict=True)]
    (path / "facts.csv").write_text("\n".join(["prompt,answer,masked", *lines]))
    return path


@pytest.fixture(autouse=True)
def restored_flags() -> Iterator[None]:
    with flagsaver.flagsaver():
        yield


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are built, but not rendered, which takes longer than the rest of a tiny run."""
    monkeypatch.setattr(set_figures, "rendered", lambda figure: Picture(b"<svg/>", PNG))


def parse(folder: Path, output: Path, *more: str) -> None:
    flags.FLAGS(
        [
            "experiment",
            f"--model={folder / 'gated'}",
            f"--probes={folder / 'facts.csv'}",
            f"--output={output}",
            "--compilation_cache=none",
            "--prompts=2",
            "--largest=8",
            "--magnitudes=1,2",
            *more,
        ]
    )


def summary(output: Path) -> dict[str, Any]:
    found = json.loads((output / store.SUMMARY).read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def columns(output: Path, name: str = store.SETS) -> dict[str, np.ndarray]:
    table = parquet.read_table(output / name)
    return {n: table.column(n).to_numpy() for n in table.column_names}


# ---- Which sets.


def test_sizes():
    np.testing.assert_array_equal(sizes_up_to(1), [1])
    np.testing.assert_array_equal(sizes_up_to(60), [1, 2, 4, 8, 16, 32])
    assert sizes_up_to(4096)[-1] == 4096


@pytest.mark.parametrize("choice", CHOICES)
def test_pools(choice):
    neurgrad = np.random.default_rng(0).normal(size=(4, 10))
    neurons = pool(choice, neurgrad, 8, 3, np.random.default_rng(1))
    assert neurons.shape == (24 if choice == "layer" else 8, 2)
    assert neurons.min() >= 0 and (neurons < (4, 10)).all()
    if choice == "layer":
        assert [len(set(part[:, 0])) for part in np.split(neurons, 3)] == [1, 1, 1]
        assert len(set(neurons[::8, 0])) == 3
        neurons = neurons[:8]
    assert len({tuple(n) for n in neurons}) == 8
    if choice == "even":
        assert [sorted(neurons[i : i + 4, 0]) for i in (0, 3, 4)] == [[0, 1, 2, 3]] * 3
    if choice == "top":
        size = np.abs(neurgrad[tuple(neurons.T)])
        np.testing.assert_array_equal(size, np.sort(np.abs(neurgrad).reshape(-1))[:-9:-1])
    again = pool(choice, neurgrad, 8, 3, np.random.default_rng(1))
    np.testing.assert_array_equal(pool(choice, neurgrad, 8, 3, np.random.default_rng(1)), again)


@pytest.mark.parametrize("choice", CHOICES)
def test_no_set_comes_twice_and_all_combinations_come(choice):
    sets = design(choice, 8, 3, ["same", "random"], np.asarray([1.0, 2.0]))
    parts = shifts_of(choice, sets, 8, np.random.default_rng(0))
    seen = set()
    for (members, shifts), size, random, shift in zip(
        parts, sets.size, sets.random_signs, sets.shift, strict=True
    ):
        assert len(members) == len(set(members)) == size == len(shifts)
        assert members.max() < (24 if choice == "layer" else 8)
        assert set(np.abs(shifts)) == {abs(shift)}
        if not random:
            assert set(shifts) == {shift}
            key = (tuple(sorted(members)), float(shift))
            assert key not in seen
            seen.add(key)
    same = ~sets.random_signs
    found = set(zip(sets.size[same], sets.shift[same], strict=True))
    assert found == {(size, x) for size in (1, 2, 4, 8) for x in (-2, -1, 1, 2)}
    assert set(sets.draw[sets.random_signs]) == {0, 1, 2}
    # Random signs come with all of them turned round, and are not all alike.
    for i in np.flatnonzero(sets.random_signs):
        turned = np.flatnonzero(
            sets.random_signs
            & (sets.size == sets.size[i])
            & (sets.draw == sets.draw[i])
            & (sets.shift == -sets.shift[i])
        )
        np.testing.assert_array_equal(parts[turned[0]][1], -parts[i][1])
    assert any(len(set(parts[i][1])) == 2 for i in np.flatnonzero(sets.random_signs))


def test_draws_are_other_neurons_as_far_as_there_are():
    sets = design("random", 8, 2, ["same"], np.asarray([1.0]))
    parts = shifts_of("random", sets, 8, np.random.default_rng(0))
    assert sets.size.tolist() == [1, 1, 1, 1, 2, 2, 2, 2, 4, 4, 4, 4, 8, 8]
    for first, second in ((0, 2), (4, 6), (8, 10)):
        assert (sets.draw[first], sets.draw[second]) == (0, 1)
        assert not set(parts[first][0]) & set(parts[second][0])


# ---- What is predicted.


def test_explained_share():
    measured = np.asarray([1.0, 2.0, 3.0, 6.0])
    assert study.explained(measured, measured) == 1
    assert study.explained(np.full(4, 3.0), measured) == 0
    assert study.explained(2 * measured, measured) == pytest.approx(1 - 50 / 14)
    assert study.explained(measured, np.full(4, 2.0)) is None
    assert study.explained(np.zeros(0), np.zeros(0)) is None


def test_predictions():
    sets = {"prompt": np.asarray([0, 0, 0, 4, 4, 4]), "baseline": np.full(6, 0.5)}
    change = np.asarray([0.1, 0.2, -0.3, 0.0, 0.1, 0.4])
    right = prediction(change, change, sets)
    assert (right.pearson, right.explained, right.impossible) == (1, 1, 0)
    assert right.slope == pytest.approx(1)
    half = prediction(2 * change, change, sets)
    assert half.slope == pytest.approx(0.5)
    assert half.pearson == pytest.approx(1) and half.explained is not None
    assert half.explained < 1
    assert half.impossible == pytest.approx(2 / 6)
    # Right within each prompt, but not across them.
    shifted = prediction(change + np.repeat([0.0, 5.0], 3), change, sets)
    assert shifted.prompt_pearson == pytest.approx(1)
    assert shifted.pearson is not None and shifted.pearson < 0.9
    nothing = prediction(np.zeros(6), change, sets)
    assert nothing.pearson is nothing.slope is nothing.prompt_pearson is None


# ---- From flags to folder.


def test_the_study_agrees_with_the_library(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parse(folder, tmp_path)
    assert multi_neuron.main() == 0
    sets, neurons, about = columns(tmp_path), columns(tmp_path, store.NEURONS), summary(tmp_path)
    chosen = parquet.read_table(tmp_path / store.PROMPTS).to_pydict()
    lm = negjax.load(folder / "gated")
    for number in range(2):
        probes = negjax.encode(lm, [chosen["text"][number]], [chosen["answer"][number]])
        gradients = negjax.neurgrad(lm, probes)
        for choice in CHOICES:
            mine = (neurons["prompt"] == number) & (neurons["choice"] == choice)
            own = np.stack([neurons["layer"][mine], neurons["neuron"][mine]], axis=-1)
            at = tuple(own.T)
            neg = negjax.linear_fit(
                negjax.sweep(lm, probes, own, np.asarray([-2.0, -1.0, 1.0, 2.0]))
            ).slope[0]
            np.testing.assert_allclose(neurons["neg"][mine], neg, rtol=1e-4, atol=1e-8)
            gradient = gradients.neurgrad[0, 0][at]
            np.testing.assert_allclose(neurons["gradient"][mine], gradient, rtol=1e-4, atol=1e-9)
            # Of a draw, the first neurons; with one sign, all of them by the same shift.
            some = (sets["prompt"] == number) & (sets["choice"] == choice)
            some &= (sets["draw"] == 0) & (sets["signs"] == "same")
            asked = list(zip(sets["size"][some], sets["shift"][some], strict=True))
            made = negjax.neuron_sets(lm.config, [(own[:n], x) for n, x in asked])
            expected = {
                "predicted_neg": [neg[:n].sum() * x for n, x in asked],
                "predicted_gradient": [gradient[:n].sum() * x for n, x in asked],
            }
            added = negjax.joint(lm, probes, made, spread=True)
            assert added.kl is not None and added.entropy is not None
            expected |= {"change_added": added.change()[0], "kl_added": added.kl[0]}
            expected |= {"entropy_added": added.entropy[0]}
            activation = gradients.activation[0][at]
            s = np.where(activation > 0, 1, -1)
            held = negjax.neuron_sets(
                lm.config, [(own[:n], activation[:n] + s[:n] * x) for n, x in asked]
            )
            clamped = negjax.joint(lm, probes, held, clamp=True)
            expected |= {"change_clamped": clamped.change()[0]}
            for name, values in expected.items():
                found = sets[name][some]
                scale = np.abs(values).max()
                assert np.abs(found - values).max() < 2e-5 * scale, (name, choice)
    assert about["sets_measured"] == len(sets["size"])
    assert about["neurons_measured"] == len(neurons["neg"]) == 2 * (3 * 8 + 2 * 8)
    told = {
        (a["choice"], a["variant"], a["size"]): a
        for a in about["additivity"]
        if a["magnitude"] is None
    }
    some = (sets["choice"] == "top") & (sets["size"] == 8)
    r = study.correlation(sets["predicted_neg"][some], sets["change_clamped"][some])
    assert told["top", "clamped", 8]["predictions"]["neg"]["pearson"] == pytest.approx(r)
    assert told["top", "clamped", 8]["sets"] == some.sum()
    page = Page((tmp_path / store.REPORT).read_text(encoding="utf-8"))
    assert len(page.images) == 4
    assert {p.stem for p in (tmp_path / store.FIGURES).iterdir()} == {
        "additivity",
        "magnitudes",
        "effects",
        "sums",
    }
    printed = capsys.readouterr().out
    assert "layer: drawn from one layer" in printed
    assert printed.endswith(f"report: {tmp_path / store.REPORT}\n")


@pytest.mark.usefixtures("undrawn")
def test_small_shifts_add_up_and_one_layer_has_no_upstairs(folder: Path, tmp_path: Path) -> None:
    small = ("--magnitudes=0.025,0.05", "--neg_shifts=-0.05,-0.025,0.025,0.05")
    parse(folder, tmp_path, *small)
    assert multi_neuron.main() == 0
    for found in summary(tmp_path)["additivity"]:
        if found["variant"] == "added":
            for told in found["predictions"].values():
                assert told["explained"] > 0.99, found
                assert told["slope"] == pytest.approx(1, abs=0.05), found
    sets = columns(tmp_path)
    layer = sets["choice"] == "layer"
    difference = np.abs(sets["change_added"] - sets["change_clamped"])
    assert difference[layer].max() < 2e-7
    assert difference[~layer].max() > 1e-4


@pytest.mark.usefixtures("undrawn")
def test_a_masked_model_additively(folder: Path, tmp_path: Path) -> None:
    parse(
        folder,
        tmp_path,
        f"--model={folder / 'bert'}",
        "--prompt_column=masked",
        "--convention=additive",
        "--choices=top,layer",
        "--signs=random",
        "--draws=1",
    )
    assert multi_neuron.main() == 0
    sets, neurons, about = columns(tmp_path), columns(tmp_path, store.NEURONS), summary(tmp_path)
    assert (about["site"], about["convention"]) == ("act", "additive")
    assert set(sets["choice"]) == {"top", "layer"} and set(sets["signs"]) == {"random"}
    lm = negjax.load(folder / "bert")
    chosen = parquet.read_table(tmp_path / store.PROMPTS).to_pydict()
    probes = negjax.encode(lm, chosen["text"], chosen["answer"])
    at = neurons["prompt"], neurons["layer"], neurons["neuron"]
    computed = negjax.neurgrad(lm, probes).computed[:, 0][at]
    np.testing.assert_allclose(neurons["gradient"], computed, rtol=1e-4, atol=1e-9)


@pytest.mark.usefixtures("undrawn")
def test_finished_groups_are_not_measured_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = ("--choices=random,top", "--largest=4", "--signs=same", "--draws=1")
    parse(folder, tmp_path / "whole", *more)
    assert multi_neuron.main() == 0
    calls: list[int] = []
    measure = negjax.joint

    def interrupted_joint(*args: Any, **options: Any) -> negjax.Joint:
        calls.append(len(args[2]))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return measure(*args, **options)

    parse(folder, tmp_path / "broken", *more)
    monkeypatch.setattr(negjax, "joint", interrupted_joint)
    assert multi_neuron.main() == 130
    partial = summary(tmp_path / "broken")
    assert (partial["complete"], partial["prompts_measured"]) == (False, 1)
    assert {a["choice"] for a in partial["additivity"]} == {"random"}
    assert "was interrupted" in (tmp_path / "broken" / store.REPORT).read_text(encoding="utf-8")
    assert multi_neuron.main() == 0
    # Each of the four groups calls it twice, the broken one began anew.
    assert len(calls) == 4 + 2 * 3
    for name in (store.SETS, store.NEURONS):
        whole, broken = columns(tmp_path / "whole", name), columns(tmp_path / "broken", name)
        assert whole.keys() == broken.keys()
        for column, values in whole.items():
            np.testing.assert_array_equal(broken[column], values, err_msg=column)
    parse(folder, tmp_path / "broken", *more, "--largest=8")
    with pytest.raises(ValueError, match=r"other settings \(largest was 4, now 8\); pass another"):
        multi_neuron.main()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("--largest=61", r"--largest=61: .*gated has 60 neurons"),
        ("--choices=top,best", r"--choices=top,best: expected some of random, even, layer, top, e"),
        ("--choices=top,top", r"--choices=top,top: expected some of .*, each once"),
        ("--choices=", r"--choices=: expected some of"),
        ("--signs=plus", r"--signs=plus: expected some of same, random, each once"),
        ("--magnitudes=1,-2", r"--magnitudes=1,-2: expected positive numbers; each is used in bo"),
        ("--magnitudes=", r"--magnitudes=: expected 1 or more different numbers, none 0"),
        ("--magnitudes=1,x", r"--magnitudes=1,x: could not convert"),
        ("--neg_shifts=1", r"--neg_shifts=1: expected 2 or more different numbers, none 0"),
        ("--neg_shifts=1,1,2", r"--neg_shifts=1,1,2: a number is named twice"),
        ("--neg_shifts=1,inf", r"--neg_shifts=1,inf: expected 2 or more different numbers"),
        ("--site=act", r"site 'act'"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(
    folder: Path, tmp_path: Path, more: str, message: str
) -> None:
    parse(folder, tmp_path / "run", more)
    with pytest.raises(ValueError, match=message):
        multi_neuron.main()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "name", ["multi_neuron_quick", "multi_neuron_paper", "multi_neuron_facts_bert"]
)
def test_every_flag_file_is_understood(name: str) -> None:
    flags.FLAGS(["experiment", f"--flagfile={ROOT / 'experiments' / 'flagfiles' / name}.flags"])
    assert common.output_folder("x") == Path("runs") / name
    assert multi_neuron._plan().largest == 4096


def test_every_flag_says_what_it_is() -> None:
    for flag in flags.FLAGS.flags_by_module_dict()["experiments.multi_neuron"]:
        assert len(str(flag.help)) > 10, flag.name
