"""GGUF files: metadata as a Hugging Face config, tensors under Hugging Face names.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Names, block formats and their
decoding come from the `gguf` package; what its converter does to the weights is undone here.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from einops import rearrange

from negjax.model.config import ModelConfig
from negjax.records import readable
from negjax.weights.conversion import LazyTensor
from negjax.weights.families import family_of
from negjax.weights.formats.gguf_header import StoredTensor, read_header

ARCHITECTURES = {
    "llama": gguf.MODEL_ARCH.LLAMA,
    "qwen2": gguf.MODEL_ARCH.QWEN2,
    "qwen3": gguf.MODEL_ARCH.QWEN3,
    "gpt2": gguf.MODEL_ARCH.GPT2,
}
"""Architectures of GGUF files that negjax reads; each has the name of its family. Mistral and
SmolLM2 files call themselves `llama`."""

ROPE_FACTORS = "rope_freqs.weight"

# After `{arch}.`: the key of config.json that means the same, by family.
LLAMA_KEYS = {
    "block_count": "num_hidden_layers",
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "rope.freq_base": "rope_theta",
    "vocab_size": "vocab_size",
}
GPT2_KEYS = {
    "block_count": "n_layer",
    "context_length": "n_positions",
    "embedding_length": "n_embd",
    "feed_forward_length": "n_inner",
    "attention.head_count": "n_head",
    "attention.layer_norm_epsilon": "layer_norm_epsilon",
    "vocab_size": "vocab_size",
}


@readable
@dataclasses.dataclass(frozen=True)
class GGUFFile:
    """An opened file: metadata decoded, tensors mapped but not read."""

    path: Path
    metadata: dict[str, Any]
    tensors: dict[str, StoredTensor]

    def read(self, name: str) -> np.ndarray:
        """A tensor's values in float32.

        Raises:
            ValueError: the `gguf` package cannot decode its type.
        """
        tensor = self.tensors[name]
        try:
            return gguf.dequantize(tensor.data, tensor.kind).reshape(tensor.shape)
        except NotImplementedError as error:
            raise ValueError(
                f"{self.path}: tensor {name!r} has type {tensor.kind.name}, which the gguf "
                "package cannot decode; use a file of another type, such as Q8_0 or F16"
            ) from error


def open_file(path: Path) -> GGUFFile:
    """Opens a GGUF file.

    Raises:
        ValueError: it is truncated, no GGUF file, or one part of several.
    """
    metadata, tensors = read_header(path)
    parts = metadata.get("split.count", 1)
    if parts > 1:
        raise ValueError(f"{path}: one of {parts} parts; merge them with llama-gguf-split first")
    return GGUFFile(path, metadata, tensors)


def read_config(file: GGUFFile, assume_harmless: Sequence[str] = ()) -> ModelConfig:
    """The model a file describes.

    Args:
        assume_harmless: unknown keys of its metadata that change nothing, as the caller says.

    Raises:
        ValueError: the architecture or a setting is not one that negjax implements.
    """
    arch = file.metadata.get("general.architecture")
    if arch not in ARCHITECTURES:
        why = ": these files hold no masked-LM head" if arch == "bert" else ""
        raise ValueError(
            f"{file.path}: general.architecture is {arch!r}{why}; negjax reads GGUF files of "
            f"{', '.join(ARCHITECTURES)}"
        )
    config = family_of(arch, str(file.path)).config_from_hf(
        hugging_face_config(file, arch), str(file.path), assume_harmless
    )
    if config.rope is not None:
        _check_rope_width(file, arch, config)
    if ROPE_FACTORS in file.tensors and config.rope is not None:
        factors = tuple(file.read(ROPE_FACTORS).tolist())
        if len(factors) != config.head_width // 2:
            raise ValueError(
                f"{file.path}: {ROPE_FACTORS} has {len(factors)} factors, expected half the head "
                f"width, {config.head_width // 2}"
            )
        rope = dataclasses.replace(config.rope, factors=factors)
        config = dataclasses.replace(config, rope=rope)
    return config


def hugging_face_config(file: GGUFFile, arch: str) -> dict[str, Any]:
    """The config.json that a file's metadata means; unknown keys keep their names."""
    keys = GPT2_KEYS if arch == "gpt2" else LLAMA_KEYS
    config: dict[str, Any] = {"tie_word_embeddings": "output.weight" not in file.tensors}
    own = {
        name.removeprefix(f"{arch}."): value
        for name, value in file.metadata.items()
        if name.startswith(f"{arch}.")
    }
    scaling = {key: own.pop(key) for key in list(own) if key.startswith("rope.scal")}
    window = own.pop("attention.sliding_window", None)
    for key, value in own.items():
        if key == "rope.dimension_count" or (key == "expert_count" and value == 0):
            continue
        if key == "attention.value_length" and value == own.get("attention.key_length"):
            continue
        config[keys.get(key, f"{arch}.{key}")] = value
    if "vocab_size" not in config and "token_embd.weight" in file.tensors:
        config["vocab_size"] = file.tensors["token_embd.weight"].shape[0]
    config |= _rope_scaling(scaling, arch, str(file.path))
    if window:
        length = config.get("max_position_embeddings", window)
        config["max_position_embeddings"] = min(length, window)
    return config


