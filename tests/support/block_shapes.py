"""Tiny language models of the three block shapes: gated with grouped queries, GPT-2's, BERT's."""

import contextlib
import dataclasses
import functools
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers

from negjax.inputs.encoding import encode
from negjax.inputs.probes import Probes, TargetMode
from negjax.model.config import ModelConfig
from negjax.model.language_model import LanguageModel
from negjax.process.quiet import transformers
from negjax.weights.conversion import abstract_model
from negjax.weights.loading import fingerprint
from tests.support.tiny_models import LLAMA, random_parameters

VOCABULARY = ["[UNK]", "[MASK]", *(f"w{number}" for number in range(2, 24))]
# Factor on weights of unit variance: activations of order 1, no probability near 0 or 1.
WEIGHT_SCALE = 0.4

GATED = dataclasses.replace(LLAMA, layers=3, width=16, neurons=20, context_length=32)
GPT2 = dataclasses.replace(
    GATED,
    family="gpt2",
    kv_heads=4,
    activation="gelu_tanh",
    gated=False,
    norm="layer",
    rope=None,
    qkv_bias=True,
    out_bias=True,
    ffn_bias=True,
    tied=True,
)
BERT = dataclasses.replace(
    GPT2,
    family="bert",
    activation="gelu",
    norm_placement="post",
    causal=False,
    token_types=2,
    embedding_norm=True,
    final_norm=False,
    mlm_head=True,
    output_bias=True,
)
SHAPES = {"gated": GATED, "gpt2": GPT2, "bert": BERT}
EXPERTS = dataclasses.replace(GATED, experts=4, active_experts=2)

CAUSAL_PROMPTS = ("w3 w5 w7 w9 w4", "w6 w3 w8 w8 w2 w21", "w10 w3 w2 w12 w13 w9 w9 w20")
MASKED_PROMPTS = ("w3 w5 [MASK] w9 w4", "[MASK] w3 w8 w8 w2 w21", "w10 w3 w2 w12 w13 w9 w9 [MASK]")
TARGETS = (("w11", "w15"), ("w16", "w17"), ("w3", "w18"))
JOINT_TARGETS = (("w11 w3", "w15"), ("w16 w17 w5", "w2 w6"), ("w4", "w18 w7 w18"))


def precision(dtype: str) -> contextlib.AbstractContextManager[None]:
    """Where float64 models must be built and run; nothing for others."""
    return jax.enable_x64(True) if dtype == "float64" else contextlib.nullcontext()


def words_tokenizer() -> transformers.PreTrainedTokenizerFast:
    """A token a word of `VOCABULARY`; other words are unknown."""
    words = models.WordLevel({word: index for index, word in enumerate(VOCABULARY)}, "[UNK]")
    tokenizer = Tokenizer(words)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", mask_token="[MASK]"
    )


@functools.cache
def tiny(shape: str, dtype: str = "float32", **changes: str | int) -> LanguageModel:
    """A random model; in float64, with the weights of its float32 twin."""
    config = EXPERTS if shape == "experts" else SHAPES[shape]
    return tiny_of(dataclasses.replace(config, **cast(Any, changes)), dtype, shape)


@functools.cache
def tiny_of(config: ModelConfig, dtype: str = "float32", name: str = "tiny") -> LanguageModel:
    """A random model of a config, as `tiny`."""
    with precision(dtype):
        params = jax.tree.map(
            lambda leaf: jnp.asarray(leaf * WEIGHT_SCALE, dtype), random_parameters(config)
        )
        return LanguageModel(
            name=name,
            config=config,
            graphdef=abstract_model(config, jnp.dtype(dtype))[0],
            params=params,
            tokenizer=words_tokenizer(),
            fingerprint=fingerprint(params),
        )


def tiny_probes(
    lm: LanguageModel,
    targets: tuple[tuple[str, ...], ...] = TARGETS,
    target_mode: TargetMode = "single",
) -> Probes:
    """Three prompts of 5, 6 and 8 tokens."""
    prompts = CAUSAL_PROMPTS if lm.config.causal else MASKED_PROMPTS
    return encode(lm, prompts, targets, target_mode=target_mode)


def one_neuron_a_layer(lm: LanguageModel) -> np.ndarray:
    """[L, 2]."""
    return np.asarray([(layer, (5 * layer + 2) % 20) for layer in range(lm.config.layers)])


def error(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference, in units of the largest expected value."""
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / np.abs(expected).max())
