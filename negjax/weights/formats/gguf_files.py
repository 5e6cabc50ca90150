"""GGUF files: metadata as a Hugging Face config, tensors under Hugging Face names.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Names, block formats and their
decoding come from the `gguf` package; what its converter does to the weights is undone here.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf.gguf_writer import SHARD_NAME_FORMAT

from negjax.model.config import ModelConfig
from negjax.model.rope import Rope
from negjax.records import readable
from negjax.storage.file_parts import Allocate
from negjax.weights.families import family_of_gguf
from negjax.weights.families.common import GGUFForm
from negjax.weights.formats.gguf_blocks import DECODERS, Dequantised
from negjax.weights.formats.gguf_header import StoredTensor, read_header
from negjax.weights.formats.gguf_rope import DIVISORS, FACTORS, rope_scaling
from negjax.weights.tensors import Form, LazyTensor, stored_array


@readable
@dataclasses.dataclass(frozen=True)
class GGUFFile:
    """An opened file: metadata decoded, tensors not read."""

    path: Path
    metadata: dict[str, Any]
    tensors: dict[str, StoredTensor]

    def read(self, name: str) -> np.ndarray:
        """A tensor's values in float32.

        Raises:
            ValueError: the `gguf` package cannot decode its type.
        """
        return self.lazy(name).read()

    def lazy(self, name: str, part: int | None = None) -> LazyTensor:
        """A tensor's values in float32, as they are asked for.

        Args:
            part: only this one of those along its first axis.

        Of a type that devices decode, what is stored are the file's bytes.
        """
        tensor = self.tensors[name]
        tensor = tensor if part is None else tensor.numbered(part)
        step = Dequantised(tensor.kind, tensor.shape)
        if tensor.kind in DECODERS:
            stored = stored_array(tensor.where, np.dtype(np.uint8), tensor.rows)
            return dataclasses.replace(stored, shape=tensor.shape, steps=(step,))

        def on_host(allocate: Allocate) -> np.ndarray:
            try:
                return np.asarray(step(tensor.read(allocate)))
            except NotImplementedError as error:
                raise ValueError(
                    f"{self.path}: tensor {name!r} has type {tensor.kind.name}, which the gguf "
                    "package cannot decode; use a file of another type, such as Q8_0 or F16"
                ) from error

        return LazyTensor(tensor.shape, on_host, Form(tensor.shape, "float32"))


def open_file(path: Path) -> GGUFFile:
    """Opens a GGUF file and, where it is the first of several parts, the others beside it.

    Raises:
        FileNotFoundError: parts are missing.
        ValueError: it is truncated, no GGUF file, another part than the first, or the parts do not
            belong together.
    """
    metadata, tensors = read_header(path)
    for number, part in enumerate(_further_parts(path, metadata), 1):
        own, further = read_header(part)
        if own.get("split.no") != number or own.get("split.count") != metadata["split.count"]:
            raise ValueError(f"{part}: not the part that its name says; fetch the parts again")
        twice = sorted(tensors.keys() & further.keys())
        if twice:
            raise ValueError(f"{part}: tensor {twice[0]!r} is in another part, too")
        tensors |= further
    count = metadata.get("split.tensors.count", len(tensors))
    if count != len(tensors):
        raise ValueError(f"{path}: {len(tensors)} tensors, split.tensors.count is {count}")
    return GGUFFile(path, metadata, tensors)


def _further_parts(path: Path, metadata: Mapping[str, Any]) -> list[Path]:
    """Files of the parts after the first."""
    count = metadata.get("split.count", 1)
    if count in (0, 1):
        return []
    name = re.fullmatch(r"(.*)-00001-of-(\d{5})\.gguf", path.name)
    if metadata.get("split.no") != 0 or name is None or int(name[2]) != count:
        raise ValueError(
            f"{path}: one of {count} parts, and not the first; pass the file whose name ends with "
            f"-00001-of-{count:05}.gguf, with the others in the same folder"
        )
    numbers = range(2, count + 1)
    parts = [path.with_name(SHARD_NAME_FORMAT.format(name[1], n, count)) for n in numbers]
    missing = [part.name for part in parts if not part.is_file()]
    if missing:
        raise FileNotFoundError(
            f"{path}: {len(missing)} of the {count} parts of the file are missing: "
            f"{', '.join(missing)}"
        )
    return parts


def read_config(file: GGUFFile, assume_harmless: Sequence[str] = ()) -> ModelConfig:
    """The model a file describes.

    Args:
        assume_harmless: unknown keys of its metadata that change nothing, as the caller says.

    Raises:
        ValueError: the architecture or a setting is not one that negjax implements.
    """
    family, form = family_of_gguf(file.metadata, str(file.path))
    _check_head(file, form)
    config = family.config_from_hf(
        _hugging_face_config(file, form), str(file.path), assume_harmless
    )
    if config.rope is not None:
        config = dataclasses.replace(config, rope=_rope(file, form, config, config.rope))
    return config


def _check_head(file: GGUFFile, form: GGUFForm) -> None:
    if form.head and not any(name in file.tensors for name in form.head):
        raise ValueError(
            f"{file.path}: the GGUF file has no masked-LM head, without which negjax cannot read "
            f"the model's predictions (missing: {', '.join(form.head)}): llama.cpp's converter "
            "leaves it out; load the model's directory in Hugging Face layout instead"
        )


def _hugging_face_config(file: GGUFFile, form: GGUFForm) -> dict[str, Any]:
    """The config.json that a file's metadata means; unknown keys keep their names."""
    start = f"{form.architecture}."
    own = {
        name.removeprefix(start): value
        for name, value in file.metadata.items()
        if name.startswith(start)
    }
    config: dict[str, Any] = {"tie_word_embeddings": form.output not in file.tensors}
    for name, key in {"token_embd.weight": "vocab_size", **form.rows}.items():
        if name in file.tensors:
            config[key] = file.tensors[name].shape[0]
    meant = form.complete(own, str(file.path))
    factors = {key: file.read(n).tolist() for key, n in FACTORS.items() if n in file.tensors}
    context = own.get("context_length")
    scaling = rope_scaling(own, factors, context, str(file.path))
    if scaling is not None:
        config["rope_scaling"] = scaling
    window = None
    if "attention.sliding_window" not in form.keys:
        window = own.pop("attention.sliding_window", None)
    for key, value in own.items():
        if key == "rope.dimension_count" or (key == "expert_count" and value == 0):
            continue
        if key == "attention.value_length" and value == meant.get("head_dim"):
            continue
        config[form.keys.get(key, f"{start}{key}")] = value
    if window:
        config["max_position_embeddings"] = min(window if context is None else context, window)
    return config | meant


