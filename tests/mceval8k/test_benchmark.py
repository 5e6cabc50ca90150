"""MCEval8K: no text in two parts, of the published files and of made-up ones; samples; keys."""

import json
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from negjax import mceval8k
from negjax.mceval8k import splitting
from negjax.mceval8k.benchmark import Item, Task
from negjax.mceval8k.catalogue import PARTS, TASKS
from negjax.mceval8k.files import Published, Row, published
from negjax.mceval8k.identity import kindred, normalised
from tests.support.made_up_mceval8k import write_benchmark, write_task
from tests.support.shared_data import MCEVAL8K
from tests.weights.test_loading import run_python

PLACES = (*PARTS, "demonstrations")


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_benchmark(tmp_path_factory.mktemp("benchmark"))


def letters(text: str) -> str:
    """The letters and digits of a text, one by one."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(c for c in folded if c.isalnum()) or folded


def check_disjoint(task: Task) -> None:
    """Nothing that could tell a test item's answer stands in another part."""
    places: dict[str, set[str]] = {}
    shown: dict[str, set[str]] = {}
    translated: dict[str, set[tuple[str, str]]] = {}
    for place in PLACES:
        items = getattr(task, place)
        rows = [item.row for item in items]
        assert len({(row.part, row.number) for row in rows}) == len(rows)
        places[place] = {letters(text) for row in rows for text in row.texts}
        shown[place] = {item.text for item in items}
        translated[place] = {(r.part, r.translation) for r in rows if r.translation is not None}
    for one, other in combinations(PLACES, 2):
        assert places[one].isdisjoint(places[other]), (one, other)
        assert shown[one].isdisjoint(shown[other]), (one, other)
        assert translated[one].isdisjoint(translated[other]), (one, other)


# ---- The published benchmark.


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


# ---- Parts of made-up records.


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
        parts[part].append(Row(part, number, texts, None, (), label, None, None))
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
        Row("train", 0, ("one",), None, (), 0, "en", "7"),
        Row("train", 1, ("eins",), None, (), 0, "de", "7"),
        Row("test", 0, ("two",), None, (), 0, "en", "7"),
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


# ---- Loading.


@pytest.mark.parametrize("name", TASKS)
def test_every_task_loads_in_parts_that_share_nothing(name: str, made_up: Path) -> None:
    spec = TASKS[name]
    for shots, meant in ((None, 1), (0, 0), (2, 2)):
        task = mceval8k.load(name, made_up, shots=shots)
        check_disjoint(task)
        assert (task.name, task.genre, task.labels) == (name, spec.genre, spec.labels)
        assert (task.shots, task.seed) == (meant, spec.seed)
        languages = len({item.language for item in task.train})
        assert languages == (5 if spec.language else 1)
        assert len(task.demonstrations) == languages * task.shots * len(spec.labels)
        for place in PARTS:
            for item in getattr(task, place):
                assert item.prompt.startswith(item.head + "\n\n### ")
                assert 0 <= item.label < len(spec.labels)
        heads = {item.head for place in PARTS for item in getattr(task, place)}
        assert len(heads) == languages
    assert len(mceval8k.names()) == len(TASKS) == 22
    assert len({spec.genre for spec in TASKS.values()}) == 6


def test_tasks_go_by_several_names(made_up: Path) -> None:
    for name in ("M-POS", "mpostag", "multilingual/mpostag"):
        assert mceval8k.load(name, made_up).name == "m-pos"
    with pytest.raises(ValueError, match="task 'nre': expected one of ged, pos, chunk, ner, "):
        mceval8k.load("nre", made_up)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "published"}, "split is 'published', expected one of disjoint, original"),
        ({"shots": -1}, "shots is -1, expected a whole number, 0 or more"),
        ({"shots": 99}, "shots=99: train has not so many items of label 'a' that share no text"),
        ({"template": 3}, "template 3: ner has 3, pass 0 to 2"),
        ({"template": -1}, "template -1: ner has 3"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], message: str, made_up: Path) -> None:
    with pytest.raises(ValueError, match=message):
        mceval8k.load("ner", made_up, **arguments)


def test_demonstrations_may_not_use_up_train(made_up: Path) -> None:
    train = Counter(item.label for item in mceval8k.load("ner", made_up, shots=0).train)
    shots = min(train.values())
    with pytest.raises(ValueError, match=f"shots={shots}: no item of label '.' would be left in"):
        mceval8k.load("ner", made_up, shots=shots)


def test_more_shots_add_to_the_demonstrations(made_up: Path) -> None:
    for name in ("ner", "mlama"):
        tasks = [mceval8k.load(name, made_up, shots=shots) for shots in (1, 2, 3)]
        for fewer, more in pairwise(tasks):
            assert {i.row for i in fewer.demonstrations} < {i.row for i in more.demonstrations}
            assert {i.row for i in more.train} < {i.row for i in fewer.train}
            for part in ("valid", "test"):
                rows = [[i.row for i in getattr(task, part)] for task in (fewer, more)]
                assert rows[0] == rows[1]


