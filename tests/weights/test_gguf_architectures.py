"""GGUF files of every architecture: the same model as in Hugging Face layout."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from negjax.model.config import ModelConfig
from negjax.model.rope import Rope, YarnScaling
from negjax.weights.families import FAMILIES
from negjax.weights.formats import gguf_files
from tests.support.gguf_conversion import Fields, write_gguf
from tests.support.places import STORED
from tests.support.tiny_models import as_source, assert_equal, convert, tensors_of

# Of published models, which say by their number how queries are scaled.
DEEP = {"layer_types": None, "num_hidden_layers": 26, "query_pre_attn_scalar": 16}
DEEPEST = DEEP | {"query_pre_attn_scalar": 8}
MULTIPLIERS = {"attention_multiplier": 0.25, "residual_multiplier": 0.375}

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("gpt2", {}),
    "llama": ("llama2_mha", {}),
    "llama, linear": ("llama_linear_rope", {}),
    "llama, yarn": ("llama_yarn", {}),
    "qwen2": ("qwen2", {}),
    "qwen3": ("qwen3", {}),
    "gemma": ("gemma", {}),
    "gemma2": ("gemma2", DEEP),
    "gemma2, 27b": ("gemma2", DEEPEST | {"num_hidden_layers": 46}),
    "gemma3": ("gemma3", DEEP),
    "gemma3, 27b": ("gemma3", DEEPEST | {"num_hidden_layers": 62}),
    "granite": ("granite", MULTIPLIERS),
    "olmo2": ("olmo2", {}),
    "olmo3": ("olmo3", {}),
    "smollm3": ("smollm3", {"num_hidden_layers": 5, "layer_types": None, "no_rope_layers": None}),
    "phi3": ("phi3", {}),
    "phi3, longrope": ("phi4_mini", {}),
    "gptneox": ("pythia", {}),
    "bert": ("bert", {}),
    "bert, untied": ("bert", {"tie_word_embeddings": False, "type_vocab_size": 3}),
    "mixtral": ("mixtral", {"sliding_window": None}),
    "qwen3moe": ("qwen3_moe", {}),
    "olmoe": ("olmoe", {}),
}


def hugging_face(case: str) -> ModelConfig:
    """The model's settings as its config.json gives them."""
    name, others = CASES[case]
    raw = json.loads((STORED / "families" / name / "config.json").read_text())
    return FAMILIES[raw["model_type"]].config_from_hf(raw | others, name)


def single(number: float) -> float:
    return float(np.float32(number))


def as_stored(config: ModelConfig) -> ModelConfig:
    """With the numbers that float32 has."""
    rope = config.rope and dataclasses.replace(
        config.rope,
        # YaRN's follows from its factor.
        attention_factor=config.rope.attention_factor
        if config.rope.yarn
        else single(config.rope.attention_factor),
        factors=config.rope.factors and tuple(map(single, config.rope.factors)),
    )
    return dataclasses.replace(config, norm_eps=single(config.norm_eps), rope=rope)


def factors_of(config: ModelConfig) -> dict[str, np.ndarray]:
    """RoPE's tensors."""
    if config.rope is None or config.rope.factors is None:
        return {}
    short = np.asarray(config.rope.factors, np.float32)
    return {"rope_factors_short.weight": short, "rope_factors_long.weight": 2 * short}


@pytest.mark.parametrize("case", CASES)
def test_gguf_architectures(tmp_path: Path, case: str) -> None:
    config = hugging_face(case)
    tensors = tensors_of(config)
    write_gguf(tmp_path / "m.gguf", config, tensors | factors_of(config))
    file = gguf_files.open_file(tmp_path / "m.gguf")
    found = gguf_files.read_config(file)
    assert found == as_stored(config)
    params = convert(gguf_files.read_tensors(file, found), found)
    for name, values in tensors.items():
        if config.norm_offset and name.endswith("norm.weight"):
            # What is left of a weight to which 1 was added.
            tensors[name] = (values + np.float32(1)) - np.float32(1)
    assert_equal(params, convert(as_source(tensors), config))


def test_every_gguf_architecture_is_tested() -> None:
    tested = {hugging_face(case).family for case in CASES}
    assert tested == {name for name, family in FAMILIES.items() if family.gguf is not None}


def read(path: Path) -> ModelConfig:
    return gguf_files.read_config(gguf_files.open_file(path))


def test_what_the_query_scale_follows_from(tmp_path: Path) -> None:
    """Of models of an unknown size it is known only where both rules agree."""
    config = dataclasses.replace(hugging_face("gemma2"), layers=3, windows=(6, None, 6))
    write_gguf(tmp_path / "m.gguf", config, tensors_of(config))
    with pytest.raises(
        ValueError, match=r"gemma2.block_count is 3, .* with 26, 42, 46 layers; load"
    ):
        read(tmp_path / "m.gguf")
    config = dataclasses.replace(config, heads=2, attention_scale=0.25)
    write_gguf(tmp_path / "m.gguf", config, tensors_of(config))
    assert read(tmp_path / "m.gguf") == as_stored(config)


