"""Tables of facts: every format, every refusal, the shipped table, the published prompts."""

import csv
import hashlib
import json
import os
import re
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import feather, parquet

from negjax.inputs.tables import Facts, read_facts
from tests.support.shared_data import SHARED

DATA = SHARED / "data"
PROBE_MODELS = (
    "llama2-7b-it",
    "llama2-70b-it",
    "llama3.1-8b-it",
    "llama3.2-3b-it",
    "qwen2.5-7b-it",
)
PROMPTS = ("Q: one,\nA:", ' "two" is ', "René plus NULL is", "nul")
ANSWERS = ("1990", "true", "NULL", "été")


def _table(prompts: object = PROMPTS, answers: object = ANSWERS) -> pa.Table:
    return pa.table({"id": range(len(PROMPTS)), "prompt": prompts, "answer": answers})


def _write_csv(path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(
            [("id", "prompt", "answer"), *zip("abcd", PROMPTS, ANSWERS, strict=True)]
        )


def _write_jsonl(path: Path) -> None:
    rows = [{"prompt": p, "answer": a} for p, a in zip(PROMPTS, ANSWERS, strict=True)]
    path.write_text(
        "\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8"
    )


def _write_stream(path: Path) -> None:
    with pa.ipc.new_stream(path, _table().schema) as writer:
        writer.write_table(_table(), max_chunksize=3)


WRITERS: dict[str, Callable[[Path], None]] = {
    "facts.csv": _write_csv,
    "FACTS.CSV": _write_csv,
    "facts.parquet": lambda path: parquet.write_table(_table(), path, row_group_size=3),
    "facts.feather": lambda path: feather.write_feather(_table(), str(path)),
    "file.arrow": lambda path: feather.write_feather(
        _table(), str(path), compression="uncompressed"
    ),
    "stream.arrow": _write_stream,
    "facts.jsonl": _write_jsonl,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_keeps_the_strings_as_they_are(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    WRITERS[name](path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert read_facts(path) == Facts(
        prompts=PROMPTS, answers=ANSWERS, rows=(0, 1, 2, 3), source=name, sha256=digest
    )
    assert read_facts(str(path)) == read_facts(path)


def test_dictionary_and_large_string_columns(tmp_path: Path) -> None:
    path = tmp_path / "facts.parquet"
    prompts = pa.array(PROMPTS, pa.large_string())
    parquet.write_table(_table(prompts, pa.array(ANSWERS).dictionary_encode()), path)
    facts = read_facts(path)
    assert (facts.prompts, facts.answers) == (PROMPTS, ANSWERS)


def test_csv_with_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "facts.csv"
    path.write_bytes(b"\xef\xbb\xbfprompt,answer\r\none ,two\r\n")
    assert read_facts(path).prompts == ("one ",)


def test_csv_types_are_not_guessed_from_the_first_rows(tmp_path: Path) -> None:
    path = tmp_path / "facts.csv"
    # Longer than one block of pyarrow's reader (1 MiB); the type of `note` changes at the end.
    path.write_text(
        "prompt,answer,note\n" + "p,7,7\n" * 200_000 + "p,seven,seven\n", encoding="utf-8"
    )
    assert read_facts(path).answers[-2:] == ("7", "seven")


def test_columns_are_chosen_by_name(tmp_path: Path) -> None:
    path = tmp_path / "facts.csv"
    path.write_text("answer,question,gold\nx,one,two\n", encoding="utf-8")
    facts = read_facts(path, prompt_column="question", answer_column="gold")
    assert (facts.prompts, facts.answers) == (("one",), ("two",))


def test_limit_takes_the_first_rows() -> None:
    everything, some = read_facts(), read_facts(limit=7)
    assert some.rows == tuple(range(7))
    assert some.prompts == everything.prompts[:7]
    assert some.sha256 == everything.sha256


def test_limit_with_a_seed_draws_rows_in_file_order() -> None:
    everything, drawn = read_facts(), read_facts(limit=50, seed=3)
    assert drawn == read_facts(limit=50, seed=3)
    assert drawn.rows != read_facts(limit=50, seed=4).rows
    assert drawn.rows != tuple(range(50))
    assert drawn.rows == tuple(sorted(set(drawn.rows)))
    assert drawn.prompts == tuple(everything.prompts[row] for row in drawn.rows)
    assert drawn.answers == tuple(everything.answers[row] for row in drawn.rows)
    assert read_facts(limit=len(everything.rows), seed=3).rows == everything.rows


@pytest.mark.parametrize("limit", [0, -1, 100_000])
def test_limit_out_of_range_is_refused(limit: int) -> None:
    total = len(read_facts().rows)
    with pytest.raises(ValueError, match=rf"limit={limit}: negjax facts has {total} rows"):
        read_facts(limit=limit)


def test_unknown_suffix_and_missing_file(tmp_path: Path) -> None:
    known = r"unknown suffix '\.txt'; known: \.csv, \.tsv, \.parquet, .*, \.json, \.jsonl, \.ndjson"
    (tmp_path / "facts.txt").write_text("prompt,answer\na,b\n")
    with pytest.raises(ValueError, match=known):
        read_facts(tmp_path / "facts.txt")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.csv': no such file"):
        read_facts(tmp_path / "nowhere.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(IsADirectoryError, match=r"folder\.csv' is a directory, expected a"):
        read_facts(tmp_path / "folder.csv")


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.csv", b"", "a.csv: the file is empty"),
        ("a.csv", b"prompt,answer\n", "a.csv: the table has no rows"),
        ("a.csv", b"prompt,other\na,b\n", "a.csv: no column 'answer'; columns: prompt, other"),
        (
            "a.csv",
            b"prompt,prompt,answer\na,b,c\n",
            "a.csv: 2 columns 'prompt'; columns: prompt, prom",
        ),
        ("a.csv", b"prompt,answer\na,b\nc,d,e\n", "a.csv: not readable: CSV parse error: Row #3"),
        ("a.csv", b"prompt,answer\na,b\nc,\n", "a.csv: row 1: answer is blank"),
        ("a.csv", b"prompt,answer\n \t,b\n", "a.csv: row 0: prompt is blank"),
        ("a.csv", b"prompt,answer\na,b\n\xe9,d\n", "a.csv: not UTF-8 at byte 18 (line 3)"),
        ("a.jsonl", b"\n", "a.jsonl: the table has no rows"),
        (
            "a.jsonl",
            b'{"answer": "b", "id": 1}',
            "a.jsonl: no column 'prompt'; columns: answer, id",
        ),
        ("a.jsonl", b'{"prompt": "a", "answer": "b"}\n{"prompt": "c"}', "row 1: answer is null"),
        (
            "a.jsonl",
            b'{"prompt": "a", "answer": 3}',
            "a.jsonl: row 0: answer is int 3, expected text or token ids",
        ),
        ("a.jsonl", b'\n["a", "b"]', 'a.jsonl: line 2 is not a JSON object: ["a", "b"]'),
        ("a.jsonl", b'{"prompt"', "a.jsonl: line 1 is not JSON: Expecting ':'"),
        ("a.jsonl", b'{"prompt": "\xff"}', "a.jsonl: not UTF-8 at byte 12 (line 1)"),
        ("a.parquet", b"", "a.parquet: the file is empty"),
        ("a.parquet", b"no such thing", "a.parquet: not readable: "),
        ("a.feather", b"no such thing", "a.feather: not readable: "),
        ("a.arrow", b"ARROW1 and no more", "a.arrow: not readable: "),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(ValueError, match=re.escape(message)):
        read_facts(path)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (["a", "b", None, "d"], "a.parquet: row 2: answer is null"),
        ([1, 2, 3, 4], "a.parquet: row 0: answer is int 1, expected text or token ids"),
        (
            [b"a", b"b", b"c", b"d"],
            "a.parquet: row 0: answer is bytes b'a', expected text or token ids",
        ),
        (["a", "b", "c", "\u00a0"], "a.parquet: row 3: answer is blank"),
    ],
)
def test_bad_parquet_values_are_refused(
    tmp_path: Path, answers: list[object], message: str
) -> None:
    path = tmp_path / "a.parquet"
    parquet.write_table(_table(answers=answers), path)
    with pytest.raises(ValueError, match=re.escape(message)):
        read_facts(path)


def test_feather_that_is_not_utf8_names_the_row(tmp_path: Path) -> None:
    path = tmp_path / "a.feather"
    answers = pa.array([b"a", b"b", b"c", b"\xff"], pa.binary()).view(pa.string())
    feather.write_feather(_table(answers=answers), str(path), chunksize=3)
    with pytest.raises(ValueError, match=r"a\.feather: column 'answer': Invalid UTF8 .* index 3"):
        read_facts(path)


def test_rows_left_out_by_limit_are_checked_too(tmp_path: Path) -> None:
    path = tmp_path / "facts.csv"
    path.write_text("prompt,answer\na,b\nc,\n", encoding="utf-8")
    with pytest.raises(ValueError, match="row 1: answer is blank"):
        read_facts(path, limit=1)


def _shipped() -> list[dict[str, str]]:
    text = resources.files("negjax").joinpath("data/facts.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def test_shipped_table() -> None:
    rows, facts = _shipped(), read_facts()
    assert list(rows[0]) == ["relation", "prompt", "answer", "masked"]
    assert len(rows) >= 240
    assert facts.source == "negjax facts"
    assert facts.prompts == tuple(row["prompt"] for row in rows)
    assert facts.answers == tuple(row["answer"] for row in rows)
    assert read_facts(prompt_column="masked").prompts == tuple(row["masked"] for row in rows)
    assert 15 <= len({row["relation"] for row in rows}) <= 25
    assert len({row["prompt"] for row in rows}) == len(rows)
    assert len({row["masked"] for row in rows}) == len(rows)


def test_shipped_rows() -> None:
    for row in _shipped():
        prompt, answer, masked = row["prompt"], row["answer"], row["masked"]
        assert re.fullmatch("[a-z]+(_[a-z]+)*", row["relation"]), row
        assert prompt == prompt.strip(), row
        assert re.fullmatch(r"[^\W\d_]+", answer), row  # one word
        assert masked.count("[MASK]") == 1, row
        filled = masked.replace("[MASK]", answer)
        assert filled == filled.strip(), row
        assert "  " not in filled, row
        assert filled.startswith(f"{prompt} {answer}"), row  # the same fact


@pytest.fixture
def probe_files(tmp_path: Path) -> list[Path]:
    """The five published files of 1,000 prompts; where missing, a made-up one, but not in CI."""
    folder = DATA / "neg_probes"
    if folder.is_dir():
        return [folder / f"{model}.csv" for model in PROBE_MODELS]
    if os.environ.get("CI"):
        pytest.fail(f"{folder} is missing")
    lines = ["uuid,prompt,tpl,answer"]
    lines += [f'u{i},"Predict the [MASK].\nQ: fact {i} is [MASK].\nA:",t,a{i}' for i in range(1000)]
    path = tmp_path / "probes.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    return [path]


def test_published_probe_prompts(probe_files: list[Path]) -> None:
    for path in probe_files:
        facts = read_facts(path)
        assert len(facts.rows) == 1000, path
        assert all(re.fullmatch(r"Predict .*\nQ: .*\nA:", prompt) for prompt in facts.prompts), path
        with path.open(encoding="utf-8", newline="") as file:
            assert facts.answers == tuple(row["answer"] for row in csv.DictReader(file)), path
