"""Tables as people, pandas 3.1 and polars 2.1 write them: separators, JSON, lists, other names."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import feather, parquet

from negjax.inputs.encoding import encode
from negjax.inputs.table_files import _SEPARATORS
from negjax.inputs.tables import read_facts
from tests.support.block_shapes import tiny

PROMPTS = ("Q: one,\nA:", ' "two" is ', "René; plus\tNULL | is", "nul")
ANSWERS = ("1990", "true", "NULL", "été")
RECORDS = [{"prompt": p, "answer": a} for p, a in zip(PROMPTS, ANSWERS, strict=True)]
KEYS = ("0", "1", "2", "3")


def written(folder: Path, name: str, content: str) -> Path:
    (folder / name).write_text(content, encoding="utf-8")
    return folder / name


# ---- What stands between columns.


@pytest.mark.parametrize("name", ["facts.csv", "facts.tsv"])
@pytest.mark.parametrize("separator", _SEPARATORS)
def test_any_separator_is_read_off_the_header(tmp_path, name, separator):
    path = tmp_path / name
    with path.open("w", encoding="utf-8", newline="") as file:
        # pandas writes its index in front, under no name.
        rows = csv.writer(file, delimiter=separator)
        rows.writerows([("", "prompt", "answer"), *zip(KEYS, PROMPTS, ANSWERS, strict=True)])
    facts = read_facts(path)
    assert (facts.prompts, facts.answers) == (PROMPTS, ANSWERS)


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        ('\ufeff"prompt";"answer"\r\n"a, b";"c"\r\n', {}),  # as spreadsheets write it
        ("\n\nprompt;answer\na, b;c\n", {}),
        ("answer;prompt,text\nc;a, b\n", {"prompt_column": "prompt,text"}),
        ("id.prompt;answer\na, b;c\n", {"prompt_column": "id.prompt"}),
    ],
)
def test_headers(tmp_path, content, columns):
    facts = read_facts(written(tmp_path, "facts.csv", content), **columns)
    assert (facts.prompts, facts.answers) == (("a, b",), ("c",))


# ---- JSON.

COLUMNS = {"prompt": list(PROMPTS), "answer": list(ANSWERS)}
FORMS: dict[str, Any] = {
    "records, and polars": RECORDS,
    "columns": {name: dict(zip(KEYS, column, strict=True)) for name, column in COLUMNS.items()},
    "index": dict(zip(KEYS, RECORDS, strict=True)),
    "split": {
        "columns": ["answer", "prompt"],
        "index": [0, 1, 2, 3],
        "data": [[a, p] for p, a in zip(PROMPTS, ANSWERS, strict=True)],
    },
    "table": {"schema": {"fields": [], "pandas_version": "1.4.0"}, "data": RECORDS},
    "lists": COLUMNS,
    "polars before 1.0": {
        "columns": [
            {"name": name, "datatype": "Utf8", "bit_settings": "", "values": column}
            for name, column in COLUMNS.items()
        ]
    },
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("indent", [None, 2])
def test_every_form_of_json(tmp_path, form, indent):
    facts = read_facts(written(tmp_path, "f.json", json.dumps(FORMS[form], indent=indent)))
    assert (facts.prompts, facts.answers) == (PROMPTS, ANSWERS)


@pytest.mark.parametrize("name", ["facts.json", "facts.jsonl", "facts.ndjson"])
def test_lines_under_any_name(tmp_path, name):
    lines = "\n".join(map(json.dumps, RECORDS))
    assert read_facts(written(tmp_path, name, lines)).prompts == PROMPTS


@pytest.mark.parametrize(
    "content",
    [
        "3",
        '"prompt"',
        '["a"]',
        "{}",
        '{"prompt": "a", "answer": "b"}',
        '{"prompt": ["a"], "answer": ["b", "c"]}',
        '{"prompt": {"0": "a"}, "answer": ["b"]}',
        '{"columns": ["prompt", "answer"], "data": [["a"]]}',
        '{"columns": [["prompt"], "answer"], "data": [["a", "b"]]}',
    ],
)
def test_json_that_is_no_table(tmp_path, content):
    with pytest.raises(ValueError, match=r"^a\.json: holds .*, which is no table; expected a list"):
        read_facts(written(tmp_path, "a.json", content))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"prompt"', r"^a\.json: not JSON, or cut off: "),
        ("[" * 100_000, r"^a\.json: not JSON that can be read: nested too deeply"),
        ("[]", r"^a\.json: the table has no rows"),
        ('[{"prompt": "a"}]', r"^a\.json: no column 'answer'; columns: prompt; name yours"),
        ('{"prompt": {"0": "a"}, "answer": {"1": "b"}}', r"^a\.json: row 0: answer is null"),
    ],
)
def test_damaged_json(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        read_facts(written(tmp_path, "a.json", content))


# ---- Arrow, as polars writes it.


@pytest.mark.parametrize("name", ["facts.arrow", "facts.ipc", "facts.feather"])
def test_texts_as_views(tmp_path, name):
    table = pa.table({k: pa.array(v, pa.string_view()) for k, v in COLUMNS.items()})
    with pa.ipc.new_file(tmp_path / name, table.schema) as file:
        file.write_table(table, max_chunksize=3)
    assert read_facts(tmp_path / name).answers == ANSWERS


# ---- Token ids and chats.

CHATS = [
    [{"role": "user", "content": "w3"}],
    [{"role": "system", "content": "w5"}, {"role": "user", "content": "w6", "name": "w7"}],
]
IDS = [[3, 5], [7]]


@pytest.mark.parametrize("name", ["a.parquet", "a.feather", "a.json", "a.jsonl", "a.csv"])
@pytest.mark.parametrize("prompts", [CHATS, IDS])
def test_lists_are_chats_and_token_ids(tmp_path, name, prompts):
    path, columns = tmp_path / name, {"prompt": prompts, "answer": IDS}
    if name == "a.parquet":
        parquet.write_table(pa.table(columns), path)
    elif name == "a.feather":
        feather.write_feather(pa.table(columns), str(path))
    elif name == "a.csv":
        with path.open("w", newline="") as file:
            rows = zip(map(json.dumps, prompts), map(json.dumps, IDS), strict=True)
            csv.writer(file).writerows([("prompt", "answer"), *rows])
    elif name == "a.json":
        path.write_text(json.dumps(columns))
    else:
        pairs = zip(prompts, IDS, strict=True)
        path.write_text("\n".join(json.dumps({"prompt": p, "answer": a}) for p, a in pairs))
    facts = read_facts(path)
    assert facts.prompts == tuple(map(tuple, prompts))
    assert facts.answers == tuple(map(tuple, IDS))


def test_token_ids_of_a_table_can_be_asked(tmp_path):
    rows = [{"prompt": [3, 5], "answer": [7]}, {"prompt": "w3 w5", "answer": "w7"}]
    facts = read_facts(written(tmp_path, "a.json", json.dumps(rows)))
    found = encode(tiny("gated"), facts.prompts, facts.answers)
    assert found.tokens[0].tolist() == found.tokens[1].tolist() == [3, 5]
    assert found.target_ids.tolist() == [[[7]], [[7]]]


def test_a_column_of_texts_stays_texts_unless_all_are_lists(tmp_path):
    content = 'prompt,answer\n"[1, 2]",a\n"[1, 2, x",b\n'
    facts = read_facts(written(tmp_path, "a.csv", content))
    assert facts.prompts == ("[1, 2]", "[1, 2, x")
    facts = read_facts(written(tmp_path, "b.csv", content.replace("1, 2, x", '""w3""]')))
    assert facts.prompts == ("[1, 2]", '["w3"]')


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": [], "answer": "a"}, r"row 0: prompt is list \[\], expected text, token ids or"),
        ({"prompt": [1.5], "answer": "a"}, r"row 0: prompt is list \[1\.5\], expected text, token"),
        ({"prompt": [True], "answer": "a"}, r"row 0: prompt is list \[True\], expected text, "),
        ({"prompt": "a", "answer": CHATS[0]}, r"row 0: answer is list .*, expected text or token"),
        ({"prompt": "a", "answer": {"b": 1}}, r"row 0: answer is dict .*, expected text or token"),
    ],
)
def test_other_values_are_refused_by_row(tmp_path, row, message):
    with pytest.raises(ValueError, match=message):
        read_facts(written(tmp_path, "a.json", json.dumps([row])))


# ---- Other names.


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (
            "Prompt,answers,answer2,x",
            r"no column 'prompt'; columns: Prompt, answers, answer2, x; name yours with "
            r'prompt_column="Prompt"$',
        ),
        (
            "prompt;answers;answer2",
            r"no column 'answer'; columns: prompt, answers, answer2; name yours with "
            r'answer_column="answers" or "answer2"$',
        ),
        ("question,gold", r"columns: question, gold; name yours with prompt_column$"),
        ("prompt,prompt,answer", r"2 columns 'prompt'; .*; name yours with prompt_column$"),
        (",".join(f"c{i}" for i in range(30)), r"columns: c0, .*, c19 and 10 more; name yours"),
    ],
)
def test_a_missing_column_is_answered_with_the_nearest(tmp_path, header, message):
    row = header.replace("prompt", "a")
    with pytest.raises(ValueError, match=message):
        read_facts(written(tmp_path, "a.csv", f"{header}\n{row}\n"))
