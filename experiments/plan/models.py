"""Models without weights: a config, the shapes of the parameters, and what a device holds of them.

On a mesh of `data` × `model` devices the matrices are split along heads, neurons and vocabulary
among the devices of the axis `model` (Shoeybi et al. 2019, arXiv 1909.08053). What one of them
computes is then the same program for a config with so many times fewer of these.
"""

import dataclasses
import math
from importlib import resources
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import negjax
from negjax.model import meshes
from negjax.model.config import ModelConfig
from negjax.model.language_model import LanguageModel
from negjax.model.meshes import MeshShape
from negjax.storage import given_files
from negjax.weights import hub, loading
from negjax.weights.conversion import abstract_model
from negjax.weights.families import SHORT_NAMES, family_of
from negjax.weights.formats import gguf_files, sources


def shipped() -> dict[str, Path]:
    """Configs that come with this study, by name."""
    folder = Path(str(resources.files("experiments.plan").joinpath("configs")))
    return {file.stem: file for file in sorted(folder.glob("*.json"))}


def read_config(source: str, assumed: list[str]) -> ModelConfig:
    """The config that a source describes; weights and tokenizer are not read.

    Args:
        source: a directory with config.json or that file, a .gguf file, a name that negjax knows or
            a hub id, of which config.json alone is fetched.
        assumed: settings that change nothing, as the caller says.

    Raises:
        FileNotFoundError: there is no such model.
        ValueError: it is not a config, or of a model that negjax does not compute.
    """
    path = sources.on_disk(source)
    if path is None:
        path = _named(source)
    if path.is_dir():
        path = path / "config.json"
        given_files.check_file(str(path), "config", "the config of a model in that directory")
    if path.suffix == ".json":
        raw = given_files.read_json(path)
        return family_of(raw.get("model_type"), str(path)).config_from_hf(raw, str(path), assumed)
    return gguf_files.read_config(gguf_files.open_file(path), assumed)


def _named(name: str) -> Path:
    if name == loading.EMBEDDED:
        return loading.embedded_file()
    if name == loading.FACTS_BERT:
        return loading.facts_bert_directory()
    if name in shipped():
        return shipped()[name]
    if name in SHORT_NAMES or hub.is_hub_id(name):
        return hub.fetch(SHORT_NAMES.get(name, name), ("config.json",))
    known = sorted({loading.EMBEDDED, loading.FACTS_BERT, *shipped(), *SHORT_NAMES})
    raise FileNotFoundError(
        f"no directory, no config.json, no .gguf file, no hub id and none of {', '.join(known)}"
    )


def without_weights(name: str, config: ModelConfig, dtype: str, precision: str) -> LanguageModel:
    """A model of which programs can be traced and compiled, but not run."""
    graphdef, params = abstract_model(config, jnp.dtype(dtype))
    return LanguageModel(
        name=name,
        config=config,
        graphdef=graphdef,
        params=params,
        tokenizer=None,
        fingerprint="",
        precision=precision,
    )


def share_of(config: ModelConfig, mesh: MeshShape) -> ModelConfig:
    """What a device of the mesh axis `model` computes.

    Key/value heads that are fewer than the devices are held by several of them.

    Raises:
        ValueError: the axis divides heads or neurons unevenly.
    """
    meshes.check_divides(config, mesh)
    m = mesh.model
    return dataclasses.replace(
        config,
        heads=config.heads // m,
        kv_heads=config.kv_heads // math.gcd(config.kv_heads, m),
        neurons=config.neurons // m,
        vocab_size=-(-config.vocab_size // m),
    )


def bytes_of(tree: Any) -> int:
    """Bytes of arrays, or of their shapes."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def probes_of(
    config: ModelConfig, prompts: int, tokens: int, targets: int = 1, shared: int = 0
) -> negjax.Probes:
    """Prompts of that many tokens, of which the first `shared` are the same in all.

    What the tokens are changes no shape.
    """
    vocabulary = config.vocab_size
    ids = np.zeros((prompts, tokens), np.int32)
    ids[:, shared] = np.arange(prompts) % vocabulary
    answers = np.arange(targets, dtype=np.int32) % vocabulary
    return negjax.Probes(
        prompts=("",) * prompts,
        targets=(("",) * targets,) * prompts,
        tokens=ids,
        mask=np.ones(ids.shape, bool),
        read=np.full(prompts, tokens - 1),
        target_ids=np.broadcast_to(answers[:, None], (prompts, targets, 1)),
        target_mask=np.ones((prompts, targets, 1), bool),
        # A masked LM is read at its mask, which token 0 stands for.
        mask_id=None if config.causal else 0,
    )
