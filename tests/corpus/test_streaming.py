"""One stream: killed and resumed, in any batches, from anything that gives texts."""

import dataclasses
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import negjax
from negjax.corpus import streaming
from negjax.corpus.text_windows import Cutting, Labelled
from negjax.model.language_model import LanguageModel
from negjax.storage.store import CORPUS
from tests.support.block_shapes import tiny

# Texts of one length and blocks of two of them compile one program.
TEXTS = [f"w{i} w{i + 1} w{i + 2} w{i + 5} w3" for i in range(3, 15)]
GROUPS = ["a", "b"] * 6
BLOCK: dict[str, Any] = {"block_tokens": 10, "extremes": 3}


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    return tiny("gated")


@pytest.fixture(scope="module")
def whole(lm: LanguageModel) -> negjax.CorpusStatistics:
    return negjax.corpus_statistics(lm, TEXTS, GROUPS, **BLOCK)


def bytes_of(record: object, folder: Path) -> bytes:
    return negjax.save(folder / "record.safetensors", record).read_bytes()


def until(count: int) -> Iterator[str]:
    """A stream that breaks off after some texts."""
    yield from TEXTS[:count]
    raise RuntimeError("the disk with the texts is gone")


def test_a_killed_stream_goes_on_to_the_same_bytes(
    lm: LanguageModel, whole: negjax.CorpusStatistics, tmp_path: Path
) -> None:
    folder = tmp_path / "stream"
    for killed_after in (5, 9):
        with pytest.raises(RuntimeError, match="the disk with the texts"):
            negjax.corpus_statistics(lm, until(killed_after), GROUPS, folder=folder, **BLOCK)
        # The odd text's block was not finished.
        assert negjax.read(folder / CORPUS)["taken"] == killed_after - 1
    found = negjax.corpus_statistics(lm, iter(TEXTS), iter(GROUPS), folder=folder, **BLOCK)
    assert bytes_of(found, tmp_path) == bytes_of(whole, tmp_path)


def test_a_finished_stream_is_read(
    lm: LanguageModel, whole: negjax.CorpusStatistics, tmp_path: Path, monkeypatch: Any
) -> None:
    folder = tmp_path / "stream"
    negjax.corpus_statistics(lm, TEXTS, GROUPS, folder=folder, **BLOCK)
    monkeypatch.setattr(streaming, "reduce_batch", None)
    again = negjax.corpus_statistics(lm, TEXTS, GROUPS, folder=folder, **BLOCK)
    assert bytes_of(again, tmp_path) == bytes_of(whole, tmp_path)
    back = negjax.read(tmp_path / "record.safetensors")
    np.testing.assert_array_equal(back.quantiles(0.5), whole.quantiles(0.5))
    others: list[tuple[list[str], list[str]]] = [
        (TEXTS[::-1], GROUPS),
        (TEXTS, ["b", "a"] * 6),
        (TEXTS[:4], GROUPS[:4]),
        ([*TEXTS, "w3"], [*GROUPS, "a"]),
    ]
    for texts, groups in others:
        with pytest.raises(ValueError, match=r"statistics of other texts or labels than these"):
            negjax.corpus_statistics(lm, texts, groups, folder=folder, **BLOCK)
    with pytest.raises(ValueError, match=r"other settings \(special was false, now true\)"):
        negjax.corpus_statistics(lm, TEXTS, GROUPS, folder=folder, special=True, **BLOCK)


def test_an_overwritten_folder_begins_anew(lm: LanguageModel, tmp_path: Path) -> None:
    folder = tmp_path / "stream"
    with pytest.raises(RuntimeError, match="the disk"):
        negjax.corpus_statistics(lm, until(5), folder=folder, **BLOCK)
    more: dict[str, Any] = {"folder": folder, "overwrite": True, **BLOCK}
    found = negjax.corpus_statistics(lm, TEXTS[6:8], **more)
    assert (found.texts, found.tokens, found.groups) == (2, 10, None)


def test_blocks_change_no_more_than_rounding(
    lm: LanguageModel, whole: negjax.CorpusStatistics
) -> None:
    together = negjax.corpus_statistics(lm, TEXTS, GROUPS, extremes=3)
    for name in ("mean", "variance", "lowest", "highest", "firing", "signs"):
        ours, theirs = getattr(whole, name), getattr(together, name)
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-6, err_msg=name)
    np.testing.assert_allclose(whole.top.value, together.top.value, rtol=2e-5, atol=2e-6)
    assert whole.groups is not None and together.groups is not None
    np.testing.assert_allclose(whole.groups.mean, together.groups.mean, rtol=2e-5, atol=2e-6)
    assert whole.histogram is not None and together.histogram is not None
    assert whole.histogram.sum() == together.histogram.sum() == 60 * 60


