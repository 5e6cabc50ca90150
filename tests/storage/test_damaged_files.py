"""Files that are not what they are called: each error names the file and what to do."""

import codecs
import json
import shutil
from pathlib import Path

import gguf
import numpy as np
import pytest

import negjax
from experiments.pretrain_bert.corpus import read_text
from negjax.storage import given_files
from negjax.weights.formats.gguf_header import read_header
from negjax.weights.loading import load
from negjax.weights.saving import save_pretrained
from tests.support.block_shapes import tiny

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"
TABLE = "prompt,answer\nw3 w4,w5\nw6,w7\n"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_pretrained(tiny("gated"), tmp_path_factory.mktemp("whole"))


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


JSON_FAULTS = {
    "pointer": (POINTER, "a Git LFS pointer, not the file that it stands for: run `git lfs pull`"),
    "empty": (b"", "the file is empty; fetch or write it again"),
    "cut off": (None, "not JSON, or cut off: .*; fetch or write it again"),
    "latin-1": (b'{"a": "\xe9"}', r"not UTF-8 at byte 7 \(line 1\): .*; save the file as UTF-8"),
    "utf-16": ('{"a": 1}'.encode("utf-16"), "UTF-16 or UTF-32 text; save the file as UTF-8"),
    "a list": (b"[1]", "holds a JSON list, expected an object"),
    "deep": (b"[" * 100_000, "not JSON that can be read: nested too deeply"),
}


@pytest.mark.parametrize("fault", JSON_FAULTS)
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_damaged_json_is_named(name: str, fault: str, whole: Path, tmp_path: Path) -> None:
    content, message = JSON_FAULTS[fault]
    directory = Path(shutil.copytree(whole, tmp_path / "model"))
    file = directory / name
    file.write_bytes(cut(file.read_bytes()) if content is None else content)
    with pytest.raises(ValueError, match=f"{name}: {message}"):
        load(directory)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_a_byte_order_mark_is_no_fault(name: str, whole: Path, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(whole, tmp_path / "model"))
    content = (whole / name).read_bytes()
    (directory / name).write_bytes(codecs.BOM_UTF8 + content)
    assert given_files.read_json(directory / name) == json.loads(content)


def test_pointers_in_place_of_weights_are_named(whole: Path, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(whole, tmp_path / "model"))
    (directory / "model.safetensors").write_bytes(POINTER)
    with pytest.raises(ValueError, match=r"model\.safetensors: a Git LFS pointer.*`git lfs pull`"):
        load(directory)
    (directory / "model.safetensors.index.json").write_bytes(POINTER)
    with pytest.raises(ValueError, match=r"model\.safetensors\.index\.json: a Git LFS pointer"):
        load(directory)
    for name in ("model.gguf", "model.GGUF", "6ab0f2"):
        (tmp_path / name).write_bytes(POINTER)
        with pytest.raises(ValueError, match=f"{name}: a Git LFS pointer"):
            load(tmp_path / name)


@pytest.mark.parametrize("found", [{"a": 1}, {"a": ["b"]}, {}, [], "x", None])
def test_an_index_that_names_no_files_is_refused(
    found: object, whole: Path, tmp_path: Path
) -> None:
    directory = Path(shutil.copytree(whole, tmp_path / "model"))
    index = directory / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": found}))
    with pytest.raises(ValueError, match=r"index\.json: weight_map is .*, expected tensor names"):
        load(directory)


def test_a_tokenizer_that_is_json_and_no_tokenizer_is_refused(whole: Path, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(whole, tmp_path / "model"))
    (directory / "tokenizer.json").write_text('{"model": {"type": "none"}}')
    with pytest.raises(
        ValueError, match=r"tokenizer\.json: not a tokenizer that the tok.*fetch or w"
    ):
        load(directory)


