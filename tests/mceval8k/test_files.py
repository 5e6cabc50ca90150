"""Files of MCEval8K: found, fetched, and refused with task, file and row."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from negjax import mceval8k
from negjax.mceval8k.catalogue import HUB_ID, TASKS
from negjax.mceval8k.files import ROOT_VARIABLE, published
from tests.support.hub_server import serving
from tests.support.made_up_mceval8k import Record, records, write_benchmark, write_part, write_task
from tests.support.processes import run_python


def change(name: str, edit: Callable[[Record], object]) -> Callable[[Path], Path]:
    """Writes a task whose third test record is what `edit` makes of it; returns the file."""

    def write(root: Path) -> Path:
        write_task(root, name)
        content = records(name, 0, 2)
        return write_part(root, name, "test", [*content[:2], edit(content[2]), *content[3:]])

    return write


def put(**values: Any) -> Callable[[Record], Record]:
    return lambda record: record | values


def without(field: str) -> Callable[[Record], Record]:
    return lambda record: {name: value for name, value in record.items() if name != field}


@pytest.mark.parametrize(
    ("name", "edit", "message"),
    [
        ("ner", without("text"), "has no field 'text'; it has target_chunk, "),
        ("ner", without("label"), "has no field 'label'"),
        ("ner", without("target_chunk"), "has no field 'target_chunk'"),
        ("pos", without("options"), "has no field 'options'"),
        ("m-pos", without("lang"), "has no field 'lang'"),
        ("mlama", without("uuid"), "has no field 'uuid'"),
        ("ner", put(label=4), "label is 4; expected one of 0, 1, 2, 3"),
        ("ner", put(label="0"), "label is '0'; expected one of 0, 1, 2, 3"),
        ("ner", put(label=None), "label is None; expected one of"),
        ("fever", put(label=True), "label is True; expected one of 0, 1"),
        ("amazon", put(label=0.0), "label is 0.0; expected one of 1, 2, 3, 4, 5"),
        ("amazon", put(label=1.5), "label is 1.5; expected one of 1, 2, 3, 4, 5"),
        ("lti", put(lang="it"), "lang is 'it'; expected one of 'en', 'fr', 'de', 'zh', 'es'"),
        ("xnli", put(lang="ru"), "lang is 'ru'; expected one of en, de, fr, es, zh"),
        ("agnews", put(text=""), r"text is empty \(''\); expected text"),
        ("agnews", put(text=" \n\t"), r"text is empty \(' \\n\\t'\); expected text"),
        ("agnews", put(text=None), "text is None; expected text"),
        ("agnews", put(text=["a"]), r"text is \['a'\]; expected text"),
        ("mnli", put(hypothesis="  "), "hypothesis is empty"),
        ("ner", put(target_chunk=[]), "target_chunk is empty; expected text"),
        ("ner", put(target_chunk=["a", ""]), "target_chunk is empty"),
        ("csqa", put(options=["a", "b", "c", "d"]), "options is .*; expected a list of 5, one a "),
        ("csqa", put(options="abcde"), "options is 'abcde'; expected a list of 5"),
        ("csqa", put(options=["a", "b", "", "d", "e"]), "options is empty"),
        ("ner", lambda r: ["a"], r"is no JSON object: \['a'\]"),
    ],
)
def test_bad_records_are_named(
    name: str, edit: Callable[[Record], object], message: str, tmp_path: Path
) -> None:
    file = change(name, edit)(tmp_path)
    with pytest.raises(ValueError, match=message) as raised:
        mceval8k.load(name, tmp_path)
    assert str(raised.value).startswith(f"{name}: {file}: row 2")


def test_texts_that_are_missing_in_published_records_are_left_out(tmp_path: Path) -> None:
    file = change("ged", put(sentence1=None))(tmp_path)
    found = published("ged", tmp_path)
    assert [row.number for row in found.parts["test"]] == [0, 1, 3]
    assert found.nulls == {"test": 1}
    write_part(tmp_path, "ged", "test", [{"sentence1": None, "sentence2": "a", "acceptable": 0}])
    with pytest.raises(ValueError, match=f"ged: {file} has no rows; fetch the file again"):
        published("ged", tmp_path)


def test_what_is_not_utf8_is_named(tmp_path: Path) -> None:
    write_task(tmp_path, "agnews")
    file = tmp_path / "classification" / "agnews" / "train.json"
    data = file.read_bytes()
    at = data.index(b"number 1 of 1")
    file.write_bytes(data[:at] + b"\xe9" + data[at + 1 :])
    message = rf"agnews: {file}: row 5 is not UTF-8 \(byte {at} of the file: invalid continuation"
    with pytest.raises(ValueError, match=message):
        mceval8k.load("agnews", tmp_path)


@pytest.mark.parametrize("part", ["train", "valid", "test"])
@pytest.mark.parametrize("share", [0, 0.5, 0.999])
def test_truncated_files_are_named(part: str, share: float, tmp_path: Path) -> None:
    write_task(tmp_path, "swag")
    file = tmp_path / "nli" / "swag" / f"{part}.json"
    data = file.read_bytes()
    file.write_bytes(data[: int(share * len(data))])
    message = rf"swag: {file} is truncated or damaged: .*; fetch the file again"
    with pytest.raises(ValueError, match=message):
        mceval8k.load("swag", tmp_path)


@pytest.mark.parametrize("content", [{"a": 1}, "text", 3])
def test_other_json_is_named(content: object, tmp_path: Path) -> None:
    write_task(tmp_path, "swag")
    file = tmp_path / "nli" / "swag" / "test.json"
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf"swag: {file} holds .*; expected a list of records"):
        mceval8k.load("swag", tmp_path)


@pytest.mark.parametrize("name", TASKS)
def test_missing_files_are_named(name: str, tmp_path: Path) -> None:
    for part in ("train", "valid", "test"):
        write_task(tmp_path, name)
        file = tmp_path / TASKS[name].folder / f"{part}.json"
        file.unlink()
        if part == "train" and name in ("imdb", "chunk"):
            write_part(tmp_path, name, "valid", records(name, 0, 8))
            assert mceval8k.load(name, tmp_path).notes
            continue
        with pytest.raises(FileNotFoundError, match=f"{name}: {file} is missing; complete the dir"):
            mceval8k.load(name, tmp_path)


def test_the_root_is_checked_and_may_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = tmp_path / "absent"
    with pytest.raises(FileNotFoundError, match=f"root '{absent}' is no directory; expected one"):
        mceval8k.load("ner", absent)
    monkeypatch.setenv(ROOT_VARIABLE, str(absent))
    message = f"environment variable {ROOT_VARIABLE} '{absent}' is no directory"
    with pytest.raises(FileNotFoundError, match=message):
        mceval8k.load("ner")
    write_task(tmp_path, "ner")
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path))
    assert mceval8k.load("ner").key == mceval8k.load("ner", tmp_path).key


FETCHING = """
import json, sys
from negjax import mceval8k
found = []
for name in sys.argv[1:]:
    try:
        found.append(mceval8k.load(name).key)
    except FileNotFoundError as error:
        found.append(str(error))
