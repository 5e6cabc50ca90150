"""The study of robustness: its matrices against scores in memory, what it says, flags to folder."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver
from pyarrow import parquet

from experiments.inputs import benchmark_flags
from experiments.running import study
from experiments.skill_studies import inputs as skills_inputs
from experiments.skill_studies import transfer as skills_transfer
from experiments.skill_studies.jobs import Row, TaskResult
from experiments.skills_robustness import program as skills_robustness
from experiments.skills_robustness.program import Way
from experiments.skills_robustness.results import FITTED, common_names, mean_matrix, transfer_of
from negjax import mceval8k, skills
from negjax.storage import store
from negjax.weights.saving import save_pretrained
from tests.support.block_shapes import precision, tiny
from tests.support.made_up_mceval8k import write_task
from tests.support.pages import Page
from tests.support.places import FLAGFILES
from tests.support.tasks_in_memory import Memory, encode_as_tokens, made_up
from tests.support.tiny_runs import undraw

pytestmark = pytest.mark.usefixtures("well_drawn")


@pytest.fixture(autouse=True)
def restored_flags() -> Iterator[None]:
    with flagsaver.flagsaver():
        flags.FLAGS(["experiment"])
        yield


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("benchmark")
    for name in ("mnli", "xnli"):
        write_task(root, name, 8)
    save_pretrained(tiny("gated"), root / "model")
    return root


def parse(benchmark: Path, output: Path, *more: str) -> None:
    given = [f"--root={benchmark}", f"--model={benchmark / 'model'}", f"--output={output}"]
    given += [f"--features={benchmark / 'features'}", "--compilation_cache=none", "--trees=4"]
    sizes = ["--train=12", "--valid=6", "--test=6", "--best_neurons=6", "--tasks=mnli,xnli"]
    flags.FLAGS(["experiment", *given, *sizes, *more])


# ---- Against scores in memory.


def best_of(kind: type, name: str, train: Memory, valid: Memory) -> skills.FittedProbe:
    """The number of neurons that does best on valid, the smallest of several."""

    def right(probe: skills.FittedProbe) -> float:
        values = valid.activation if name == "act" else valid.scores
        return float((probe.predict(values) == valid.gold).mean())

    told = (train.activation, train.gold, 3) if name == "act" else (train.scores, train.gold)
    return max((kind(2**n).fit(*told) for n in range(6)), key=right)


def predicted(name: str, source: dict[str, Memory], test: Memory) -> np.ndarray:
    if name == "lm_prob":
        return test.probability.argmax(1)
    if name == "tree":
        forest = skills.Tree(trees=4).fit(source["train"].scores, source["train"].gold)
        return forest.predict(test.scores)
    kind = {"polar": skills.Polar, "magn": skills.Magn, "act": skills.Act}[name]
    probe = best_of(kind, name, source["train"], source["valid"])
    return probe.predict(test.activation if name == "act" else test.scores)


def test_matrices_losses_and_neurons_against_scores_in_memory(tmp_path):
    with precision("float64"):
        lm = tiny("gated", "float64")
        made = [made_up(tmp_path, lm, seed=seed) for seed in range(2)]
        names = [f"template {n}" for n in range(2)]
        measured = {"template": dict(zip(names, (m for m, _ in made), strict=True))}
        memory = dict(zip(names, (m for _, m in made), strict=True))
        found = skills_robustness.transfers(measured, FITTED, trees=4, shared=7)
        for name in FITTED:
            cells = {(str(r.source), str(r.target)): r for r in found.rows if r.probe == name}
            right = {
                (s, t): predicted(name, memory[s], memory[t]["test"]) == memory[t]["test"].gold
                for s in names
                for t in names
                if s == t or name != "lm_prob"
            }
            assert cells.keys() == right.keys()
            for at, row in cells.items():
                assert row.accuracy == pytest.approx(right[at].mean(), abs=1e-12), (name, at)
                assert row.low <= row.accuracy <= row.high
                assert (row.task, row.tested, row.trained) == ("mnli", 24, 24)
            if name != "lm_prob":
                lost = [right[t, t].mean() - right[s, t].mean() for s, t in right if s != t]
                loss, low, high = found.more["losses"]["template"][name]
                assert loss == pytest.approx(np.mean(lost), abs=1e-12)
                assert low < loss < high
    for rule, votes in (("polar", skills.polar_votes), ("magn", skills.magn_votes)):

        def best(way: str, some: slice, votes=votes) -> set[int]:
            train = memory[way]["train"]
            total = np.asarray(votes(train.scores[some], train.gold[some]))
            return set(skills.rank_neurons(total, count=7).neurons.tolist())

        shared = found.more["shared"]["template"][rule]
        every, first, rest = slice(None), slice(8), slice(8, None)
        for kind, one, other in (("all", every, every), ("halves", first, rest)):
            expected = [
                [len(best(s, one) & best(t, other)) / len(best(s, one) | best(t, other))]
                for s in names
                for t in names
            ]
            np.testing.assert_allclose(np.reshape(shared[kind], -1), np.ravel(expected))
        assert np.diag(shared["all"]).tolist() == [1, 1]
        assert max(np.diag(shared["halves"])) < 1


def test_the_same_way_loses_nothing(tmp_path):
    one, _ = made_up(tmp_path, tiny("gated"))
    measured = {"language": {"language en": one, "language de": one}}
    found = skills_robustness.transfers(measured, ["polar"], trees=1, shared=5)
    assert found.more["losses"]["language"]["polar"] == (0, 0, 0)
    assert len({row.accuracy for row in found.rows}) == 1 and len(found.rows) == 4


def test_mean_intervals():
    generator = np.random.default_rng(0)
    wide, narrow = generator.normal(1, 1, 400), generator.normal(3, 0.1, 400)
    mean, low, high = skills_transfer.mean_interval([wide, narrow], seed=0)
    assert mean == pytest.approx((wide.mean() + narrow.mean()) / 2, rel=1e-12)
    # The mean of two groups moves half as much as the one group that moves.
    assert high - low == pytest.approx(2 * 1.96 * wide.std() / 20 / 2, rel=0.1)
    assert low < mean < high


def test_probes_refuse_other_labels(tmp_path):
    one, _ = made_up(tmp_path, tiny("gated"))
    votes = one.parts["train"].votes("polar")
    with pytest.raises(ValueError, match="holds prompts of 3 labels, the probe was fitted to 2"):
        skills_transfer.ask(skills.Polar(2).from_votes(votes, 2), one.parts["test"])
    # Votes of test prompts are kept in one piece.
    with pytest.raises(ValueError, match="ask more training prompts: 9 or more"):
        skills_transfer.half_votes(one.parts["test"], "polar")


# ---- What it amounts to.


def found_of(own: float, other: float, loss: tuple[float, float, float]) -> TaskResult:
    def row(source: str, target: str, accuracy: float) -> Row:
        return Row(
            task="mnli",
            split="disjoint",
            probe="polar",
            part="test",
            tested=100,
            accuracy=accuracy,
            low=accuracy - 0.03,
            high=accuracy + 0.03,
            source=f"shots {source}",
            target=f"shots {target}",
        )

    rows = [row(s, t, own if s == t else other) for s in "01" for t in "01"]
    more = {"ways": {"shots": ["shots 0", "shots 1"]}, "losses": {"shots": {"polar": loss}}}
    return TaskResult(rows=rows, more=more)


@pytest.mark.parametrize(
    ("own", "other", "kept", "verdict"),
    [
        (0.8, 0.79, 0.979, "speaks for the claim"),
        (0.8, 0.6, 0.571, "neither holds nor loses most of it"),
        (0.8, 0.4, 0.143, "speaks against it"),
        (0.35, 0.33, None, "too close to a guess to say anything of the claim"),
    ],
)
def test_verdicts(own, other, kept, verdict):
    loss = own - other
    found = {"mnli": found_of(own, other, (loss, loss - 0.02, loss + 0.04))}
    transfer = transfer_of(found, "shots", "polar")
    assert transfer.kept == (kept if kept is None else pytest.approx(kept, abs=1e-3))
    assert transfer.verdict == verdict
    assert transfer.noise == pytest.approx(0.03 * 2**0.5)
    assert (transfer.cells, transfer.beyond) == (2, 2 * (loss > transfer.noise))
    assert (transfer.low, transfer.high) == pytest.approx((loss - 0.02, loss + 0.04))
    matrix = mean_matrix(found, "shots", "polar", common_names(found, "shots"))
    np.testing.assert_allclose(matrix, [[own, other], [other, own]])


# ---- From flags to folder.


def ways_of(name: str, axes: Sequence[str] = ("template", "shots")) -> skills_robustness.Ways:
    return skills_robustness.ways_of(name, axes, [], [0, 2], ["de", "zh"])


def test_ways(benchmark, tmp_path):
    parse(benchmark, tmp_path, "--shots=3", "--template=1")
    assert ways_of("paws") == {
        "template": {f"template {n}": Way(n, 3) for n in range(5)},
        "shots": {"shots 0": Way(1, 0), "shots 2": Way(1, 2)},
    }
    assert ways_of("lti", axes=["language"]) == {}
    assert ways_of("xnli", axes=["language"])["language"] == {
        "language de": Way(1, 3, "de"),
        "language zh": Way(1, 3, "zh"),
    }


@pytest.mark.slow
def test_a_run_is_shown_and_goes_on(benchmark, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(mceval8k, "encode_items", encode_as_tokens)
    undraw(monkeypatch)
    more = ["--templates=0,2", "--shots_list=0,1", "--languages=en,zh", "--fitted=lm_prob,polar"]
    parse(benchmark, tmp_path / "run", *more)
    assert study.run(skills_robustness.prepare) == 0
    told = capsys.readouterr().out
    assert re.search("language +Polar", told)
    rows = parquet.read_table(tmp_path / "run" / store.ACCURACIES).to_pylist()
    ways = {(r["task"], r["source"], r["target"]) for r in rows if r["probe"] == "polar"}
    assert ("xnli", "language zh", "language en") in ways
    assert ("mnli", "template 0", "template 2") in ways and len(ways) == 4 * 5
    summary = json.loads((tmp_path / "run" / store.SUMMARY).read_text("utf-8"))
    assert summary["transfer"]["language"]["polar"]["tasks"] == 1
    assert summary["transfer"]["shots"]["polar"]["tasks"] == 2
    assert summary["shared"]["template"]["k"] == 6
    page = (tmp_path / "run" / store.REPORT).read_text("utf-8")
    for text in ("From one language to another", "mnli", "are robust, are ", "as it was taught"):
        assert text in page
    assert Page(page).text
    asked = summary["asked"]["xnli"]
    assert {(way["template"], way["shots"], way["language"]) for way in asked} == {
        *(("xnli-0-v1", shots, None) for shots in (0, 1)),
        ("xnli-2-v1", 1, None),
        *(("xnli-0-v1", 1, language) for language in ("en", "zh")),
    }
    # Nothing is measured again.
    monkeypatch.setattr(skills_inputs, "measure", None)
    assert study.run(skills_robustness.prepare) == 0
    # Other ways of asking are another run.
    parse(benchmark, tmp_path / "run", *more, "--templates=0,1", "--best_neurons=5")
    with pytest.raises(ValueError, match=r"best_neurons was 6, now 5; templates was \[0, 2\], now"):
        study.run(skills_robustness.prepare)


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--axes=colour", "--axes=colour: expected some of template, shots, language"),
        ("--shots_list=1", "--shots_list=1: expected two or more to compare"),
        ("--shots_list=0,one", "--shots_list=0,one: expected numbers from 0"),
        ("--shots_list=0,-1", "--shots_list=0,-1: expected numbers from 0"),
        ("--templates=0,0", "--templates=0,0: expected numbers from 0, each once"),
        ("--templates=1", "--templates=1: expected two or more to compare"),
        ("--templates=0,7", "template 7: mnli has 3, pass 0 to 2"),
        ("--languages=en,it", "--languages=en,it: expected some of en, de, fr, es, zh"),
        ("--fitted=oracle", "--fitted=oracle: expected some of lm_prob"),
        ("--fitted=lm_prob", "--fitted=lm_prob: expected at least one probe that is taught: polar"),
        ("--tasks=sudoku", "--tasks=sudoku: expected some of ged"),
    ],
)
def test_bad_flags(benchmark, tmp_path, flag, message):
    parse(benchmark, tmp_path / "run", flag)
    with pytest.raises(ValueError, match=message):
        study.run(skills_robustness.prepare)


def test_tasks_that_no_axis_concerns(benchmark, tmp_path):
    parse(benchmark, tmp_path / "run", "--tasks=mnli", "--axes=language")
    with pytest.raises(ValueError, match="none of the tasks is asked in several such ways"):
        study.run(skills_robustness.prepare)


@pytest.mark.parametrize("name", ["quick", "full"])
def test_flag_files(name):
    file = FLAGFILES / f"skills_robustness_{name}.flags"
    flags.FLAGS(["experiment", f"--flagfile={file}"])
    assert benchmark_flags.tasks() == (["agnews"] if name == "quick" else list(mceval8k.names()))
