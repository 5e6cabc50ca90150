"""What a masked LM is trained on: statements, their paraphrases, the vocabulary."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from experiments.pretrain_bert import batches, corpus, vocabulary
from experiments.pretrain_bert.corpus import Statement
from negjax.mceval8k.catalogue import HUB_ID
from negjax.mceval8k.files import ROOT_VARIABLE
from negjax.process.quiet import transformers
from tests.support.made_up_facts import NAMES, PLACES, facts
from tests.support.places import ROOT
from tests.support.shared_data import MCEVAL8K


@pytest.fixture(scope="module")
def tokenizer() -> transformers.BertTokenizer:
    return vocabulary.wordpiece_tokenizer(vocabulary.train_vocabulary(facts(), 400), 16)


def write_mceval8k(root: Path, items: dict[str, list[dict[str, Any]]]) -> Path:
    """A folder in MCEval8K's layout; `items` by task, all in the split `train`."""
    for task in corpus.MCEVAL8K_TASKS:
        for split in corpus.SPLITS:
            file = root / task / f"{split}.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(items.get(task, []) if split == "train" else []))
    return root


def item(text: str, label: int = 0, **more: str) -> dict[str, Any]:
    return {"text": text, "options": ["Bern", "Oslo"], "label": label, **more}


def test_gaps_are_filled_with_the_gold_option_in_english_once(tmp_path: Path) -> None:
    root = write_mceval8k(
        tmp_path,
        {
            "fact/myriadlama": [item("A  is in [Y]. ", 1), item("A is in [Y].", 1)],
            "multilingual/mlama": [
                item("A is in [Y] .", 1, lang="en"),
                item("A is in [Y] .", 0, lang="en"),
                item("A ist in [Y] .", 1, lang="de"),
            ],
        },
    )
    found = corpus.read_mceval8k(root)
    assert [(s.filled, s.masked, s.source) for s in found] == [
        ("A is in Oslo.", "A is in [MASK].", "fact/myriadlama"),
        ("A is in Bern.", "A is in [MASK].", "multilingual/mlama"),
    ]


@pytest.mark.shared
def test_the_published_statements() -> None:
    found = corpus.read_mceval8k(MCEVAL8K)
    assert Counter(s.source for s in found) == {"fact/myriadlama": 6000, "multilingual/mlama": 1545}
    assert len({(s.text, s.answer) for s in found}) == len(found)
    assert all(s.text.count(corpus.GAP) == 1 and s.answer for s in found)
    tokens = vocabulary.wordpiece_tokenizer(vocabulary.train_vocabulary(found, 8000), 64)
    single = (batches.encode_statements(found, tokens, 64).answer_length == 1).mean()
    assert single == pytest.approx(0.9723, abs=1e-4)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (item("No gap."), r"train.json: item 1: 'No gap.' has 0 times \[Y\], expected one"),
        (item("[Y] and [Y]"), r"item 1: .* has 2 times"),
        (item("In [Y].", 2), r"item 1: label 2 is none of 2 options"),
        ({"text": "In [Y].", "options": "Bern", "label": 0}, r"item 1: expected `options`, a list"),
        ({"text": "In [Y]."}, r"item 1: .* has a gap without an answer"),
        ({"text": "In [Y].", "answer": " "}, r"item 1: the answer is ' ', expected text"),
        ({"text": 3}, r"item 1: expected an object with a string `text`"),
        ("In [Y].", r"item 1: expected an object"),
    ],
)
def test_broken_items_are_named(tmp_path: Path, broken: Any, message: str) -> None:
    root = write_mceval8k(tmp_path, {"fact/myriadlama": [item("In [Y]."), broken]})
    with pytest.raises(ValueError, match=message):
        corpus.read_mceval8k(root)


