"""Configs and weight tables of the families."""

import dataclasses
import re
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings

from negjax.model.config import ModelConfig
from negjax.model.rope import Llama3Scaling, Rope
from negjax.storage.given_files import read_json
from negjax.weights.conversion import parameter_shapes, to_parameters, to_tensors
from negjax.weights.families import FAMILIES
from negjax.weights.formats.safetensors_files import read_directory
from negjax.weights.tensors import Block
from tests.support.drawn_configs import CASES, GOLDEN, configs, read
from tests.support.published_configs import (
    BERT,
    GPT2,
    LLAMA_2_7B,
    LLAMA_3_2_1B,
    QWEN2_5,
)
from tests.support.published_relatives import GEMMA_3_1B, OLMO_3_7B
from tests.support.tiny_models import LLAMA, as_source, assert_equal, leaves, random_parameters

FLOAT32 = jnp.dtype("float32")


def test_published_configs_are_understood() -> None:
    llama = read(LLAMA_2_7B)
    assert (llama.layers, llama.neurons, llama.head_width, llama.tied) == (32, 11008, 128, False)
    assert llama.rope == Rope(theta=10000.0)
    small = read(LLAMA_3_2_1B)
    assert (small.kv_heads, small.head_width, small.tied) == (8, 64, True)
    assert small.rope == Rope(
        theta=500000.0,
        llama3=Llama3Scaling(
            factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0, original_context=8192
        ),
    )
    assert (read(QWEN2_5).qkv_bias, read(QWEN2_5).out_bias) == (True, False)
    assert read(QWEN2_5).context_length == 32768
    assert (read(GPT2).neurons, read(GPT2).activation, read(GPT2).tied) == (3072, "gelu_tanh", True)
    assert (read(BERT).token_types, read(BERT).mlm_head, read(BERT).causal) == (2, True, False)


@pytest.mark.parametrize(
    ("change", "windows"),
    [
        ({"use_sliding_window": True}, ()),  # max_window_layers: no layer has a window
        (
            {"use_sliding_window": True, "sliding_window": 100, "max_window_layers": 2},
            (None, None, *(100,) * 22),
        ),
        ({"sliding_window": 100, "max_window_layers": 2}, ()),
        (
            {
                "use_sliding_window": True,
                "sliding_window": 100,
                "layer_types": ["full_attention", "sliding_attention"] * 12,
            },
            (None, 100) * 12,
        ),
    ],
)
def test_qwens_windows_count_where_they_are_active(
    change: dict[str, Any], windows: tuple[int | None, ...]
) -> None:
    config = read(QWEN2_5 | change)
    assert (config.windows, config.context_length) == (windows, 32768)


@pytest.mark.parametrize("case", CASES)
def test_configs_survive_a_round_trip(case: str) -> None:
    config = read(read_json(GOLDEN / case / "config.json"))
    assert read(FAMILIES[config.family].config_to_hf(config)) == config


def test_newer_and_older_spellings_of_rope_agree() -> None:
    newer = {key: value for key, value in LLAMA_3_2_1B.items() if not key.startswith("rope")}
    newer["rope_parameters"] = LLAMA_3_2_1B["rope_scaling"] | {"rope_theta": 500000.0}
    assert read(newer) == read(LLAMA_3_2_1B)
    oldest = LLAMA_2_7B | {"rope_scaling": {"type": "linear", "factor": 2.0}}
    assert read(oldest).rope == Rope(theta=10000.0, linear_factor=2.0)


def test_one_object_of_rope_for_all_types_of_layers_is_their_one_base() -> None:
    raw = {key: value for key, value in OLMO_3_7B.items() if not key.startswith("rope")}
    flat = {"rope_type": "default", "rope_theta": 2e4}
    ropes = {"full_attention": flat, "sliding_attention": flat}
    assert read(raw | {"rope_parameters": flat}) == read(raw | {"rope_parameters": ropes})
    with pytest.raises(ValueError, match="rope_type is 'linear', expected 'default'"):
        read(raw | {"rope_parameters": flat | {"rope_type": "linear", "factor": 2.0}})
    with pytest.raises(ValueError, match=r"rope_theta is 1\.0, expected the same"):
        read(raw | {"rope_parameters": flat, "rope_theta": 1.0})
    with pytest.raises(ValueError, match=r"rope_parameters\.rope_type = 'default'"):
        read(GEMMA_3_1B | {"rope_parameters": flat})


