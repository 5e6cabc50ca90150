"""Tokens that every neuron writes for and against, beside those of chosen neurons at a prompt."""

import numpy as np
import pytest

import negjax
from negjax.inputs.encoding import encode
from negjax.measurements.written_vocabulary import direct_logits, written_tokens
from tests.support.block_shapes import tiny, tiny_probes


@pytest.mark.parametrize("shape", ["gated", "gpt2"])
def test_at_one_prompt_tokens_are_those_of_its_strongest_neurons(shape: str) -> None:
    lm = tiny(shape)
    probes = tiny_probes(lm).select([0])
    site = "product" if lm.config.gated else "act"
    gradients = negjax.neurgrad(lm, probes, site)
    top = negjax.top_neurons(gradients, 60, lm, probes, target=0, tokens=4)
    direct = direct_logits(lm, probes)
    assert direct.shape == (lm.config.width, lm.config.vocab_size)
    found = written_tokens(lm, direct, [0, 1, 2], 4)
    assert top.promoted is not None and top.demoted is not None
    for (layer, index), up, down in zip(
        top.neurons[0].tolist(), top.promoted[0], top.demoted[0], strict=True
    ):
        for way, texts in enumerate((up, down)):
            own = found[layer, way, index].tolist()
            assert [lm.tokenizer.decode([token]) for token in own] == list(texts)


def test_the_derivative_is_the_mean_over_prompts() -> None:
    lm = tiny("gated")
    probes = tiny_probes(lm)
    each = [direct_logits(lm, probes.select([number])) for number in range(len(probes))]
    np.testing.assert_allclose(direct_logits(lm, probes), np.mean(each, axis=0), atol=1e-5)
    assert np.abs(each[0] - each[1]).max() > 1e-2


def test_layers_stand_in_the_order_asked_for() -> None:
    lm = tiny("gated")
    direct = direct_logits(lm, encode(lm, ["w3 w4"], ["w5"]))
    every = written_tokens(lm, direct, [0, 1, 2], 2)
    assert (written_tokens(lm, direct, [2, 0], 2) == every[[2, 0]]).all()
    with pytest.raises(ValueError, match="count"):
        written_tokens(lm, direct, [0], lm.config.vocab_size + 1)