@pytest.mark.parametrize(
    ("case", "without"),
    [("granite", "granite.attention.scale"), ("phi3", "phi3.attention.sliding_window")],
)
def test_gguf_settings_that_are_not_guessed(tmp_path: Path, case: str, without: str) -> None:
    config = hugging_face(case)
    write_gguf(tmp_path / "m.gguf", config, tensors_of(config), without=without)
    with pytest.raises(ValueError, match=f"{without} is missing, and negjax does not guess it"):
        read(tmp_path / "m.gguf")


def test_gguf_windows_of_gemma(tmp_path: Path) -> None:
    path, config = tmp_path / "m.gguf", hugging_face("gemma3")
    write_gguf(path, config, {}, without="gemma3.attention.sliding_window", gemma3__vocab_size=64)
    assert read(path) == as_stored(dataclasses.replace(config, windows=(None,) * 26))
    write_gguf(path, config, {}, gemma3__attention__sliding_window_pattern=2, gemma3__vocab_size=64)
    assert read(path).windows == (6, None) * 13
    base: Fields = {"gemma3__rope__freq_base_swa": 500.0, "gemma3__vocab_size": 64}
    write_gguf(path, config, {}, **base)
    assert read(path) == as_stored(dataclasses.replace(config, local_rope=Rope(theta=500.0)))


@pytest.mark.parametrize(
    ("case", "fields", "message"),
    [
        ("llama", {"type": "llama4"}, "rope.scaling.type is 'llama4'; expected one of none, "),
        ("llama", {"attn_factor": 2.0}, "llama.rope.scaling.attn_factor = 2.0"),
        ("llama, yarn", {"attn_factor": 2.0}, "llama.rope.scaling.attn_factor = 2.0"),
        ("llama, yarn", {"yarn_attn_factor": 2.0}, "yarn_attn_factor is 2.0, expected 1.13863, "),
        ("llama, yarn", {"yarn_log_multiplier": 0.1}, "llama.rope.scaling.yarn_log_multiplier = "),
        ("llama, yarn", {"yarn_ext_factor": 0.5}, "llama.rope.scaling.yarn_ext_factor = 0.5"),
        (
            "phi3",
            {"type": "longrope", "attn_factor": 1.5},
            "is longrope, and rope_factors_short.weight and rope_factors_long.weight missing",
        ),
    ],
)
def test_gguf_rope_scalings_that_are_not_implemented_are_named(
    tmp_path: Path, case: str, fields: dict[str, Any], message: str
) -> None:
    config = hugging_face(case)
    arch = config.family
    given = {f"{arch}__rope__scaling__{key}": value for key, value in fields.items()}
    write_gguf(tmp_path / "m.gguf", config, tensors_of(config), **given)
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "m.gguf")


def test_what_gguf_metadata_of_rope_mean_together(tmp_path: Path) -> None:
    path, config = tmp_path / "m.gguf", hugging_face("llama")
    write_gguf(path, config, tensors_of(config), llama__rope__scaling__factor=2.0)
    assert read(path).rope == Rope(theta=10000.0, linear_factor=2.0)
    unused: Fields = {"llama__rope__scaling__factor": 2.0, "llama__rope__scaling__type": "none"}
    write_gguf(path, config, tensors_of(config), **unused)
    assert read(path).rope == Rope(theta=10000.0)
    yarn: Fields = {
        "llama__rope__scaling__type": "yarn",
        "llama__rope__scaling__factor": 2.0,
        "llama__rope__scaling__yarn_log_multiplier": 0.0,
    }
    write_gguf(path, config, tensors_of(config), **yarn)
    scaling = YarnScaling(factor=2.0, original_context=config.context_length)
    factor = 0.1 * math.log(2) + 1
    assert read(path).rope == Rope(theta=10000.0, yarn=scaling, attention_factor=factor)
    divisors = {"rope_freqs.weight": np.ones(config.head_width // 2, np.float32)}
    write_gguf(path, config, tensors_of(config) | divisors, **yarn)
    with pytest.raises(ValueError, match=r"rope_freqs.weight beside another scaling of RoPE"):
        read(path)


def test_gguf_factors_of_rope_that_nothing_uses_are_left_over(tmp_path: Path) -> None:
    config = hugging_face("phi3")
    factors = {"rope_factors_short.weight": np.ones(4, np.float32)}
    none: Fields = {"phi3__rope__scaling__type": "none"}
    write_gguf(tmp_path / "m.gguf", config, tensors_of(config) | factors, **none)
    file = gguf_files.open_file(tmp_path / "m.gguf")
    config = gguf_files.read_config(file)
    with pytest.raises(ValueError, match=r"left over \(1\):\n  rope_factors_short.weight"):
        convert(gguf_files.read_tensors(file, config), config)
