"""The parts of the benchmark: nothing of one stands in another, whatever the records."""

from collections import Counter
from collections.abc import Sequence
from itertools import combinations

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from negjax import mceval8k
from negjax.mceval8k import splitting
from negjax.mceval8k.catalogue import PARTS, TASKS
from negjax.mceval8k.files import Published, Row, published
from negjax.mceval8k.identity import kindred, normalised
from tests.support.parts import check_disjoint, letters
from tests.support.shared_data import MCEVAL8K


@pytest.mark.shared
@pytest.mark.parametrize("name", TASKS)
def test_no_published_item_is_in_two_parts(name: str) -> None:
    spec = TASKS[name]
    found = published(name, MCEVAL8K)
    distinct = {
        (row.texts, row.target, tuple(sorted(row.options)))
        for rows in found.parts.values()
        for row in rows
    }
    for seed in (None, 1000 + spec.seed):
        task = mceval8k.load(name, MCEVAL8K, seed=seed)
        check_disjoint(task)
        # As many as there are: all but contradicted ones and relatives of demonstrations.
        assert sum(task.sizes.values()) >= 0.995 * len(distinct)
        languages = len({item.language for item in task.train})
        assert task.sizes["demonstrations"] == languages * len(spec.labels)
        assert task.sizes["test"] >= (400 if name == "chunk" else 500)
        assert task.sizes["valid"] >= 125
        assert task.sizes["train"] >= (450 if name == "chunk" else 700)
        for part in PARTS:
            labels = Counter(item.label for item in getattr(task, part))
            assert set(labels) == set(range(len(spec.labels)))
            assert max(labels.values()) <= 1.2 * min(labels.values()), (part, labels)


@pytest.mark.shared
def test_published_items_stay_where_they_stand_alone() -> None:
    """xnli's files share no text: nothing moves, but for the demonstrations."""
    task = mceval8k.load("xnli", MCEVAL8K)
    assert task.sizes == {"train": 5985, "valid": 1000, "test": 1000, "demonstrations": 15}
    for part in PARTS:
        assert {item.row.part for item in getattr(task, part)} == {part}
    # The demonstrations of the five languages are translations of each other.
    assert len({item.row.translation for item in task.demonstrations}) == 3


@pytest.mark.shared
def test_original_parts_are_the_published_ones() -> None:
    task = mceval8k.load("ner", MCEVAL8K, split="original")
    assert task.sizes == {"train": 6000, "valid": 1000, "test": 1000, "demonstrations": 4}
    for part in PARTS:
        numbers = [item.row.number for item in getattr(task, part)]
        assert sorted(numbers) == list(range(len(numbers)))
        assert numbers != sorted(numbers)  # The files are sorted by label.
        first = Counter(item.label for item in getattr(task, part)[:200])
        assert min(first.values()) > 25
    assert {item.row for item in task.demonstrations} <= {item.row for item in task.train}


@pytest.mark.shared
@pytest.mark.parametrize(("name", "train"), [("imdb", 748), ("chunk", 471)])
def test_absent_train_files_are_replaced_and_said(name: str, train: int) -> None:
    task = mceval8k.load(name, MCEVAL8K)
    assert task.sizes["train"] == train
    assert any(note.startswith("train.json is absent: train is a slice") for note in task.notes)
    taken = mceval8k.load(name, MCEVAL8K, split="original")
    assert taken.sizes["train"] == 750 and taken.sizes["valid"] == 250
    assert taken.sizes["test"] == 1000
    assert {i.row.part for i in taken.train} == {i.row.part for i in taken.valid} == {"valid"}
    assert {i.row for i in taken.train}.isdisjoint(i.row for i in taken.valid)


@pytest.mark.shared
def test_records_without_a_text_are_left_out_and_said() -> None:
    for split in ("disjoint", "original"):
        task = mceval8k.load("ged", MCEVAL8K, split=split)
        assert "21 records of train.json lack a text (null) and are left out" in task.notes
        assert "3 records of test.json lack a text (null) and are left out" in task.notes


TEXTS = st.builds(str.format, st.sampled_from(["text {}", "Text, {}!"]), st.integers(0, 120))
ROWS = st.builds(
    lambda part, texts, label: (part, texts, label),
    st.sampled_from(PARTS),
    st.tuples(TEXTS, TEXTS),
    st.integers(0, 1),
)


def made_up_rows(drawn: Sequence[tuple[str, tuple[str, str], int]]) -> Published:
    parts: dict[str, list[Row]] = {part: [] for part in PARTS}
    for part, texts, label in drawn:
        number = len(parts[part])
        parts[part].append(
            Row(
                part=part,
                number=number,
                texts=texts,
                target=None,
                options=(),
                label=label,
                language=None,
                translation=None,
            )
        )
    return Published({part: tuple(rows) for part, rows in parts.items()}, {})


