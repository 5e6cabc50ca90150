"""Control windows, from flags to folder, on a tiny model, against loops over whole forwards."""

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet

from experiments.reporting import intervals
from experiments.reporting.statistics import distinct_pairs
from experiments.running import study
from experiments.windows import figures
from experiments.windows import program as windows
from experiments.windows import work as windows_work
from experiments.windows.results import Fact, Text, over_facts
from experiments.windows.work import ranks
from negjax.model.language_model import LanguageModel
from negjax.storage import store
from tests.support import tiny_runs
from tests.support.pages import PNG, Page
from tests.support.processes import ended
from tests.support.reference import float64_weights, full_forward, softmax
from tests.support.sharp_models import sharp
from tests.support.tiny_runs import arguments, columns, summary, write_inputs

pytestmark = pytest.mark.usefixtures("restored_flags", "well_drawn")

PROMPTS = [f"w{i} w{i + 5} w{i + 2}" for i in range(2, 9)]
DOSES = (0.05, 0.5, 5.0)
SIZE, SINGLES, WRITTEN = 4, 5, 5
MOST_ENTROPY = 2.6
FEW_TOKENS = (
    f"--dose_grid={','.join(map(str, DOSES))}",
    *(f"--size={SIZE}", f"--singles={SINGLES}", f"--written={WRITTEN}"),
)


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    return sharp("gated")


def ids_of(lm: LanguageModel, prompt: str) -> list[int]:
    ids: list[int] = lm.tokenizer(prompt)["input_ids"]
    return ids


