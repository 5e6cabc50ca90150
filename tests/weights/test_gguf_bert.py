"""GGUF files of BERT: the masked-LM head is in the file, or the file is refused."""

import json
import re
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

import negjax
from negjax.weights.families import FAMILIES
from negjax.weights.families.bert_gguf import HEAD
from negjax.weights.formats import gguf_files, safetensors_files
from negjax.weights.loading import facts_bert_directory
from tests.support.gguf_conversion import write_gguf
from tests.support.gguf_vocabularies import converted_wordpiece
from tests.support.places import STORED
from tests.support.tiny_models import as_source, assert_equal, convert, tensors_of

CONFIG = FAMILIES["bert"].config_from_hf(
    json.loads((STORED / "families" / "bert" / "config.json").read_text()), "bert"
)
MISSING = (
    "cls.predictions.transform.dense.weight, cls.predictions.transform.dense.bias, "
    "cls.predictions.transform.LayerNorm.weight, cls.predictions.transform.LayerNorm.bias, "
    "cls.predictions.bias"
)


def encoder_alone() -> dict[str, np.ndarray]:
    """What llama.cpp's converter leaves."""
    tensors = tensors_of(CONFIG)
    return {name: values for name, values in tensors.items() if not name.startswith(HEAD)}


def test_a_file_without_a_head_is_refused(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m.gguf", CONFIG, encoder_alone())
    message = (
        rf"m.gguf: the GGUF file has no masked-LM head, .* \(missing: {re.escape(MISSING)}\): "
    )
    with pytest.raises(ValueError, match=message + r".* directory in Hugging Face layout"):
        negjax.load(tmp_path / "m.gguf")


def test_a_classifier_is_no_masked_lm_head(tmp_path: Path) -> None:
    """The only head that the gguf package has names for."""
    width = CONFIG.width
    classifier: dict[str, np.ndarray] = {
        "cls.weight": np.ones((width, width), np.float32),
        "cls.bias": np.ones(width),
    }
    write_gguf(tmp_path / "m.gguf", CONFIG, encoder_alone() | classifier)
    with pytest.raises(ValueError, match=r"m.gguf: the GGUF file has no masked-LM head"):
        negjax.load(tmp_path / "m.gguf")


def test_the_gguf_package_has_no_names_for_the_head() -> None:
    """If this fails, converted files may hold it: read it under those names, too."""
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.BERT, CONFIG.layers)
    head = [name for name in tensors_of(CONFIG) if name.startswith(HEAD)]
    assert sorted(head) == sorted(MISSING.split(", "))
    found = [names.get_name(name, try_suffixes=(".weight", ".bias")) for name in head]
    assert found == [None] * len(head)


def test_a_part_of_the_head_that_is_missing_is_named(tmp_path: Path) -> None:
    tensors = tensors_of(CONFIG)
    del tensors[f"{HEAD}.bias"]
    write_gguf(tmp_path / "m.gguf", CONFIG, tensors)
    file = gguf_files.open_file(tmp_path / "m.gguf")
    config = gguf_files.read_config(file)
    with pytest.raises(ValueError, match=rf"missing \(1\):\n  {HEAD}.bias"):
        convert(gguf_files.read_tensors(file, config), config)


@pytest.mark.parametrize("name", ["pooler.dense.weight", "cls.seq_relationship.weight"])
def test_heads_beside_it_are_left_aside(tmp_path: Path, name: str) -> None:
    tensors = tensors_of(CONFIG)
    write_gguf(tmp_path / "m.gguf", CONFIG, tensors | {name: np.ones((2, 2), np.float32)})
    file = gguf_files.open_file(tmp_path / "m.gguf")
    config = gguf_files.read_config(file)
    with pytest.warns(negjax.Notice, match="heads beside the masked-LM head are left aside"):
        params = convert(gguf_files.read_tensors(file, config), config)
    assert_equal(params, convert(as_source(tensors), CONFIG))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"bert__attention__causal": True}, "is_decoder is True, expected False"),
        ({"bert__rope__freq_base": 1e4}, "bert.rope.freq_base"),
    ],
)
def test_settings_that_are_not_berts_are_refused(
    tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    write_gguf(tmp_path / "m.gguf", CONFIG, tensors_of(CONFIG), **fields)
    with pytest.raises(ValueError, match=message):
        negjax.load(tmp_path / "m.gguf")


def test_facts_bert_as_a_gguf_file(tmp_path: Path) -> None:
    """Weights, ids and so every number are those of its directory."""
    facts_bert = negjax.load("facts-bert")
    directory = facts_bert_directory()
    stored = safetensors_files.read_directory(directory)
    words = json.loads((directory / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    vocabulary = converted_wordpiece(sorted(words, key=words.get), special)
    write_gguf(
        tmp_path / "m.gguf",
        facts_bert.config,
        {name: np.asarray(tensor.read(), np.float32) for name, tensor in stored.items()},
        **{name.replace(".", "__"): value for name, value in vocabulary.items()},
    )
    with pytest.warns(negjax.Notice, match=r"vocabulary has '[A-Z].*': text keeps its case"):
        lm = negjax.load(tmp_path / "m.gguf")
    assert lm.fingerprint == facts_bert.fingerprint
    for prompt in negjax.read_facts("facts-bert").prompts[:200]:
        assert lm.tokenizer(prompt).input_ids == facts_bert.tokenizer(prompt).input_ids
    probes = negjax.encode(lm, ["[MASK] is the capital of France."], ["Paris"])
    own = negjax.encode(facts_bert, ["[MASK] is the capital of France."], ["Paris"])
    found = negjax.neurgrad(lm, probes).neurgrad
    # The norms' epsilon is a float32 in the file.
    np.testing.assert_allclose(
        found, negjax.neurgrad(facts_bert, own).neurgrad, rtol=1e-6, atol=1e-9
    )