@given(st.lists(ROWS, min_size=30, max_size=80), st.integers(0, 5))
def test_parts_share_nothing_whatever_the_records(
    drawn: list[tuple[str, tuple[str, str], int]], seed: int
) -> None:
    found = made_up_rows(drawn)
    try:
        parts, _ = splitting.disjoint(TASKS["paws"], found, seed)
    except ValueError:  # A part would have been empty.
        reject()
    assert all(parts.values())
    texts = {part: {letters(t) for row in rows for t in row.texts} for part, rows in parts.items()}
    assert all(texts[a].isdisjoint(texts[b]) for a, b in combinations(PARTS, 2))
    kept = [row.texts for rows in parts.values() for row in rows]
    assert len(set(kept)) == len(kept)
    answers: dict[tuple[str, str], set[int]] = {}
    for _, pair, label in drawn:
        answers.setdefault(pair, set()).add(label)
    assert set(kept) == {pair for pair, labels in answers.items() if len(labels) == 1}


def test_families_reach_as_far_as_texts_do() -> None:
    found = made_up_rows(
        [
            ("train", ("a", "b"), 0),
            ("valid", ("B!", "c"), 0),
            ("test", ("d", "C"), 1),
            ("test", ("e", "f"), 1),
        ]
    )
    rows = [row for part in PARTS for row in found.parts[part]]
    assert [[row.texts[0] for row in family] for family in kindred(rows)] == [
        ["a", "B!", "d"],
        ["e"],
    ]


def test_translations_stay_together_within_their_file() -> None:
    rows = [
        Row(
            part="train",
            number=0,
            texts=("one",),
            target=None,
            options=(),
            label=0,
            language="en",
            translation="7",
        ),
        Row(
            part="train",
            number=1,
            texts=("eins",),
            target=None,
            options=(),
            label=0,
            language="de",
            translation="7",
        ),
        Row(
            part="test",
            number=0,
            texts=("two",),
            target=None,
            options=(),
            label=0,
            language="en",
            translation="7",
        ),
    ]
    assert [len(family) for family in kindred(rows)] == [2, 1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("  The  cat 's\tmat. ", "thecatsmat"),
        ("\uff21\uff22\uff23\uff11\uff12\uff13\uff0c中文。", "abc123中文"),
        ("Straße, ÉTÉ", "strasseété"),
        ("?!", "?!"),
    ],
)
def test_normalised(text: str, words: str) -> None:
    assert normalised(text) == words


def test_a_contradicted_item_is_left_out_and_a_repeated_one_kept_once() -> None:
    drawn = [("train", (f"train {n}", f"more {n}"), n % 2) for n in range(10)]
    drawn += [("valid", ("valid", "v"), 0), ("test", ("test", "t"), 1)]
    drawn += [("train", ("doubtful", "d"), 0), ("train", ("doubtful", "d"), 1)]
    drawn += [("train", ("test", "t"), 1), ("train", ("train 3", "more 3"), 1)]
    parts, notes = splitting.disjoint(TASKS["paws"], made_up_rows(drawn), 0)
    every = [row.texts[0] for rows in parts.values() for row in rows]
    assert sorted(every) == sorted({*(f"train {n}" for n in range(10)), "valid", "test"})
    assert notes == [
        "2 of 16 records repeat an item and are left out",
        "2 records left out: their items are published with several answers",
    ]
    # Of a repeated item the test copy is kept.
    [kept] = [row for rows in parts.values() for row in rows if row.texts[0] == "test"]
    assert (kept.part, kept.number) == ("test", 0)


def test_a_part_that_would_be_empty_is_an_error() -> None:
    drawn = [("train", ("a", "b"), 0), ("valid", ("a", "b"), 0), ("test", ("a", "c"), 0)]
    message = "leaves train empty: 3 records are 1 families that share a text; take more records"
    with pytest.raises(ValueError, match=message):
        splitting.disjoint(TASKS["paws"], made_up_rows(drawn), 0)


def test_a_slice_of_valid_leaves_no_part_empty() -> None:
    drawn = [("test", ("a", "c"), 0), *(("valid", (str(n), "b"), n % 2) for n in range(2))]
    rows = made_up_rows(drawn).parts
    absent = Published({part: rows[part] for part in ("valid", "test")}, {})
    parts, _ = splitting.original(absent, 0)
    assert {part: len(parts[part]) for part in PARTS} == {"train": 1, "valid": 1, "test": 1}
    single = Published({"valid": rows["valid"][:1], "test": rows["test"]}, {})
    with pytest.raises(ValueError, match="train is absent and valid has 1 records: expected two"):
        splitting.original(single, 0)