@pytest.fixture(scope="module")
def folder(lm: LanguageModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, and facts whose answers it gives, all but the last."""
    path = write_inputs(tmp_path_factory.mktemp("inputs"), gated=lm, bert=sharp("bert"))
    lines = ["prompt,answer,masked"]
    for prompt in PROMPTS:
        first = int(full_forward(lm, np.asarray(ids_of(lm, prompt)))[0][-1].argmax())
        wrong = 2 + (first == 2)
        answer = first if prompt != PROMPTS[-1] else wrong
        lines.append(f"{prompt},{lm.tokenizer.decode([answer])},{prompt} [MASK]")
    (path / "facts.csv").write_text("\n".join(lines))
    return path


@pytest.fixture(scope="module")
def measured(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of all facts, which tests only read anew."""
    return tmp_path_factory.mktemp("run")


def run(folder: Path, output: Path, *more: str) -> int:
    tiny_runs.parse(*arguments(folder, output, *FEW_TOKENS, *more))
    return study.run(windows.prepare)


def rows(output: Path, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = parquet.read_table(output / name).to_pylist()
    return found


class Reference:
    """A fact by forwards over whole texts in float64."""

    def __init__(self, lm: LanguageModel, prompt: str):
        self.lm, self.ids = lm, ids_of(lm, prompt)
        self.read = len(self.ids) - 1
        logits, inner = full_forward(lm, np.asarray(self.ids))
        self.answer = int(logits[-1].argmax())
        self.residual = np.linalg.norm(inner["leaving"][:, -1], axis=-1)
        self.rows = float64_weights(lm)["blocks.ffn.down.kernel"]
        self.gradient = np.zeros(self.rows.shape[:2])
        for layer, index in np.ndindex(*self.gradient.shape):
            step = np.zeros_like(self.gradient)
            step[layer, index] = 1e-4
            change = self.probability(step) - self.probability(-step)
            self.gradient[layer, index] = change / 2e-4
        self.order = np.argsort(-np.abs(self.gradient), axis=None)

    def logits(self, shift: np.ndarray | None, ids: list[int]) -> np.ndarray:
        at = np.arange(self.read, len(ids))
        found, _ = full_forward(self.lm, np.asarray(ids), site="product", shift=shift, read=at)
        return found

    def probability(self, shift: np.ndarray) -> float:
        return float(softmax(self.logits(shift, self.ids)[-1])[self.answer])

    def unit(self) -> np.ndarray:
        """Of the strongest neurons together, [L, F]."""
        shift = np.zeros_like(self.gradient)
        strongest = self.order[:SIZE]
        shift.flat[strongest] = -self.gradient.flat[strongest]
        for layer, own in enumerate(shift):
            written = sum(x * row for x, row in zip(own, self.rows[layer], strict=True))
            if own.any():
                own *= self.residual[layer] / np.linalg.norm(written)
        return shift

    def text(self, shift: np.ndarray) -> tuple[list[int], float, float, float]:
        """What is written, its perplexity without and with the shift, its mean entropy."""
        ids = list(self.ids)
        before = after = entropy = 0.0
        for _ in range(WRITTEN):
            there, here = (softmax(self.logits(x, ids)[-1]) for x in (shift, None))
            token = int(there.argmax())
            before += float(np.log(here[token]))
            after += float(np.log(there[token]))
            entropy -= float(there @ np.log(there))
            ids.append(token)
        own = ids[len(self.ids) :]
        plain, moved = (float(np.exp(-total / WRITTEN)) for total in (before, after))
        return own, plain, moved, entropy / WRITTEN


def test_doses_flips_and_texts_are_those_of_whole_forwards(
    lm: LanguageModel, folder: Path, measured: Path
) -> None:
    limits = ("--most_perplexity=40", "--least_distinct=0.7", f"--most_entropy={MOST_ENTROPY}")
    assert run(folder, measured, *limits) == 0
    about, texts, neurons = summary(measured), columns(measured, store.DOSES), columns(measured)
    assert (about["measured"], about["answered"]) == (7, 6)
    assert sorted(set(texts["fact"])) == [0, 1, 2, 3, 4, 5]
    flips, collapses, windows_found, calm = [], [], 0, []
    for number, prompt in enumerate(PROMPTS[:-1]):
        fact = Reference(lm, prompt)
        unit = fact.unit()
        own = texts["fact"] == number
        assert texts["dose"][own].tolist() == [0.0, *DOSES]
        flip = collapse = np.inf
        pairs = 0.0
        for row, dose in zip(np.flatnonzero(own), (0.0, *DOSES), strict=True):
            written, perplexity, moved, entropy = fact.text(dose * unit)
            text = "".join(f" {lm.tokenizer.decode([token])}" for token in written)
            assert texts["text"][row] == text
            assert texts["probability"][row] == pytest.approx(
                fact.probability(dose * unit), rel=1e-3, abs=1e-6
            )
            assert texts["perplexity"][row] == pytest.approx(perplexity, rel=1e-3)
            assert texts["own_perplexity"][row] == pytest.approx(moved, rel=1e-3)
            assert texts["entropy"][row] == pytest.approx(entropy, rel=1e-3)
            calm.append(entropy <= MOST_ENTROPY)
            # The first token written is the one at which flips are judged.
            assert texts["flipped"][row] == (written[0] != fact.answer)
            different = len(set(itertools.pairwise(written))) / (WRITTEN - 1)
            pairs = different if dose == 0 else pairs
            keeps = different >= 0.7 * pairs and perplexity <= 40 and entropy <= MOST_ENTROPY
            assert texts["keeps"][row] == keeps
            if dose and written[0] != fact.answer:
                flip = min(flip, dose)
            if dose and not keeps:
                collapse = min(collapse, dose)
        flips.append(flip)
        collapses.append(collapse)
        windows_found += flip < collapse
        alone = neurons["fact"] == number
        chosen = fact.order[ranks(fact.gradient.size, SINGLES)]
        layer, index = np.unravel_index(chosen, fact.gradient.shape)
        assert neurons["layer"][alone].tolist() == layer.tolist()
        assert neurons["neuron"][alone].tolist() == index.tolist()
        np.testing.assert_allclose(
            neurons["neurgrad"][alone], np.abs(fact.gradient.flat[chosen]), rtol=2e-3, atol=1e-7
        )
        for row, at in zip(np.flatnonzero(alone), chosen, strict=True):
            shift = np.zeros_like(fact.gradient)
            place = np.unravel_index(at, shift.shape)
            shift[place] = -np.sign(fact.gradient[place]) * fact.residual[place[0]]
            shift[place] /= np.linalg.norm(fact.rows[place])
            tokens = [int(fact.logits(dose * shift, fact.ids)[-1].argmax()) for dose in DOSES]
            first = [dose for dose, t in zip(DOSES, tokens, strict=True) if t != fact.answer]
            expected = min(first, default=np.nan)
            np.testing.assert_equal(neurons["flip"][row], expected)
    over = about["over"]
    # Something differs, so that the numbers can be told apart.
    assert len(set(flips)) > 1 and len(set(collapses)) > 1 and len(set(calm)) > 1
    median = np.quantile(flips, 0.5, method="inverted_cdf")
    assert over["flip"]["value"] == (median if np.isfinite(median) else None)
    assert over["window"]["value"] == pytest.approx(windows_found / 6)
    assert over["window"]["count"] == 6
    page = Page((measured / store.REPORT).read_text(encoding="utf-8"))
    assert len(page.images) == 2
    assert {p.stem for p in (measured / store.TABLES).iterdir()} == {"doses", "facts"}


def test_a_text_may_collapse_at_once_and_an_answer_never_flip(
    folder: Path, measured: Path, tmp_path: Path
) -> None:
    """What counts as a text is asked of what is measured, without measuring anew."""
    assert run(folder, measured, "--most_perplexity=1") == 0
    over = summary(measured)["over"]
    expected = {"value": 0.05, "low": 0.05, "high": 0.05, "count": 6, "noun": "fact"}
    assert over["collapse"] == expected
    assert over["window"]["value"] == 0
    assert 0 < over["window"]["high"] < 0.6
    tiny = ("--dose_grid=0.0001,0.0002,0.0003", "--singles=0", "--most_perplexity=50")
    assert run(folder, tmp_path, *tiny) == 0
    about = summary(tmp_path)
    assert about["over"]["flip"]["value"] is None
    assert [dose["flipped"]["value"] for dose in about["doses"]] == [0, 0, 0]
    text = " ".join(Page((tmp_path / store.REPORT).read_text(encoding="utf-8")).text)
    assert "answer flips at no dose of those tried, its text collapses at no dose" in text


def test_an_interrupted_run_goes_on_to_the_same(
    folder: Path, measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(folder, measured) == 0
    calls = []

    def interrupted(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return texts(*args)

    texts = windows_work._texts
    monkeypatch.setattr(windows_work, "_texts", interrupted)
    assert run(folder, tmp_path) == 130
    assert summary(tmp_path)["answered"] == 2
    assert "Too few facts" in " ".join(Page((tmp_path / store.REPORT).read_text("utf-8")).text)
    assert run(folder, tmp_path) == 0
    for name in (store.DOSES, store.NEURONS):
        assert rows(tmp_path, name) == rows(measured, name)


def test_answers_that_the_model_does_not_give_cannot_flip(folder: Path, tmp_path: Path) -> None:
    head, *_, wrong = (folder / "facts.csv").read_text(encoding="utf-8").splitlines()
    (tmp_path / "wrong.csv").write_text(f"{head}\n{wrong}")
    output = tmp_path / "run"
    assert run(folder, output, f"--probes={tmp_path / 'wrong.csv'}") == 0
    about = summary(output)
    assert (about["measured"], about["answered"], about["doses"]) == (1, 0, [])
    page = Page((output / store.REPORT).read_text(encoding="utf-8"))
    assert "of none of 1 prompt: nothing can flip" in " ".join(page.text)
    assert not page.images


def text(dose: float, flipped: bool, keeps: bool) -> Text:
    return Text(
        dose=dose,
        token="w",
        probability=0.5,
        flipped=flipped,
        text="",
        distinct=1.0,
        perplexity=2.0,
        own_perplexity=2.0,
        entropy=1.0,
        keeps=keeps,
    )


def test_windows_by_hand() -> None:
    none = np.zeros(0)
    fact = Fact(
        number=0,
        prompt="",
        answer="",
        texts=(text(0, False, True), text(1, True, True), text(2, True, False)),
        flip=1,
        collapse=2,
        single=np.zeros((3, 2)),
        slope=np.asarray([3.0, 2.0, 1.0]),
        reach=np.asarray([1.0, 2.0, 3.0]),
        single_flip=np.asarray([1.0, 2.0, np.inf]),
    )
    still = dataclasses.replace(fact, flip=np.inf, collapse=1, single_flip=np.full(3, np.inf))
    assert (fact.window, still.window) == (True, False)
    assert fact.at(1) is fact.texts[1]
    assert still.at(still.flip) is None
    over = over_facts([fact, fact, still], 0)
    assert over.window.value == pytest.approx(2 / 3)
    assert (over.flip.value, over.collapse.value) == (1, 2)
    assert over.flip.high is None
    # Of the third fact nothing flips: its neurons have no order.
    assert (over.slope.value, over.reach.value) == pytest.approx((-1, 1))
    assert over.slope.count == 2
    assert (over.singles, over.single_flips) == (9, 4)
    assert over.doses[1].both.value == 0
    assert distinct_pairs(np.asarray([1, 2, 1, 2, 1])) == 0.5
    assert distinct_pairs(np.asarray([1])) == 1
    assert ranks(60, 5).tolist() == [0, 2, 7, 21, 59]
    assert ranks(5, 5).tolist() == [0, 1, 2, 3, 4]
    share = intervals.share([False], "fact")
    shares = {"one": [share], "other": [share]}
    for window in ((None, None), (1.0, None), (1.0, 2.0)):
        picture = figures.window_figure(np.asarray([1.0]), shares, window)
        assert picture.png.startswith(PNG)
    assert figures.reach_figure([1.0], none, {"size, unit": none}).png.startswith(PNG)
    assert intervals.FEW > 3


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--written=0"], "--written=0: without texts there is nothing to collapse"),
        (["--written=31"], "--written=31: a prompt is 3 tokens long, and the model's context"),
        (["--size=61"], "--size=61: the model has 60 neurons"),
        (["--singles=61"], "--singles=61: the model has 60 neurons"),
        (["--dose_grid=-1"], "--dose_grid=-1: expected numbers above 0"),
        (["--convention=signed"], "--convention=signed has no effect on windows"),
        (["--model=bert", "--prompt_column=masked"], "a masked LM writes no text"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    folder: Path,
    tmp_path: Path,
    more: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    more = [word.replace("=bert", f"={folder / 'bert'}") for word in more]
    assert ended(lambda _: run(folder, tmp_path / "run", *more)) == 2
    assert message in capsys.readouterr().err
