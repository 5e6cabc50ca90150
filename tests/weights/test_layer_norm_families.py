"""Families with layer norms: positions, windows, names in files, masked-LM heads and others."""

import dataclasses
import re
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from negjax.model.config import ModelConfig
from negjax.process.notices import Notice
from negjax.storage.given_files import read_json
from negjax.weights.conversion import to_parameters
from negjax.weights.families import FAMILIES, family_of
from negjax.weights.formats.safetensors_files import read_directory
from tests.support.places import STORED
from tests.support.published_layer_norm_configs import (
    DISTILBERT,
    GPT_J,
    MODERNBERT,
    OPT,
    PHI_2,
    PYTHIA,
    ROBERTA,
)
from tests.support.tiny_models import as_source, assert_equal

GOLDEN = STORED / "families"


def read(raw: dict[str, Any]) -> ModelConfig:
    return family_of(raw["model_type"], "config.json").config_from_hf(raw, "config.json")


def golden(case: str) -> tuple[ModelConfig, dict[str, np.ndarray]]:
    arrays = {name: tensor.read() for name, tensor in read_directory(GOLDEN / case).items()}
    return read(read_json(GOLDEN / case / "config.json")), arrays


def convert(config: ModelConfig, arrays: dict[str, np.ndarray]) -> nnx.State:
    table = FAMILIES[config.family].table(config)
    return to_parameters(as_source(arrays), table, config, jnp.dtype("float32"), origin="memory")


def test_positions_begin_after_the_padding_tokens() -> None:
    assert (read(ROBERTA).context_length, read(ROBERTA).position_offset) == (512, 2)
    first = read(ROBERTA | {"pad_token_id": 0})
    assert (first.context_length, first.position_offset) == (513, 1)
    without = {key: value for key, value in ROBERTA.items() if key != "pad_token_id"}
    assert read(without) == read(ROBERTA)
    assert (read(OPT).context_length, read(OPT).position_offset) == (2048, 2)


def test_modernberts_layers_see_half_of_the_window_to_each_side() -> None:
    config = read(MODERNBERT)
    assert config.windows == tuple(None if i % 3 == 0 else 65 for i in range(22))
    assert config.rope is not None and config.local_rope is not None
    assert (config.rope.theta, config.local_rope.theta) == (160000.0, 10000.0)
    newer = {
        "layer_types": ["sliding_attention" if i % 3 else "full_attention" for i in range(22)],
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": 160000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
        },
    }
    older = ("global_attn_every_n_layers", "global_rope_theta", "local_rope_theta")
    assert read({k: v for k, v in MODERNBERT.items() if k not in older} | newer) == config
    everywhere = read(MODERNBERT | {"global_attn_every_n_layers": 1})
    assert (everywhere.windows, everywhere.local_rope) == ((), None)
    nearest = read(MODERNBERT | {"local_attention": 1})
    assert nearest.windows[1] == 1
    for found in (config, everywhere, nearest):
        assert read(FAMILIES["modernbert"].config_to_hf(found)) == found


@pytest.mark.parametrize(
    ("raw", "change", "message"),
    [
        (ROBERTA, {"hidden_act": "relu"}, "hidden_act is 'relu', expected 'gelu'"),
        (ROBERTA, {"pad_token_id": None}, "pad_token_id is None, expected a whole number"),
        (ROBERTA, {"pad_token_id": -1}, "pad_token_id is -1, expected a whole number"),
        (ROBERTA, {"max_position_embeddings": 2}, "max_position_embeddings is 2, expected more"),
        (ROBERTA, {"architectures": ["RobertaForCausalLM"]}, "'RobertaForCausalLM' is not one"),
        (ROBERTA, {"position_embedding_type": "relative_key"}, "position_embedding_type is"),
        (DISTILBERT, {"hidden_size": 512}, "hidden_size is 512, expected the same as dim, 768"),
        (DISTILBERT, {"tie_weights_": False}, "tie_weights_ is False"),
        (MODERNBERT, {"classifier_activation": "relu"}, "classifier_activation is 'relu'"),
        (MODERNBERT, {"hidden_activation": "relu"}, "classifier_activation is 'gelu'"),
        (MODERNBERT, {"rope_scaling": {"rope_type": "linear", "factor": 2.0}}, "rope_scaling is"),
        (MODERNBERT, {"local_rope_theta": None}, "local_rope_theta is None, expected a positive"),
        (MODERNBERT, {"layer_types": ["full_attention"]}, "expected a list of 22 types"),
        (MODERNBERT, {"layer_types": ["chunked_attention"] * 22}, "layer_types is"),
        (PYTHIA, {"rotary_pct": 0.3}, "expected a share of the head width, 64"),
        (PYTHIA, {"rotary_pct": 0.5, "partial_rotary_factor": 0.25}, "rotary_pct is 0.5"),
        (PYTHIA, {"rope_theta": 5.0}, "rotary_emb_base is 10000, expected the same as rope_theta"),
        (GPT_J, {"rotary": False}, "rotary is False"),
        (GPT_J, {"rotary_dim": None}, "rotary_dim is None, expected a positive integer"),
        (GPT_J, {"rotary_dim": 258}, "rotary_dim is 258, expected an even number up to the head"),
        (OPT, {"do_layer_norm_before": False}, "do_layer_norm_before is False"),
        (OPT, {"word_embed_proj_dim": 512}, "word_embed_proj_dim is 512, expected 768"),
        (OPT, {"_remove_final_layer_norm": True}, "_remove_final_layer_norm is True"),
        (OPT, {"layer_norm_elementwise_affine": False}, "layer_norm_elementwise_affine is False"),
        (PHI_2, {"qk_layernorm": True}, "qk_layernorm is True"),
        (PHI_2, {"num_key_value_heads": 5}, "num_key_value_heads is 5, expected a divisor"),
    ],
)
def test_what_is_not_implemented_is_named(
    raw: dict[str, Any], change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=f"^config.json: .*{re.escape(message)}"):
        read(raw | change)