def write_gguf(file: Path, endian: gguf.GGUFEndian = gguf.GGUFEndian.LITTLE) -> Path:
    writer = gguf.GGUFWriter(file, "llama", endianess=endian)
    writer.add_tensor("x", np.ones((1, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


@pytest.mark.parametrize("name", ["model.gguf", "model.GGUF", "6ab0f2", "model.bin"])
def test_a_gguf_file_is_told_by_its_content(name: str, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / name)
    assert read_header(file)[0]["general.architecture"] == "llama"
    # It is read as one: what is missing in it is what the error is about.
    with pytest.raises(ValueError, match=r"num_hidden_layers|block_count|hidden_size"):
        load(file)


def test_big_endian_files_are_named_as_such(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "model.gguf", gguf.GGUFEndian.BIG)
    with pytest.raises(ValueError, match=r"model\.gguf: a big-endian GGUF file, .*little-endian"):
        load(file)


# ---- Tables.


@pytest.mark.parametrize("name", ["facts.csv", "FACTS.CSV", "facts.Csv"])
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
@pytest.mark.parametrize("line", ["\n", "\r\n"])
def test_tables_of_whatever_editor(name: str, mark: bytes, line: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(mark + TABLE.replace("\n", line).encode())
    found = negjax.read_facts(tmp_path / name)
    assert (found.prompts, found.answers) == (("w3 w4", "w6"), ("w5", "w7"))


def test_rows_longer_than_a_block_are_read(tmp_path: Path) -> None:
    long = "w3 " * 1_000_000
    (tmp_path / "facts.csv").write_text(f'prompt,answer\n"{long}",w5\nw4,w6\n')
    found = negjax.read_facts(tmp_path / "facts.csv")
    assert found.prompts == (long, "w4")


@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_lines_of_json_of_whatever_editor(mark: bytes, tmp_path: Path) -> None:
    rows = [{"prompt": "w3", "answer": "w5"}, {"prompt": "w4", "answer": "w6"}]
    lines = "\r\n".join(map(json.dumps, rows))
    (tmp_path / "facts.JSONL").write_bytes(mark + lines.encode())
    assert negjax.read_facts(tmp_path / "facts.JSONL").answers == ("w5", "w6")


def test_parquet_is_told_by_its_content(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table({"prompt": ["w3"], "answer": ["w4"]}), tmp_path / "6ab0f2")
    assert negjax.read_facts(tmp_path / "6ab0f2").prompts == ("w3",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (POINTER, "a Git LFS pointer"),
        (b"", "the file is empty"),
        (TABLE.encode("utf-16"), "UTF-16 or UTF-32 text; save the file as UTF-8"),
    ],
)
@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet", "feather"])
def test_what_is_no_table_is_named(
    content: bytes, message: str, ending: str, tmp_path: Path
) -> None:
    if ending in ("parquet", "feather") and content.startswith(codecs.BOM_UTF16_LE):
        message = "not readable"
    (tmp_path / f"facts.{ending}").write_bytes(content)
    with pytest.raises(ValueError, match=rf"facts\.{ending}: {message}"):
        negjax.read_facts(tmp_path / f"facts.{ending}")


def test_surrogates_and_depth_in_lines_of_json(tmp_path: Path) -> None:
    file = tmp_path / "facts.jsonl"
    file.write_text('{"prompt": "\\ud800", "answer": "w4"}')
    with pytest.raises(ValueError, match=r"facts\.jsonl: row 0: prompt is .* surrogate"):
        negjax.read_facts(file)
    file.write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"facts\.jsonl: line 1 is not JSON"):
        negjax.read_facts(file)


def test_a_corpus_of_whatever_editor(tmp_path: Path) -> None:
    (tmp_path / "corpus.TXT").write_bytes(codecs.BOM_UTF8 + b"One two.\r\nThree.\r\n")
    assert [s.text for s in read_text(tmp_path / "corpus.TXT")] == ["One two.", "Three."]


def test_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "facts.csv").write_text(TABLE)
    (tmp_path / "corpus.txt").write_text("One.")
    assert negjax.read_facts("~/facts.csv").source == "facts.csv"
    assert len(read_text("~/corpus.txt")) == 1
    save_pretrained(tiny("gated"), "~/model")
    assert load("~/model").config == tiny("gated").config
    with pytest.raises(ValueError, match=r"~nobody-of-this-name.*write the folder out"):
        negjax.read_facts("~nobody-of-this-name/facts.csv")