def read_tensors(file: GGUFFile, config: ModelConfig) -> dict[str, LazyTensor]:
    """A file's tensors under Hugging Face names and in Hugging Face layouts.

    Tensors that the family's table does not name keep their GGUF names.
    """
    names = gguf.get_tensor_name_map(ARCHITECTURES[config.family], config.layers)
    left = {name for name in file.tensors if name != ROPE_FACTORS}
    tensors = {}
    for rule in family_of(config.family, str(file.path)).table(config).rules:
        for source in rule.sources(config.layers):
            name = names.get_name(source, try_suffixes=(".weight", ".bias"))
            if name in left:
                left.remove(name)
                tensors[source] = _in_hugging_face_layout(file, name, source, config)
    return tensors | {name: _lazy(file, name) for name in sorted(left)}


def _lazy(file: GGUFFile, name: str) -> LazyTensor:
    return LazyTensor(file.tensors[name].shape, lambda: file.read(name))


def _in_hugging_face_layout(
    file: GGUFFile, name: str, source: str, config: ModelConfig
) -> LazyTensor:
    tensor = _lazy(file, name)
    if config.family == "gpt2" and len(tensor.shape) == 2 and ".h." in source:
        # Hugging Face stores GPT-2's linear weights [in, out], the converter writes [out, in].
        return LazyTensor(tensor.shape[::-1], lambda: tensor.read().T)
    heads = {"q_proj": config.heads, "k_proj": config.kv_heads}.get(source.split(".")[-2])
    if config.family == "llama" and heads is not None:
        # The halves of a head, which RoPE turns against each other, are interleaved there: its
        # RoPE for `llama` turns neighbours.
        pattern = "(h i half) ... -> (h half i) ..."
        return LazyTensor(tensor.shape, lambda: rearrange(tensor.read(), pattern, h=heads, half=2))
    return tensor


def _rope_scaling(scaling: Mapping[str, Any], arch: str, origin: str) -> dict[str, Any]:
    """What metadata of RoPE's scaling mean; unknown keys keep their names."""
    kind = scaling.get("rope.scaling.type", "none")
    if kind not in ("none", "linear"):
        raise ValueError(f"{origin}: rope.scaling.type is {kind!r}; expected none or linear")
    factor = scaling.get("rope.scaling.factor", scaling.get("rope.scale_linear", 1.0))
    known = {
        "rope.scaling.type",
        "rope.scaling.factor",
        "rope.scale_linear",
        "rope.scaling.original_context_length",
        "rope.scaling.finetuned",
    }
    unknown = {f"{arch}.{key}": value for key, value in scaling.items() if key not in known}
    if factor in (0.0, 1.0) or (kind == "none" and "rope.scale_linear" not in scaling):
        return unknown
    return {"rope_scaling": {"rope_type": "linear", "factor": factor}, **unknown}


def _check_rope_width(file: GGUFFile, arch: str, config: ModelConfig) -> None:
    key = f"{arch}.rope.dimension_count"
    width = file.metadata.get(key, config.head_width)
    if width != config.head_width:
        raise ValueError(
            f"{file.path}: {key} is {width}, expected the head width, {config.head_width}: negjax "
            "turns whole heads"
        )