def test_parts_are_the_same_in_every_template(made_up: Path) -> None:
    tasks = [mceval8k.load("paws", made_up, template=number) for number in range(5)]
    for task in tasks[1:]:
        for place in PLACES:
            assert [i.row for i in getattr(task, place)] == [
                i.row for i in getattr(tasks[0], place)
            ]
    assert [task.template for task in tasks] == [f"paws-{n}-v1" for n in range(5)]
    assert [task.labels for task in tasks[2:4]] == [("no", "yes"), ("a", "b")]


def test_the_key_tells_everything_apart_that_makes_prompts(made_up: Path, tmp_path: Path) -> None:
    write_task(tmp_path, "ner", 5)
    keys = {
        mceval8k.load("ner", made_up).key,
        mceval8k.load("ner", tmp_path).key,
        mceval8k.load("ner", made_up, split="original").key,
        mceval8k.load("ner", made_up, shots=2).key,
        mceval8k.load("ner", made_up, template=1).key,
        mceval8k.load("ner", made_up, seed=5).key,
        mceval8k.load("pos", made_up).key,
    }
    assert len(keys) == 7
    assert mceval8k.load("ner", made_up, shots=1, seed=TASKS["ner"].seed).key in keys


def test_the_same_in_every_process(made_up: Path) -> None:
    code = """
import json, sys
from negjax import mceval8k
found = {}
for name in ("stereoset", "mlama"):
    task = mceval8k.load(name, sys.argv[1], shots=2)
    up = mceval8k.resample(task.train, task.labels, "up")
    found[name] = [task.key, [i.prompt for i in task.test], [i.prompt for i in up]]
print(json.dumps(found))
"""
    one, other = (
        json.loads(run_python(code, str(made_up), PYTHONHASHSEED=seed).stdout) for seed in "12"
    )
    assert one == other
    assert one["mlama"][0] == mceval8k.load("mlama", made_up, shots=2).key


# ---- Samples.


def items_of(labels: Sequence[int], languages: Sequence[str | None] = (None,)) -> list[Item]:
    return [
        Item(
            Row("train", n, (str(n),), None, (), label, languages[n % len(languages)], None),
            head="",
            question="",
        )
        for n, label in enumerate(labels)
    ]


@given(st.lists(st.integers(0, 2), min_size=1, max_size=40), st.data())
def test_the_first_items_are_balanced(labels: list[int], data: st.DataObject) -> None:
    items = items_of(labels)
    count = data.draw(st.integers(1, len(items)))
    taken = mceval8k.first(items, count, ("a", "b", "c"))
    assert len(taken) == count == len({item.row.number for item in taken})
    numbers = [item.row.number for item in taken]
    assert numbers == sorted(numbers)
    supply, held = Counter(labels), Counter(item.label for item in taken)
    for one in range(3):
        own = [n for n, label in enumerate(labels) if label == one]
        assert [n for n in numbers if labels[n] == one] == own[: held[one]]
        # A label has fewer than another only where it has no more.
        if held[one] < supply[one]:
            assert held[one] >= max(held.values()) - 1
    if count > 1:
        assert set(mceval8k.first(items, count - 1, ("a", "b", "c"))) < set(taken)


def test_languages_take_turns_within_a_label() -> None:
    items = items_of([0] * 6 + [1] * 6, ("en", "en", "zh"))
    taken = mceval8k.first(items, 8, ("a", "b"))
    counts = Counter((item.label, item.language) for item in taken)
    assert set(counts.values()) == {2}
    for count in (0, 13):
        with pytest.raises(ValueError, match=f"count={count}: there are 12 items; pass 1 to 12"):
            mceval8k.first(items, count, ("a", "b"))


def test_resampling() -> None:
    items = items_of([0, 1, 0, 0, 1, 0, 2])
    labels = ("a", "b", "c")

    def numbers(sampling: Any) -> Iterator[int]:
        return (item.row.number for item in mceval8k.resample(items, labels, sampling))

    assert list(numbers("none")) == [0, 1, 2, 3, 4, 5, 6]
    assert list(numbers("down")) == [0, 1, 6]
    assert list(numbers("up")) == [0, 1, 2, 3, 4, 5, 6, 1, 4, 6, 6, 6]
    with pytest.raises(ValueError, match="sampling is 'both', expected one of none, up, down"):
        list(numbers("both"))
    with pytest.raises(ValueError, match="sampling 'up': no item of label 'd' among 7"):
        mceval8k.resample(items, (*labels, "d"), "up")
