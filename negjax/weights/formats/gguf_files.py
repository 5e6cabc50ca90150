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

from negjax.model.config import ModelConfig
from negjax.records import readable
from negjax.weights.conversion import LazyTensor
from negjax.weights.families import FAMILIES
from negjax.weights.formats.gguf_header import StoredTensor, read_header

FORMS = {
    family.gguf.architecture: (family, family.gguf)
    for family in FAMILIES.values()
    if family.gguf is not None
}
"""Families of GGUF files that negjax reads, and their forms, by `general.architecture`."""

ROPE_FACTORS = "rope_freqs.weight"


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
            result: np.ndarray = gguf.dequantize(tensor.data, tensor.kind).reshape(tensor.shape)
            return result
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
    if arch not in FORMS:
        why = ": these files hold no masked-LM head" if arch == "bert" else ""
        raise ValueError(
            f"{file.path}: general.architecture is {arch!r}{why}; negjax reads GGUF files of "
            f"{', '.join(FORMS)}"
        )
    config = FORMS[arch][0].config_from_hf(
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
    keys = FORMS[arch][1].keys
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
    family, form = FORMS[file.metadata["general.architecture"]]
    architecture = next(a for a, name in gguf.MODEL_ARCH_NAMES.items() if name == form.architecture)
    names = gguf.get_tensor_name_map(architecture, config.layers)
    left = {name for name in file.tensors if name != ROPE_FACTORS}
    tensors = {}
    for rule in family.table(config).rules:
        for source in rule.sources(config.layers):
            name = names.get_name(source, try_suffixes=(".weight", ".bias"))
            if name in left:
                left.remove(name)
                tensors[source] = form.undo(_lazy(file, name), source, config)
    return tensors | {name: _lazy(file, name) for name in sorted(left)}


def _lazy(file: GGUFFile, name: str) -> LazyTensor:
    return LazyTensor(file.tensors[name].shape, lambda: file.read(name))


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
