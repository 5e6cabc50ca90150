"""Tiny GGUF files, as llama.cpp's converter would write them of a model in Hugging Face layout."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from negjax.model.config import ModelConfig

ARCHITECTURES = {
    "mistral": "llama",
    "gemma3_text": "gemma3",
    "olmo3": "olmo2",
    "gpt_neox": "gptneox",
    "mixtral": "llama",
    "qwen3_moe": "qwen3moe",
}
"""`general.architecture` of families that are called otherwise."""

NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "model.layers": "blk",
    "input_layernorm": "attn_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.qkv_proj": "attn_qkv",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "block_sparse_moe.gate": "ffn_gate_inp",
    "block_sparse_moe.experts.w1": "ffn_gate_exps",
    "block_sparse_moe.experts.w2": "ffn_down_exps",
    "block_sparse_moe.experts.w3": "ffn_up_exps",
    "mlp.gate.": "ffn_gate_inp.",
    "mlp.experts.gate_proj": "ffn_gate_exps",
    "mlp.experts.up_proj": "ffn_up_exps",
    "mlp.experts.down_proj": "ffn_down_exps",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.gate_up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "transformer.wte": "token_embd",
    "transformer.wpe": "position_embd",
    "transformer.ln_f": "output_norm",
    "transformer.h": "blk",
    "ln_1": "attn_norm",
    "ln_2": "ffn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
    "gpt_neox.embed_in": "token_embd",
    "gpt_neox.final_layer_norm": "output_norm",
    "embed_out": "output",
    "gpt_neox.layers": "blk",
    "attention.query_key_value": "attn_qkv",
    "attention.dense": "attn_output",
    "mlp.dense_h_to_4h": "ffn_up",
    "mlp.dense_4h_to_h": "ffn_down",
}
BERT_NAMES = {
    "bert.": "",
    "embeddings.word_embeddings": "token_embd",
    "embeddings.position_embeddings": "position_embd",
    "embeddings.token_type_embeddings": "token_types",
    "embeddings.LayerNorm": "token_embd_norm",
    "encoder.layer": "blk",
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}
"""The converter leaves the head out; a file that has it keeps its names."""
LAYER_NORMS = ("gpt2", "gpt_neox", "bert")
INTERLEAVED = ("llama", "mistral", "mixtral", "granite", "smollm3")
HEAD_WIDTH_SAID = (
    *("llama", "mistral", "mixtral", "qwen2", "qwen3", "qwen3_moe"),
    *("gemma", "gemma2", "gemma3_text"),
)
BASE_SAID = (
    *("llama", "mistral", "mixtral", "qwen2", "qwen3", "qwen3_moe", "gemma3_text"),
    *("granite", "smollm3", "phi3"),
)
TURNED_SAID = ("llama", "mistral", "mixtral", "granite", "smollm3", "phi3", "gpt_neox")
WINDOW_SAID = ("gemma2", "gemma3_text", "olmo3", "phi3")

Fields = dict[str, Any]


def gguf_name(name: str, config: ModelConfig) -> str:
    if config.family == "bert":
        for theirs, ours in BERT_NAMES.items():
            name = name.replace(theirs, ours)
        return name
    after = config.norm_placement in ("output", "sandwich")
    post = "post_attention_norm" if after else "ffn_norm"
    for theirs, ours in {**NAMES, "post_attention_layernorm": post}.items():
        name = name.replace(theirs, ours)
    return name


def interleaved(rows: np.ndarray, heads: int) -> np.ndarray:
    """Rows with the halves of each head's put between each other."""
    halves = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
    return halves.swapaxes(1, 2).reshape(rows.shape)


def converted(name: str, values: np.ndarray, config: ModelConfig) -> np.ndarray:
    """What the converter makes of a tensor."""
    heads = {"q_proj": config.heads, "k_proj": config.kv_heads}.get(name.split(".")[-2])
    if config.family in INTERLEAVED and heads is not None:
        return interleaved(values, heads)
    if config.family == "gpt2" and values.ndim == 2 and ".h." in name:
        return np.ascontiguousarray(values.T)
    if config.family.startswith("gemma") and name.endswith("norm.weight"):
        return values + np.float32(1)
    if "query_key_value" in name:
        by_head = values.reshape(config.heads, 3, config.head_width, *values.shape[1:])
        return by_head.swapaxes(0, 1).reshape(values.shape)
    return values


