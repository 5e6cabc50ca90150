"""Tiny random models of every family, built offline."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from tokenizers import Tokenizer, models, pre_tokenizers

from negjax.model.config import ModelConfig
from negjax.model.language_model import LanguageModel
from negjax.model.rope import Rope
from negjax.process.quiet import transformers
from negjax.storage.file_parts import Allocate
from negjax.weights.conversion import abstract_model, to_parameters, to_tensors
from negjax.weights.families import FAMILIES
from negjax.weights.loading import fingerprint
from negjax.weights.tensors import Form, LazyTensor, Tensors

WORDS = [f"w{index}" for index in range(24)]

LLAMA = ModelConfig(
    family="llama",
    vocab_size=len(WORDS),
    layers=2,
    width=8,
    neurons=12,
    heads=4,
    kv_heads=2,
    head_width=4,
    context_length=16,
    activation="silu",
    gated=True,
    norm="rms",
    norm_eps=1e-5,
    norm_placement="pre",
    causal=True,
    rope=Rope(theta=10000.0),
    qkv_bias=False,
    out_bias=False,
    ffn_bias=False,
    qk_norm="none",
    tied=False,
)


def random_parameters(config: ModelConfig, dtype: str = "float32", seed: int = 0) -> nnx.State:
    """Parameters drawn from a normal distribution, biases and norm scales too."""
    generator = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: jnp.asarray(generator.normal(size=leaf.shape), leaf.dtype),
        abstract_model(config, jnp.dtype(dtype))[1],
    )


def tokenizer() -> transformers.PreTrainedTokenizerFast:
    """A token a word: "w0" to "w23"."""
    words = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, "w0"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=words, unk_token="w0")


def language_model(config: ModelConfig, dtype: str = "float32") -> LanguageModel:
    params = random_parameters(config, dtype)
    return LanguageModel(
        name="tiny",
        config=config,
        graphdef=abstract_model(config, jnp.dtype(dtype))[0],
        params=params,
        tokenizer=tokenizer(),
        fingerprint=fingerprint(params),
    )


def as_source(tensors: dict[str, np.ndarray]) -> Tensors:
    """Arrays as a file would give them."""
    return {
        name: LazyTensor(
            array.shape, functools.partial(_stored, array), Form(array.shape, array.dtype.name)
        )
        for name, array in tensors.items()
    }


def _stored(array: np.ndarray, allocate: Allocate) -> np.ndarray:
    return np.asarray(array)


def tensors_of(config: ModelConfig, seed: int = 0) -> dict[str, np.ndarray]:
    """Random weights under Hugging Face names."""
    table = FAMILIES[config.family].table(config)
    return to_tensors(random_parameters(config, seed=seed), table, config)


def convert(tensors: Tensors, config: ModelConfig, origin: str = "memory") -> nnx.State:
    """Parameters in float32 of tensors under Hugging Face names."""
    return to_parameters(
        tensors, FAMILIES[config.family].table(config), config, jnp.dtype("float32"), origin=origin
    )


def leaves(params: nnx.State) -> dict[str, np.ndarray]:
    """Parameters by dotted path."""
    return {
        ".".join(map(str, key)): np.asarray(leaf.get_value())
        for key, leaf in nnx.to_flat_state(params)
    }


def assert_equal(left: nnx.State, right: nnx.State) -> None:
    """The same parameters, to the bit."""
    ours, theirs = leaves(left), leaves(right)
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        assert array.dtype == theirs[name].dtype, name
        np.testing.assert_array_equal(array, theirs[name], err_msg=name)


def truncate(path: Path, size: int) -> None:
    """Keeps the first bytes of a file; a negative size counts from its end."""
    path.write_bytes(path.read_bytes()[:size])
