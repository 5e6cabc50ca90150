"""Greedy texts of transformers' own `generate`, neurons moved by forward hooks."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import negjax
from negjax.model.config import ModelConfig
from negjax.weights.saving import save_pretrained
from tests.support.block_shapes import CAUSAL_PROMPTS, GATED, GPT2, tiny_of

GEMMA2 = dataclasses.replace(
    GATED,
    family="gemma2",
    activation="gelu_tanh",
    norm_placement="sandwich",
    norm_offset=1.0,
    embedding_scale=4.0,
    tied=True,
    attention_cap=3.0,
    logit_cap=4.0,
    windows=(3, None, 3),
    attention_scale=0.5,
)
CASES: dict[str, tuple[ModelConfig, type[Any]]] = {
    "llama": (GATED, transformers.LlamaForCausalLM),
    "gpt2": (GPT2, transformers.GPT2LMHeadModel),
    "gemma2": (GEMMA2, transformers.Gemma2ForCausalLM),
}
NEURONS = np.asarray([[0, 3], [1, 8], [2, 11]])
SHIFT, COUNT = 1.5, 8


def linears(model: Any) -> list[Any]:
    """Of each layer the map that returns `up`, or reads `act`."""
    if isinstance(model, transformers.GPT2LMHeadModel):
        return [block.mlp.act for block in model.transformer.h]
    return [layer.mlp.up_proj for layer in model.model.layers]


@pytest.mark.parametrize("name", CASES)
def test_texts_are_those_of_hooks(name: str, tmp_path: Path) -> None:
    config, kind = CASES[name]
    lm = tiny_of(config)
    model = kind.from_pretrained(
        save_pretrained(lm, tmp_path), dtype=torch.float32, attn_implementation="eager"
    ).eval()
    sets = negjax.neuron_sets(lm.config, [(NEURONS, SHIFT)])
    texts = [lm.tokenizer(prompt)["input_ids"] for prompt in CAUSAL_PROMPTS]
    move = negjax.Intervention(sets, "additive")
    found = negjax.generate(lm, texts, move, max_tokens=COUNT)
    plain = negjax.generate(lm, texts, max_tokens=COUNT)
    for index, linear in zip(NEURONS[:, 1].tolist(), linears(model), strict=True):

        def add(_module: Any, _given: Any, out: torch.Tensor, index: int = index) -> torch.Tensor:
            out = out.clone()
            out[..., index] += SHIFT
            return out

        linear.register_forward_hook(add)
    for row, text in enumerate(texts):
        with torch.no_grad():
            theirs = model.generate(
                torch.tensor([text]),
                max_new_tokens=COUNT,
                do_sample=False,
                eos_token_id=None,
                pad_token_id=0,
                output_logits=True,
                return_dict_in_generate=True,
            )
        written = theirs.sequences[0, len(text) :].numpy()
        np.testing.assert_array_equal(found.tokens[row], written)
        logits = torch.stack(theirs.logits)[:, 0].log_softmax(-1).numpy()
        own = logits[np.arange(COUNT), written]
        np.testing.assert_allclose(found.log_probability[row], own, atol=2e-5)
    assert (found.tokens != plain.tokens).any()