print(json.dumps(found))
"""


def test_the_hub_gives_the_files_of_a_task(tmp_path: Path) -> None:
    served = write_benchmark(tmp_path / "served")
    (served / "nli" / "mnli" / "test.json").unlink()
    (served / "README.md").write_text("not to be fetched")
    expected = mceval8k.load("ner", served).key
    settings = {"HF_HOME": str(tmp_path / "cache"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    settings |= {ROOT_VARIABLE: ""}
    with serving(served, HUB_ID, "dataset") as (address, asked):
        done = run_python(FETCHING, "ner", "mnli", HF_ENDPOINT=address, **settings)
    key, incomplete = json.loads(done.stdout)
    assert done.stderr == ""
    assert key == expected
    assert {name for name in asked if "ner" in name} == {
        f"linguistic/ner/{part}.json" for part in ("train", "valid", "test")
    }
    assert {name.rpartition("/")[0] for name in asked} == {"linguistic/ner", "nli/mnli"}
    assert incomplete.startswith("mnli: ") and "nli/mnli/test.json is missing" in incomplete
    # The server is gone: the cache answers for what was fetched.
    done = run_python(FETCHING, "ner", "pos", HF_ENDPOINT=address, **settings)
    cached, absent = json.loads(done.stdout)
    assert cached == expected
    assert absent == (
        f"hub id '{HUB_ID}': the hub cannot be reached and the local cache does not hold the "
        "dataset; go online, or pass a directory in the published layout"
    )