def test_a_stream_is_read_no_further_than_its_block(lm: LanguageModel, monkeypatch: Any) -> None:
    taken: list[int] = []
    seen: list[int] = []

    def endless() -> Iterator[str]:
        for number in itertools.count():
            taken.append(number)
            yield TEXTS[number % 12]

    measure = streaming._Measure.add

    def counted(self: Any, found: Any, windows: Any) -> None:
        seen.append(len(taken))
        measure(self, found, windows)
        if len(seen) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(streaming._Measure, "add", counted)
    with pytest.raises(KeyboardInterrupt):
        negjax.corpus_statistics(lm, endless(), **BLOCK)
    assert seen == [2, 4]


def cut(lm: LanguageModel, ids: list[int], length: int, special: bool = False) -> Any:
    cutting = Cutting(lm=lm, length=length, special=special)
    return [(w.ids, w.places) for w in cutting.windows(Labelled(0, tuple(ids), ""))]


def test_each_window_of_a_long_text_has_its_frame_and_counts_it_once(lm: LanguageModel) -> None:
    # 1 is a special token.
    assert cut(lm, [1, 3, 4, 5, 6, 7], 3) == [
        ([1, 3, 4], [-1, 1, 2]),
        ([1, 5, 6], [-1, 3, 4]),
        ([1, 7], [-1, 5]),
    ]
    assert cut(lm, [1, 3, 4, 1, 6], 3, special=True) == [
        ([1, 3, 4], [0, 1, 2]),
        ([1, 1, 6], [-1, 3, 4]),
    ]
    assert cut(tiny("bert"), [1, 3, 4, 5, 1], 4, special=True) == [
        ([1, 3, 4, 1], [0, 1, 2, -1]),
        ([1, 5, 1], [-1, 3, 4]),
    ]
    assert cut(lm, [1], 3) == [([1], [-1])]
    assert cut(lm, [], 3) == []
    with pytest.raises(ValueError, match="window is 2, and text 0 has 2 special tokens around it"):
        cut(lm, [1, 1, 3], 2)


@pytest.mark.parametrize(
    ("texts", "groups", "message"),
    [
        ([], None, "texts: 0 texts without a token that counts; expected at least one"),
        (["", "[MASK]"], None, "texts: 2 texts without a token that counts"),
        ("w3", None, "texts is 'w3', expected a list or stream of texts or lists of token ids"),
        (["w3", 5], None, "texts[1] is 5, expected text or a list of token ids"),
        ([[3, 99]], None, "texts[0] holds token id 99, expected 0 to 23"),
        (["w3", "w4"], ["a"], "groups and texts: groups end after 1; expected a label for each"),
        (["w3"], ["a", "b"], "groups and texts: texts end after 1; expected a label for each"),
        (["w3", "w4"], ["a", None], "groups[1] is None, expected text"),
        (["w3", "w4"], ["a", ""], "groups[1] is empty, expected a label of the text"),
    ],
)
def test_what_is_no_corpus_is_refused(
    lm: LanguageModel, texts: Any, groups: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        negjax.corpus_statistics(lm, texts, groups)


def test_without_histograms_there_are_no_quantiles(
    lm: LanguageModel, whole: negjax.CorpusStatistics
) -> None:
    found = negjax.corpus_statistics(lm, TEXTS[:2], quantiles=False, **BLOCK)
    assert found.histogram is None
    with pytest.raises(ValueError, match="no histogram to read quantiles from; pass quantiles=Tr"):
        found.quantiles(0.5)
    with pytest.raises(ValueError, match=r"levels is 1.5, expected shares from 0 to 1"):
        whole.quantiles(1.5)


def test_few_tokens_have_few_extremes(lm: LanguageModel) -> None:
    found = negjax.corpus_statistics(lm, TEXTS[:2], block_tokens=10, extremes=12)
    assert np.isfinite(found.top.value[..., :10]).all()
    assert np.isnan(found.top.value[..., 10:]).all() and (found.bottom.text[..., 10:] == -1).all()


def test_a_pass_that_overflows_names_its_text(lm: LanguageModel) -> None:
    huge = jax.tree.map(lambda leaf: leaf * 1e25, lm.params)
    with pytest.raises(ValueError, match=r"an activation of prompt 0 at \[0, 0\] is nan"):
        negjax.corpus_statistics(dataclasses.replace(lm, params=huge), TEXTS[:2], **BLOCK)


def test_a_budget_too_small_for_a_window_is_refused(lm: LanguageModel) -> None:
    with pytest.raises(ValueError, match=r"budget_bytes=1,000 is too small: one window of 8 tok"):
        negjax.corpus_statistics(lm, TEXTS[:2], budget_bytes=1000)