def metadata(config: ModelConfig) -> Fields:
    """By key after the architecture."""
    family, rope = config.family, config.rope
    eps = "layer_norm_epsilon" if family in LAYER_NORMS else "layer_norm_rms_epsilon"
    fields: Fields = {
        "block_count": config.layers,
        "context_length": config.context_length,
        "embedding_length": config.width,
        # Qwen3-MoE's says it of a network that its layers do not have.
        "feed_forward_length": 96 if family == "qwen3_moe" else config.expert_neurons,
        "attention.head_count": config.heads,
        f"attention.{eps}": config.norm_eps,
    }
    if family not in LAYER_NORMS:
        fields["attention.head_count_kv"] = config.kv_heads
    if family in HEAD_WIDTH_SAID:
        fields |= {f"attention.{key}_length": config.head_width for key in ("key", "value")}
    if rope is not None and (family in BASE_SAID or family.startswith("olmo")):
        fields["rope.freq_base"] = rope.theta
    if rope is not None and family in TURNED_SAID:
        fields["rope.dimension_count"] = rope.turned(config.head_width)
    if config.experts:
        fields |= {"expert_count": config.experts, "expert_used_count": config.active_experts}
    if family == "qwen3_moe":
        fields["expert_feed_forward_length"] = config.expert_neurons
    if family in WINDOW_SAID:
        fields["attention.sliding_window"] = max((w or 0 for w in config.windows), default=0)
    if family == "olmo3":
        pattern = [window is not None for window in config.windows]
        fields["attention.sliding_window_pattern"] = pattern
    if family == "phi3":
        fields["rope.scaling.original_context_length"] = config.context_length
    if family == "gpt_neox":
        fields["use_parallel_residual"] = config.parallel == "apart"
    if family == "gemma2":
        fields["attn_logit_softcapping"] = config.attention_cap
        fields["final_logit_softcapping"] = config.logit_cap
    if family == "bert":
        fields["attention.causal"] = False
        fields["pooling_type"] = 0
    if family == "granite":
        fields["embedding_scale"] = config.embedding_scale
        fields["residual_scale"] = config.residual_scale
        fields["attention.scale"] = config.attention_scale
        fields["logit_scale"] = 1 / config.logit_scale
    return fields | scaling(config)


def scaling(config: ModelConfig) -> Fields:
    """RoPE's, by key after the architecture."""
    rope = config.rope
    if rope is None:
        return {}
    if rope.yarn is not None:
        return {
            "rope.scaling.type": "yarn",
            "rope.scaling.factor": rope.yarn.factor,
            "rope.scaling.original_context_length": rope.yarn.original_context,
            "rope.scaling.yarn_beta_fast": rope.yarn.beta_fast,
            "rope.scaling.yarn_beta_slow": rope.yarn.beta_slow,
            "rope.scaling.yarn_attn_factor": rope.attention_factor,
            "rope.scaling.yarn_ext_factor": 1.0,
        }
    if rope.factors is not None:
        return {"rope.scaling.attn_factor": rope.attention_factor}
    if rope.linear_factor != 1:
        return {"rope.scaling.type": "linear", "rope.scaling.factor": rope.linear_factor}
    return {}


def stacked(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Tensors, those of a layer's experts as one."""
    found: dict[str, list[np.ndarray]] = {}
    for name, values in tensors.items():
        found.setdefault(re.sub(r"experts\.\d+\.", "experts.", name), []).append(values)
    return {name: np.stack(v) if ".experts." in name else v[0] for name, v in found.items()}


def add_fields(writer: gguf.GGUFWriter, fields: Fields) -> None:
    """Adds metadata, each as the type that its value has."""
    for key, value in fields.items():
        if isinstance(value, str):
            writer.add_string(key, value)
        elif isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, list):
            writer.add_array(key, value)
        else:
            writer.add_float32(key, value)


def write_gguf(
    path: Path,
    config: ModelConfig,
    tensors: dict[str, np.ndarray],
    kind: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F32,
    tensors_a_part: int = 0,
    without: str = "",
    kinds: Mapping[str, gguf.GGMLQuantizationType] | None = None,
    **fields: Any,
) -> dict[str, np.ndarray]:
    """Writes what llama.cpp's converter would write of Hugging Face tensors.

    Args:
        tensors_a_part: 0: in one file.
        without: a field to leave out.
        kinds: of the matrices of some layers, by their layer's name.
        fields: more of them, with __ for a dot.

    Returns:
        The tensors, Hugging Face names and layouts, with the values that the file holds.
    """
    arch = ARCHITECTURES.get(config.family, config.family)
    writer = gguf.GGUFWriter(path, arch, split_max_tensors=tensors_a_part)
    own = {f"{arch}.{key}": value for key, value in metadata(config).items()}
    own |= {"tokenizer.ggml.tokens": ["a", "b", "ü"]}
    own |= {key.replace("__", "."): value for key, value in fields.items()}
    own.pop(without, None)
    add_fields(writer, own)
    stored = {}
    for name, values in stacked(tensors).items():
        layer = ".".join(gguf_name(name, config).split(".")[:2])
        own_kind = (kinds or {}).get(layer, kind)
        own_kind = own_kind if values.ndim >= 2 else gguf.GGMLQuantizationType.F32
        raw = gguf.quantize(converted(name, values, config), own_kind)
        writer.add_tensor(gguf_name(name, config), raw, raw_dtype=own_kind)
        stored[name] = gguf.dequantize(gguf.quantize(values, own_kind), own_kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return stored