@pytest.mark.parametrize(
    ("raw", "change", "message"),
    [
        (LLAMA_2_7B, {"hidden_act": "quick_gelu"}, "hidden_act is 'quick_gelu', expected one of"),
        (LLAMA_2_7B, {"rope_scaling": {"rope_type": "xpos", "factor": 4.0}}, "rope_type is 'xpos'"),
        (LLAMA_2_7B, {"rope_scaling": {"type": "dynamic"}}, "factor is missing"),
        (LLAMA_2_7B, {"rope_scaling": {"type": "longrope"}}, "short_factor is missing"),
        (LLAMA_2_7B, {"rope_scaling": {"type": "linear"}}, "factor is missing"),
        (
            LLAMA_2_7B,
            {"rope_scaling": {"type": "linear", "factor": 2.0, "mscale": 1}},
            "mscale = 1",
        ),
        (
            LLAMA_2_7B,
            {"rope_theta": 1.0, "rope_parameters": {"rope_type": "default", "rope_theta": 2.0}},
            "rope_theta is 1.0, expected the same as in rope_parameters, 2.0",
        ),
        (LLAMA_2_7B, {"partial_rotary_factor": 0.5}, "partial_rotary_factor is 0.5"),
        (LLAMA_2_7B, {"logit_scale": 2.0}, "logit_scale = 2.0"),
        (LLAMA_2_7B, {"auto_map": {"AutoModel": "x.Y"}}, "auto_map is"),
        (LLAMA_2_7B, {"quantization_config": {"bits": 4}}, "quantization_config = "),
        (LLAMA_2_7B, {"hidden_size": None}, "hidden_size is None, expected a positive integer"),
        (LLAMA_2_7B, {"hidden_size": "4096"}, "hidden_size is '4096'"),
        (LLAMA_2_7B, {"num_hidden_layers": 0}, "num_hidden_layers is 0"),
        (LLAMA_2_7B, {"hidden_size": 4095}, "head_dim is missing, expected a positive integer"),
        (LLAMA_2_7B, {"num_key_value_heads": 5}, "num_key_value_heads is 5, expected a divisor"),
        (LLAMA_2_7B, {"tie_word_embeddings": "no"}, "tie_word_embeddings is 'no', expected true"),
        (LLAMA_2_7B, {"rms_norm_eps": -1.0}, "rms_norm_eps is -1.0, expected a positive number"),
        (LLAMA_2_7B, {"architectures": ["LlamaForTokenClassification"]}, "'LlamaForTokenClass"),
        (QWEN2_5, {"layer_types": ["chunked_attention"]}, "layer_types is"),
        (
            GPT2,
            {"scale_attn_by_inverse_layer_idx": True},
            "scale_attn_by_inverse_layer_idx is True",
        ),
        (GPT2, {"n_head": 7}, "n_head is 7, expected a divisor of n_embd, 768"),
        (BERT, {"position_embedding_type": "relative_key"}, "position_embedding_type is 'relative"),
        (BERT, {"is_decoder": True}, "is_decoder is True"),
    ],
)
def test_what_is_not_implemented_is_named(
    raw: dict[str, Any], change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        read(raw | change)


def test_unknown_model_types_are_named() -> None:
    with pytest.raises(ValueError, match="model_type is 'mamba'; negjax knows llama, mistral"):
        read({"model_type": "mamba"})


def test_rope_factors_of_a_gguf_file_are_written_as_a_longrope() -> None:
    rope = Rope(theta=10000.0, factors=(1.0, 2.0))
    config = dataclasses.replace(LLAMA, rope=rope)
    assert read(FAMILIES["llama"].config_to_hf(config)) == config


def test_what_config_json_has_no_words_for_is_not_written() -> None:
    for change in (
        {"rope": Rope(theta=10000.0, neighbours=True)},
        {"rope": None},
        {"windows": (3, None)},
    ):
        with pytest.raises(ValueError, match=r"config.json has no way to say this"):
            FAMILIES["llama"].config_to_hf(dataclasses.replace(LLAMA, **change))


@settings(max_examples=40)
@given(config=configs())
def test_weights_and_configs_survive_a_round_trip(config: ModelConfig) -> None:
    family = FAMILIES[config.family]
    table = family.table(config)
    params = random_parameters(config)
    tensors = to_tensors(params, table, config)
    found = to_parameters(as_source(tensors), table, config, FLOAT32, origin="memory")
    if config.first_norm:
        assert_equal(found, params)
    # Of a norm that the first layer does not use, no file says what it is.
    again = to_tensors(found, table, config)
    assert again.keys() == tensors.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(again[name], tensor, err_msg=name)
    assert family.config_from_hf(family.config_to_hf(config), "memory") == config


def test_tables_name_every_parameter_once() -> None:
    for case in CASES:
        config = read(read_json(GOLDEN / case / "config.json"))
        rules = FAMILIES[config.family].table(config).rules
        targets = [target for rule in rules for target in rule.targets]
        assert sorted(targets) == sorted(parameter_shapes(config, FLOAT32))


@pytest.mark.parametrize("case", CASES)
def test_parts_of_parameters_are_made_of_parts_of_tensors(case: str) -> None:
    config = read(read_json(GOLDEN / case / "config.json"))
    table = FAMILIES[config.family].table(config)
    tensors = to_tensors(random_parameters(config), table, config)
    blocks = 0
    for rule in table.rules:
        tensor, shape = tensors[rule.sources(config)[0]], rule.target_shapes(config)[0]
        whole = rule.convert(tensor, config)
        for axis, size in enumerate(shape):
            part = Block(tuple((size // 2 * (at == axis), size) for at, size in enumerate(shape)))
            parts = [part if value.shape == shape else whole_of(value) for value in whole]
            pieces = rule.pieces(config, parts)
            if pieces is None:
                continue
            blocks += any(piece.block.shape != tensor.shape for piece in pieces)
            found = [value for piece in pieces for value in piece.convert(piece.block(tensor))]
            for value, own, all_of_it in zip(found, parts, whole, strict=True):
                np.testing.assert_array_equal(value, own(all_of_it))
    assert blocks


def whole_of(value: np.ndarray) -> Block:
    return Block(tuple((0, size) for size in value.shape))


def golden_arrays(case: str) -> dict[str, np.ndarray]:
    return {name: tensor.read() for name, tensor in read_directory(GOLDEN / case).items()}


def convert(case: str, arrays: dict[str, np.ndarray]) -> nnx.State:
    config = read(read_json(GOLDEN / case / "config.json"))
    table = FAMILIES[config.family].table(config)
    return to_parameters(as_source(arrays), table, config, FLOAT32, origin=case)


def test_gpt2_files_come_with_or_without_their_prefix_and_masks() -> None:
    arrays = golden_arrays("gpt2")
    bare = {name.removeprefix("transformer."): array for name, array in arrays.items()}
    bare["h.0.attn.bias"] = np.tril(np.ones((1, 1, 32, 32), np.float32))
    bare["h.0.attn.masked_bias"] = np.full((), -1e4, np.float32)
    bare["lm_head.weight"] = bare["wte.weight"]
    assert_equal(convert("gpt2", bare), convert("gpt2", arrays))


def test_bert_files_come_with_older_names_and_other_heads() -> None:
    arrays = golden_arrays("bert")
    older = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): array
        for name, array in arrays.items()
    }
    older["bert.embeddings.position_ids"] = np.arange(32.0)[None]
    older["bert.pooler.dense.weight"] = np.zeros((32, 32))
    older["cls.seq_relationship.bias"] = np.zeros(2)
    older["cls.predictions.decoder.weight"] = arrays["bert.embeddings.word_embeddings.weight"]
    older["cls.predictions.decoder.bias"] = arrays["cls.predictions.bias"]
    assert_equal(convert("bert", older), convert("bert", arrays))
    del older["cls.predictions.bias"], older["bert.embeddings.word_embeddings.weight"]
    assert_equal(convert("bert", older), convert("bert", arrays))


def test_an_untied_bert_adds_the_bias_of_its_decoder() -> None:
    tied = read(read_json(GOLDEN / "bert" / "config.json"))
    config = dataclasses.replace(tied, tied=False)
    table = FAMILIES["bert"].table(config)
    bias, decoder = "cls.predictions.bias", "cls.predictions.decoder.bias"
    arrays = to_tensors(random_parameters(config), table, config)
    # Readers of either name find it.
    np.testing.assert_array_equal(arrays[bias], arrays[decoder])

    def output_bias(**change: np.ndarray | None) -> np.ndarray:
        found = {**arrays, **change}
        source = as_source({name: array for name, array in found.items() if array is not None})
        return leaves(to_parameters(source, table, config, FLOAT32, origin="m"))["head.bias"]

    other = arrays[bias] + 1
    np.testing.assert_array_equal(output_bias(**{bias: other}), arrays[decoder])
    np.testing.assert_array_equal(output_bias(**{bias: None}), arrays[decoder])
    np.testing.assert_array_equal(output_bias(**{bias: other, decoder: None}), other)
    with pytest.raises(ValueError, match=r"missing \(1\):\n  cls.predictions.decoder.bias"):
        output_bias(**{bias: None, decoder: None})


def test_a_tied_output_embedding_must_be_the_input_embedding() -> None:
    arrays = golden_arrays("smollm2")
    arrays["lm_head.weight"] = arrays["model.embed_tokens.weight"] + 1
    with pytest.raises(ValueError, match=r"ties 'lm_head.weight' to 'model.embed_tokens.weight'"):
        convert("smollm2", arrays)


def test_the_error_lists_what_is_missing_left_over_and_misshapen() -> None:
    arrays = golden_arrays("llama3_gqa")
    del arrays["model.layers.1.mlp.up_proj.weight"]
    arrays["model.layers.2.mlp.up_proj.weight"] = np.zeros((48, 32))
    arrays["model.norm.weight"] = np.zeros(31)
    message = (
        "llama3_gqa: the tensors do not fit the config of family 'llama':\n"
        "missing (1):\n  model.layers.1.mlp.up_proj.weight\n"
        "left over (1):\n  model.layers.2.mlp.up_proj.weight\n"
        "misshapen (1):\n  model.norm.weight has shape [31], the config means [32]"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        convert("llama3_gqa", arrays)


def test_a_tensor_that_is_there_under_two_names_is_an_error() -> None:
    arrays = golden_arrays("gpt2")
    arrays["wte.weight"] = arrays["transformer.wte.weight"]
    with pytest.raises(ValueError, match=r"'transformer.wte.weight' is there twice"):
        convert("gpt2", arrays)