def read_tensors(file: GGUFFile, config: ModelConfig) -> dict[str, LazyTensor]:
    """A file's tensors under Hugging Face names and in Hugging Face layouts.

    Tensors that the family's table does not name keep their GGUF names.
    """
    family, form = family_of_gguf(file.metadata, str(file.path))
    architecture = next(a for a, name in gguf.MODEL_ARCH_NAMES.items() if name == form.architecture)
    names = gguf.get_tensor_name_map(architecture, config.layers)
    left = set(file.tensors) - {DIVISORS}
    if DIVISORS not in file.tensors and config.rope is not None and config.rope.factors is not None:
        left -= set(FACTORS.values())
    tensors: dict[str, LazyTensor] = {}
    used: set[str] = set()
    for rule in family.table(config).rules:
        for source, stacked, expert in rule.stacked_sources(config):
            own = stacked.removeprefix(form.prefix)
            name = names.get_name(own, try_suffixes=(".weight", ".bias"))
            free = name in left and (expert is not None or name not in used)
            if free and _holds(file, name, config, expert):
                tensors[source] = form.undo(file.lazy(name, expert), source, config)
                used.add(name)
    return tensors | {name: file.lazy(name) for name in sorted(left - used)}


def _holds(file: GGUFFile, name: str, config: ModelConfig, expert: int | None) -> bool:
    """Whether a tensor is one of all experts, where an expert's is asked for."""
    return expert is None or file.tensors[name].shape[:1] == (config.experts,)


def _rope(file: GGUFFile, form: GGUFForm, config: ModelConfig, rope: Rope) -> Rope:
    """RoPE with the divisors that a file gives as a tensor, after a check of what turns."""
    turned = rope.turned(config.head_width)
    key = f"{form.architecture}.rope.dimension_count"
    width = file.metadata.get(key, turned)
    if width != turned:
        raise ValueError(
            f"{file.path}: {key} is {width}, expected the head width, {turned}: negjax turns whole "
            "heads"
        )
    if DIVISORS not in file.tensors:
        return rope
    if rope.yarn is not None or rope.factors is not None or config.local_rope is not None:
        raise ValueError(f"{file.path}: {DIVISORS} beside another scaling of RoPE")
    factors = tuple(file.read(DIVISORS).tolist())
    if len(factors) != turned // 2:
        raise ValueError(
            f"{file.path}: {DIVISORS} has {len(factors)} factors, expected half the head width, "
            f"{turned // 2}"
        )
    return dataclasses.replace(rope, factors=factors)
