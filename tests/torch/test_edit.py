"""Edited models, exported, in transformers itself."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers

from negjax.control import edit
from negjax.inputs.encoding import encode
from negjax.weights.saving import save_pretrained
from tests.support.block_shapes import SHAPES, tiny_probes
from tests.support.reference import reference_logits
from tests.support.sharp_models import sharp

CLASSES = {
    "gated": transformers.LlamaForCausalLM,
    "gpt2": transformers.GPT2LMHeadModel,
    "bert": transformers.BertForMaskedLM,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_edited_exports_give_the_same_logits(shape: str, tmp_path: Path) -> None:
    lm = sharp(shape)
    probes = tiny_probes(lm)
    facts = encode(lm, probes.prompts, [row[0] for row in probes.targets])
    edited = edit(lm, facts, 0.1, turns=1).lm
    model, found = CLASSES[shape].from_pretrained(
        save_pretrained(edited, tmp_path),
        dtype=torch.float32,
        attn_implementation="eager",
        output_loading_info=True,
    )
    assert not found["missing_keys"]
    assert not found["unexpected_keys"]
    model.eval()
    for b in range(len(probes)):
        tokens = probes.tokens[b, probes.mask[b]][None]
        with torch.no_grad():
            theirs = model(input_ids=torch.tensor(tokens)).logits.numpy()
        mask = jnp.ones(tokens.shape, bool)
        ours, before = (
            np.asarray(reference_logits(m.graphdef, m.params, jnp.asarray(tokens), mask))
            for m in (edited, lm)
        )
        scale = np.abs(theirs).max()
        assert np.abs(ours - theirs).max() < 1e-5 * scale
        assert np.abs(before - theirs).max() > 1e-2 * scale