@pytest.mark.parametrize("case", ["distilbert", "opt"])
def test_a_norms_eps_that_no_setting_says_cannot_be_written(case: str) -> None:
    config = dataclasses.replace(golden(case)[0], norm_eps=0.1)
    with pytest.raises(ValueError, match=r"norm_eps is 0\.1; config\.json has no way"):
        FAMILIES[config.family].config_to_hf(config)


BUFFERS: dict[str, dict[str, tuple[int, ...]]] = {
    "roberta": {"embeddings.position_ids": (1, 34)},
    "pythia": {
        "layers.0.attention.bias": (1, 1, 32, 32),
        "layers.0.attention.masked_bias": (),
        "layers.1.attention.rotary_emb.inv_freq": (2,),
    },
    "gptj": {"h.0.attn.bias": (1, 1, 32, 32), "h.1.attn.masked_bias": ()},
}
OTHERS = {
    "bert": {"bert.pooler.dense": (32, 32), "cls.seq_relationship": (2, 32)},
    "roberta": {"classifier.out_proj": (2, 32), "roberta.pooler.dense": (32, 32)},
    "distilbert": {"pre_classifier": (32, 32), "qa_outputs": (2, 32)},
    "modernbert": {"classifier": (2, 32)},
}


@pytest.mark.parametrize("case", OTHERS)
def test_other_heads_are_left_aside_which_is_said(case: str) -> None:
    config, arrays = golden(case)
    others = {f"{name}.weight": np.zeros(shape) for name, shape in OTHERS[case].items()}
    listed = ", ".join(OTHERS[case])
    message = f"^memory: heads beside the masked-LM head are left aside: {listed}$"
    with pytest.warns(Notice, match=message):
        assert_equal(convert(config, arrays | others), convert(config, arrays))


@pytest.mark.parametrize("case", OTHERS)
def test_a_file_without_a_masked_lm_head_is_refused(case: str) -> None:
    config, arrays = golden(case)
    config = read(read_json(GOLDEN / case / "config.json") | {"architectures": []})
    table = FAMILIES[config.family].table(config)
    head = {
        rule.source
        for rule in table.rules
        if str(rule.target).startswith("head.") and rule.target != "head.norm.scale"
    }
    bare = {name: array for name, array in arrays.items() if name not in head}
    with pytest.raises(ValueError, match=r"^memory: the file has no masked-LM head.*missing: "):
        convert(config, bare)
    others = {f"{name}.weight": np.zeros(shape) for name, shape in OTHERS[case].items()}
    # ModernBERT's other heads share its dense layer.
    shared = {name: arrays[name] for name in head if name == "head.dense.weight"}
    listed = ", ".join(OTHERS[case])
    with pytest.raises(ValueError, match=f"no masked-LM head.*there are other heads: {listed}"):
        convert(config, bare | others | shared)


def test_files_of_other_classes_are_read_for_their_masked_lm_head() -> None:
    for kind in ("Model", "ForSequenceClassification", "ForQuestionAnswering"):
        assert read(ROBERTA | {"architectures": [f"Roberta{kind}"]}) == read(ROBERTA)


@pytest.mark.parametrize(
    ("case", "prefix", "head"),
    [
        ("bert", "bert.", "cls."),
        ("roberta", "roberta.", "lm_head."),
        ("distilbert", "distilbert.", "vocab_"),
        ("modernbert", "model.", "head."),
        ("pythia", "gpt_neox.", "lm_head."),
        ("gptj", "transformer.", "lm_head."),
        ("opt", "model.", "lm_head."),
    ],
)
def test_files_come_with_or_without_their_prefix_and_buffers(
    case: str, prefix: str, head: str
) -> None:
    config, arrays = golden(case)
    bare = {
        (name if name.startswith(head) else name.removeprefix(prefix)): array
        for name, array in arrays.items()
    }
    bare |= {name: np.zeros(shape) for name, shape in BUFFERS.get(case, {}).items()}
    assert_equal(convert(config, bare), convert(config, arrays))


def test_pythias_output_embedding_has_an_older_and_a_newer_name() -> None:
    config, arrays = golden("pythia")
    [name] = {"embed_out.weight", "lm_head.weight"} & arrays.keys()
    [other] = {"embed_out.weight", "lm_head.weight"} - {name}
    renamed = {other if key == name else key: array for key, array in arrays.items()}
    assert_equal(convert(config, renamed), convert(config, arrays))
