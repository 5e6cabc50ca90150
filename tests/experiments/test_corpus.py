"""The study of a corpus, from flags to folder, on a tiny model and texts of our own."""

from pathlib import Path

import numpy as np
import pytest

import negjax
from experiments.corpus import figures, sources
from experiments.corpus import program as corpus
from experiments.corpus.results import Halves
from experiments.inputs.text_tables import Texts, shipped_texts
from experiments.running import study
from negjax.storage import store
from tests.support.block_shapes import tiny
from tests.support.made_up_mceval8k import write_task
from tests.support.pages import Page
from tests.support.tiny_runs import arguments, columns, parse, summary, undraw, write_inputs

pytestmark = pytest.mark.usefixtures("restored_flags", "well_drawn")

LABELS = ("odd", "even")
# The words of a group are its own, so that neurons can tell.
TEXTS = [" ".join(f"w{3 + (i + 2 * j) % 20}" for j in range(5)) for i in range(16)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model and a table of texts, as a user has them."""
    path = write_inputs(tmp_path_factory.mktemp("inputs"), gated=tiny("gated"))
    rows = [f"{text},{LABELS[i % 2]}" for i, text in enumerate(TEXTS)]
    (path / "texts.csv").write_text("\n".join(["text,group", *rows]))
    return path


def given(folder: Path, output: Path, *more: str) -> list[str]:
    flags = arguments(folder, output, f"--texts={folder / 'texts.csv'}", *more)
    return [flag for flag in flags if not flag.startswith("--probes")]


def test_one_half_chooses_neurons_that_the_other_tests(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undraw(monkeypatch)
    parse(*given(folder, tmp_path, "--chosen_share=0.2"))
    assert study.run(corpus.prepare) == 0
    lm = negjax.load(folder / "gated")
    halves = []
    for start in (0, 2):
        # Every second text of each group.
        some = [i for i in range(16) if i % 4 in (start, start + 1)]
        labels = [LABELS[i % 2] for i in some]
        halves.append(negjax.corpus_statistics(lm, [TEXTS[i] for i in some], labels))
    first, second = halves
    found, about = columns(tmp_path), summary(tmp_path)
    np.testing.assert_allclose(found["mean"].reshape(3, 20), first.mean, atol=1e-12)
    np.testing.assert_allclose(found["quantile_0.5"].reshape(3, 20), first.quantiles(0.5)[0])
    lape = negjax.corpus.language_neurons(first, 0.2)
    assert second.groups is not None
    groups = {group["label"]: group for group in about["groups"]}
    for number, label in enumerate(LABELS):
        mask = lape.masks[number]
        assert groups[label]["neurons"] == mask.sum() == sum(label in g for g in found["groups"])
        if mask.any():
            firing = [second.groups.firing[second.groups.number(of)][mask].mean() for of in LABELS]
            assert groups[label]["own"] == pytest.approx(firing[number], rel=1e-12)
            assert groups[label]["others"] == pytest.approx(firing[1 - number], rel=1e-12)
    assert about["overall"]["chosen"] == lape.chosen.sum() > 0
    assert about["tokens"] == 80
    assert "Neurons of groups" in (tmp_path / store.REPORT).read_text(encoding="utf-8")
    assert Page((tmp_path / store.REPORT).read_text(encoding="utf-8")).images
    # The same command finds all of it measured.
    parse(*given(folder, tmp_path, "--chosen_share=0.1"))
    assert study.run(corpus.prepare) == 0
    assert summary(tmp_path)["overall"]["chosen"] <= 6


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--group_column=topic"], r"no column 'topic'; columns: text, group; name yours with"),
        (["--texts=nowhere.csv"], r"texts 'nowhere.csv': no such file; expected a table, shipped"),
        (["--texts=mceval8k", "--tasks=ner"], r"--tasks=ner: ner is of one language; expected som"),
    ],
)
def test_bad_texts_are_refused(folder: Path, tmp_path: Path, more: list[str], message: str) -> None:
    parse(*given(folder, tmp_path / "run"), *more)
    with pytest.raises((ValueError, OSError), match=message):
        study.run(corpus.prepare)


def test_texts_that_cannot_be_divided_are_refused() -> None:
    with pytest.raises(ValueError, match="mine: 1 group of texts, expected 2 or more"):
        Texts(["w3", "w4"], ["a", "a"], "mine").check_groups()
    with pytest.raises(ValueError, match="mine: group 'b' has one text, expected 2 or more"):
        Texts(["w3", "w4", "w5"], ["a", "a", "b"], "mine").check_groups()


def test_texts_that_come_with_the_package_have_their_relations() -> None:
    found = shipped_texts()
    assert found.texts[0] == "The capital of France is Paris"
    assert found.labels[0] == "capital" and found.labels.count("sentences") == 32
    assert len(found.texts) == len(found.labels) == 723 + 32
    halves = [found.half(number) for number in range(2)]
    assert sorted(halves[0].texts + halves[1].texts) == sorted(found.texts)
    assert abs(halves[0].labels.count("capital") - halves[1].labels.count("capital")) <= 1
    assert max(map(found.first(3).labels.count, found.labels)) == 3


def test_languages_are_those_of_the_benchmark(tmp_path: Path) -> None:
    for name in ("mlama", "xnli"):
        write_task(tmp_path, name)
    found = sources.languages(["mlama", "xnli"], tmp_path)
    assert set(found.labels) == {"de", "en", "es", "fr", "zh"}
    assert all(f"in {label}" in text for text, label in zip(found.texts, found.labels, strict=True))
    # Tasks take turns: the first text is of mlama, the next of xnli.
    assert ["premise" in text for text in found.texts[:2]] == [False, True]


def test_a_corpus_without_neurons_of_groups_has_a_picture() -> None:
    assert figures.layers_figure(np.zeros((2, 3)), {}).svg
    many = {f"group {number}": np.asarray([1]) for number in range(12)}
    assert figures.layers_figure(np.full((1, 1), 0.5), many).png


def test_groups_without_neurons_are_shown_all_the_same() -> None:
    lm = tiny("gated")
    texts = ["w3 w5 w7", "w9 w4 w2"]
    same = negjax.corpus_statistics(lm, texts, ["a", "b"])
    # Above the largest probability of all no neuron fires.
    halves = Halves.of(same, same, share=0.5, quantile=1.0)
    assert [group.neurons for group in halves.groups()] == [0, 0]
    assert halves.groups()[0].times is None and len(halves.best(3)) == 0
    assert halves.overall().chosen == 0


def test_two_groups_are_told_apart_and_watched_in_text(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undraw(monkeypatch)
    more = ["--toward=odd", "--away=even", "--contrast_share=0.1", "--factor=-3", "--watched=1"]
    parse(*given(folder, tmp_path, *more, "--continued=3"))
    assert study.run(corpus.prepare) == 0
    lm, found = negjax.load(folder / "gated"), summary(tmp_path)["contrast"]
    halves = [[i for i in range(16) if i % 4 in pair] for pair in ((0, 1), (2, 3))]
    means = []
    for half in halves:
        taken = negjax.corpus_statistics(
            lm, [TEXTS[i] for i in half], [LABELS[i % 2] for i in half]
        )
        groups = taken.groups
        assert groups is not None
        means.append(groups.mean[groups.number("odd")] - groups.mean[groups.number("even")])
    order = np.argsort(-np.abs(means[0]), axis=None, kind="stable")[:6]
    neurons = np.stack(np.unravel_index(np.sort(order), means[0].shape), -1)
    np.testing.assert_array_equal(found["neurons"], neurons)
    same = np.sign(means[0]) == np.sign(means[1])
    assert found["held"] == pytest.approx(same.reshape(-1)[order].mean())
    # One text of either group, as it is and scaled; the first half of w3 w4 … is its beginning.
    assert [row["group"] for row in found["continuations"]] == ["odd", "odd", "even", "even"]
    text = TEXTS[halves[1][0]]
    beginning = lm.tokenizer(text)["input_ids"][:2]
    sets = negjax.neuron_sets(lm.config, [(neurons, -3.0)])
    expected = negjax.generate(lm, [beginning], negjax.Intervention(sets, "scale"), max_tokens=3)
    plain, scaled = sorted(found["continuations"][:2], key=lambda row: -row["factor"])
    assert (plain["factor"], scaled["factor"]) == (1, -3)
    assert scaled["text"] == expected.texts[0] != plain["text"]
    assert expected.baseline_log_probability is not None
    perplexity = np.exp(-expected.baseline_log_probability.mean())
    assert scaled["perplexity"] == pytest.approx(perplexity, rel=1e-5)
    page = (tmp_path / store.REPORT).read_text(encoding="utf-8")
    assert "What tells “odd” from “even”" in page


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--toward=odd"], "--toward alone is no contrast: pass --toward and --away"),
        (["--toward=odd", "--away=odd"], "--away=odd: --toward is the same group; expected ano"),
        (["--toward=odd", "--away=old"], "--away=old: no such group; expected one of even, odd"),
    ],
)
def test_a_contrast_that_cannot_be_is_refused(
    folder: Path, tmp_path: Path, more: list[str], message: str
) -> None:
    parse(*given(folder, tmp_path / "run"), *more)
    with pytest.raises(ValueError, match=message):
        study.run(corpus.prepare)