def test_files_of_ones_own(tmp_path: Path) -> None:
    lines = [json.dumps({"text": s.text, "answer": s.answer}) for s in facts()]
    (tmp_path / "facts.jsonl").write_text("\n".join(lines) + "\n\n")
    assert [(s.text, s.answer) for s in corpus.read_text(tmp_path / "facts.jsonl")] == [
        (s.text, s.answer) for s in facts()
    ]
    plain = tmp_path / "plain.txt"
    plain.write_text("One  sentence .\n\nAnother.\nOne sentence.\n")
    assert [s.filled for s in corpus.read_text(plain)] == ["One sentence.", "Another."]
    for name, content, message in (
        ("a.csv", b"", r"a.csv: unknown suffix '.csv'; known: .txt, .jsonl"),
        ("a.txt", b"\n \n", r"a.txt: no text in it"),
        ("a.txt", b"ab\xff", r"a.txt: not UTF-8 at byte 2"),
        ("a.jsonl", b'{"text": "A"}\n{', r"a.jsonl: line 2: not JSON"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=message):
            corpus.read_text(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r"none.txt': no such file"):
        corpus.read_text(tmp_path / "none.txt")
    with pytest.raises(FileNotFoundError, match=r"expected MCEval8K's folder, as --corpus_dir or"):
        corpus.read_mceval8k(tmp_path)


def test_where_the_benchmark_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder named by argument, then by environment; then on the hub."""
    root = write_mceval8k(tmp_path, {"fact/myriadlama": [item("In [Y].")]})
    expected = corpus.read_mceval8k(root)
    monkeypatch.setenv(ROOT_VARIABLE, str(root))
    assert corpus.read_mceval8k() == expected
    monkeypatch.delenv(ROOT_VARIABLE)
    fetched = mock.Mock(return_value=root)
    monkeypatch.setattr("negjax.weights.hub.fetch", fetched)
    assert corpus.read_mceval8k() == expected
    (hub_id, files, kind), _ = fetched.call_args
    assert (hub_id, kind) == (HUB_ID, "dataset")
    assert sorted(files) == sorted(str(f.relative_to(root)) for f in root.rglob("*.json"))


def test_what_is_held_out_is_told_in_other_words() -> None:
    statements = [*facts(), Statement("Kalon was born in [Y].", "Bern", "made up")]
    groups = corpus.paraphrases(statements)
    assert groups == [[2 * number, 2 * number + 1] for number in range(len(NAMES))]
    trained, held = corpus.hold_out(statements, 7, seed=3)
    assert len(held) == 7
    assert {*trained, *held} == {*statements}
    assert not {*trained} & {*held}
    for statement in held:
        name = next(name for name in NAMES if name in statement.text)
        (other,) = (s for s in trained if name in s.text)
        assert other.answer == statement.answer
    assert corpus.hold_out(statements, 7, seed=3)[1] == held
    assert corpus.hold_out(statements, 7, seed=4)[1] != held
    with pytest.raises(ValueError, match=r"21 statements to hold out, but only 20 facts"):
        corpus.hold_out(statements, 21, seed=0)


def test_the_vocabulary_is_the_same_in_every_process() -> None:
    code = """
from experiments.pretrain_bert.vocabulary import train_vocabulary
from tests.support.made_up_facts import facts
print(*train_vocabulary(facts(), 400), sep="\\n")
"""
    found = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
        ).stdout.split("\n")[:-1]
        for _ in range(2)
    ]
    assert found[0] == found[1] == vocabulary.train_vocabulary(facts(), 400)


def test_a_smaller_vocabulary_is_the_beginning_of_a_larger_one() -> None:
    large = vocabulary.train_vocabulary(facts(), 400)
    least = 5 + 2 * len({*vocabulary.ASCII}) + len(" ".join(PLACES).split())
    assert len(set(large)) == len(large) <= 400
    assert vocabulary.train_vocabulary(facts(), least + 3) == large[: least + 3]
    assert {"birthplace", "born"} <= {*large}
    with pytest.raises(
        ValueError, match=rf"a vocabulary of {least - 1}: expected at least {least}"
    ):
        vocabulary.train_vocabulary(facts(), least - 1)


def test_words_of_answers_are_single_tokens_and_case_is_kept(
    tokenizer: transformers.BertTokenizer, tmp_path: Path
) -> None:
    assert [tokenizer.tokenize(place) for place in PLACES] == [place.split() for place in PLACES]
    assert tokenizer.tokenize("oslo")[0] == "o"
    typed = "".join(map(chr, range(32, 127)))
    assert tokenizer.unk_token_id not in tokenizer(typed + " café")["input_ids"][:-4]
    tokenizer.save_pretrained(tmp_path)
    again = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for s in facts():
        assert again(s.masked)["input_ids"] == tokenizer(s.masked)["input_ids"]
    assert (again.mask_token, again.mask_token_id) == ("[MASK]", 4)
    assert again.model_max_length == 16
