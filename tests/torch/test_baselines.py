"""The PyTorch baselines agree with each other and with the float64 references."""

import pathlib
from typing import Any, cast

import gguf
import numpy as np
import pytest
import torch
import transformers

from experiments.bench.baselines import torch_best, torch_forward, torch_model, torch_serial
from negjax.weights import loading
from tests.support.shared_data import GOLDEN

LENGTHS = (9, 2, 12)
NAMES = {
    "token_embd": "embed_tokens",
    "output_norm": "norm",
    "blk": "layers",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
"""Parts of tensor names in a GGUF file of the Llama family, and in Hugging Face's."""


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def tiny(request: pytest.FixtureRequest) -> transformers.LlamaForCausalLM:
    """3 layers of width 48 with random weights, all gains away from one, through arrays."""
    config = {
        "vocab_size": 5000,
        "hidden_size": 48,
        "intermediate_size": 80,
        "num_hidden_layers": 3,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "rope_theta": 500.0,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": request.param,
    }
    torch.manual_seed(0)
    random = transformers.LlamaForCausalLM(transformers.LlamaConfig.from_dict(config))
    tensors = {}
    for name, weight in random.state_dict().items():
        scale = 1 + 0.3 * torch.randn(weight.shape) if "norm" in name else 8.0
        tensors[name] = (weight * scale).numpy()
    if request.param:
        del tensors["lm_head.weight"]
    return torch_model.llama_from_tensors(config, tensors)


@pytest.fixture(scope="module")
def batch() -> dict[str, np.ndarray]:
    """Three prompts of different lengths, the first and last with 8 tokens in common."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(5000, size=(3, max(LENGTHS)))
    tokens[2, :8] = tokens[0, :8]
    mask = np.arange(max(LENGTHS)) < np.array(LENGTHS)[:, None]
    return {"tokens": tokens, "mask": mask.astype(int), "targets": rng.integers(5000, size=(3, 4))}


def embedded_llama(path: pathlib.Path) -> transformers.LlamaForCausalLM:
    """The Llama of a GGUF file, dequantised, read independently of negjax."""
    reader = gguf.GGUFReader(path)
    field = {name.removeprefix("llama."): f.contents() for name, f in reader.fields.items()}
    config = {
        "vocab_size": field["vocab_size"],
        "hidden_size": field["embedding_length"],
        "intermediate_size": field["feed_forward_length"],
        "num_hidden_layers": field["block_count"],
        "num_attention_heads": field["attention.head_count"],
        "num_key_value_heads": field["attention.head_count_kv"],
        "rope_theta": field["rope.freq_base"],
        "rms_norm_eps": field["attention.layer_norm_rms_epsilon"],
        "tie_word_embeddings": True,
    }
    tensors = {}
    for tensor in reader.tensors:
        array = gguf.dequantize(tensor.data, tensor.tensor_type)
        if ".attn_q." in tensor.name or ".attn_k." in tensor.name:
            # A GGUF file interleaves the two halves that rotary embeddings pair.
            halves = array.reshape(-1, field["rope.dimension_count"] // 2, 2, array.shape[1])
            array = halves.swapaxes(1, 2).reshape(array.shape)
        parts = (NAMES.get(part, part) for part in tensor.name.split("."))
        tensors["model." + ".".join(parts)] = array
    return torch_model.llama_from_tensors(config, tensors)


def padded_left(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    rolled = {
        name: np.stack([np.roll(a, -n) for a, n in zip(batch[name], LENGTHS, strict=True)])
        for name in ("tokens", "mask")
    }
    return batch | rolled


def test_llama_takes_the_given_rope_base_and_default_attention(
    tiny: transformers.LlamaForCausalLM,
) -> None:
    frequencies = tiny.model.rotary_emb.inv_freq
    assert frequencies[1].item() == pytest.approx(500.0 ** (-1 / 8))
    assert tiny.config._attn_implementation == "sdpa"
    assert not any(p.requires_grad for p in tiny.parameters())


@pytest.mark.parametrize("convention", ["signed", "additive"])
@pytest.mark.parametrize("site", ["up", "product"])
def test_sweeps_agree(
    tiny: transformers.LlamaForCausalLM,
    batch: dict[str, np.ndarray],
    site: torch_model.Site,
    convention: torch_model.Convention,
) -> None:
    # Unsorted, repeated, in the first and the last layer; chunks that split neurons.
    neurons = np.array([[2, 5], [0, 3], [1, 79], [0, 3]])
    arguments = (batch["tokens"][2], 7, neurons, np.array([-3.0, 0.0, 9.0]))
    serial = torch_serial.serial_sweep(tiny, *arguments, convention=convention, site=site)
    weights = torch_forward.pack(tiny)
    for chunk in (2, 512):
        best = torch_best.best_sweep(
            weights, *arguments, convention=convention, site=site, chunk=chunk
        )
        np.testing.assert_allclose(best, serial, rtol=1e-4, atol=1e-5)
        change = np.abs(serial - serial[:, 1:2]).max(1)
        assert (change > 0).all()
        np.testing.assert_allclose(
            best - best[:, 1:2], serial - serial[:, 1:2], rtol=1e-3, atol=2e-2 * change.min()
        )


@pytest.mark.parametrize("site", ["up", "product"])
def test_gradients_agree(
    tiny: transformers.LlamaForCausalLM, batch: dict[str, np.ndarray], site: torch_model.Site
) -> None:
    expected, p_expected = torch_serial.serial_neurgrad(tiny, **batch, site=site)
    assert expected.shape == (3, 4, 3, 80)
    scale = np.abs(expected).max(-1, keepdims=True)
    assert (scale > 0).all()
    weights = torch_forward.pack(tiny)
    for sided in (batch, padded_left(batch)):
        for function, model in (
            (torch_serial.serial_neurgrad, tiny),
            (torch_best.best_neurgrad, weights),
        ):
            computed, probability = function(model, **sided, site=site)
            np.testing.assert_allclose(probability, p_expected, rtol=1e-4)
            np.testing.assert_allclose(computed / scale, expected / scale, atol=2e-4)


def test_gradient_with_a_shared_head_is_the_same(
    tiny: transformers.LlamaForCausalLM, batch: dict[str, np.ndarray]
) -> None:
    two = {name: array[[0, 2]] for name, array in batch.items()}
    weights = torch_forward.pack(tiny)
    expected, p_expected = torch_best.best_neurgrad(weights, **two)
    computed, probability = torch_best.best_neurgrad(weights, **two, head=8)
    scale = np.abs(expected).max(-1, keepdims=True)
    np.testing.assert_allclose(probability, p_expected, rtol=1e-4)
    np.testing.assert_allclose(computed / scale, expected / scale, atol=2e-4)


def test_gradient_is_the_slope_of_the_sweep(
    tiny: transformers.LlamaForCausalLM, batch: dict[str, np.ndarray]
) -> None:
    model = torch_model.llama_from_tensors(
        tiny.config.to_dict(),
        {name: weight.numpy() for name, weight in tiny.state_dict().items()},
        torch.float64,
    )
    one = {name: array[2:] for name, array in batch.items()}
    computed, _ = torch_serial.serial_neurgrad(model, **one, site="product")
    target, neurons = int(one["targets"][0, 0]), np.array([[0, 3], [2, 7]])
    p = torch_serial.serial_sweep(
        model, one["tokens"][0], target, neurons, np.array([-0.02, 0.02]), "additive", "product"
    )
    slope = (p[:, 1] - p[:, 0]) / 0.04
    np.testing.assert_allclose(slope, computed[0, 0, neurons[:, 0], neurons[:, 1]], rtol=1e-3)


def test_errors_name_the_value(
    tiny: transformers.LlamaForCausalLM, batch: dict[str, np.ndarray]
) -> None:
    with pytest.raises(ValueError, match="do not fit the config"):
        torch_model.llama_from_tensors(
            tiny.config.to_dict(), {"model.embed_tokens.weight": np.zeros((5000, 48))}
        )
    with pytest.raises(ValueError, match="site is 'act'"):
        torch_serial.serial_neurgrad(tiny, **batch, site=cast(Any, "act"))
    with pytest.raises(ValueError, match="head is 2; expected less than the shortest prompt, 2"):
        torch_best.best_neurgrad(torch_forward.pack(tiny), **batch, head=2)


def test_matmul_rate_counts_two_operations_a_term() -> None:
    assert 1e7 < torch_best.matmul_rate(64, 64, 64, repeats=3) < 1e13


@pytest.mark.shared
def test_references() -> None:
    """One prompt of the embedded model against float64: two sweeps of few neurons, gradients."""
    model = embedded_llama(loading.embedded_file())
    weights = torch_forward.pack(model)
    with np.load(GOLDEN / "smollm2_neg.npz") as file:
        golden = {name: file[name] for name in file.files if name != "prompt"}
    n = golden["length"][1]
    tokens, target = golden["token_ids"][1, :n], int(golden["target"][1])
    neurons = np.stack([golden["sweep_layer"][1], golden["sweep_neuron"][1]], 1)
    few = slice(0, 20, 9)
    for site in ("up", "product"):
        expected = golden[f"sweep_p_{site}"][1]
        best = torch_best.best_sweep(
            weights, tokens, target, neurons, golden["sweep_delta"], "additive", site
        )
        np.testing.assert_allclose(best, expected, atol=1e-5)
        serial = torch_serial.serial_sweep(
            model, tokens, target, neurons[:2], golden["sweep_delta"][few], "additive", site
        )
        np.testing.assert_allclose(serial, expected[:2, few], atol=1e-5)
        batch = {"tokens": tokens[None], "mask": np.ones((1, n)), "targets": [[target]]}
        gradient = golden[f"grad_{site}"][1]
        for computed, probability in (
            torch_serial.serial_neurgrad(model, **batch, site=site),
            torch_best.best_neurgrad(weights, **batch, site=site),
        ):
            np.testing.assert_allclose(probability[0, 0], golden["p_target"][1], rtol=1e-4)
            np.testing.assert_allclose(
                computed[0, 0], gradient, rtol=1e-3, atol=1e-4 * np.abs(gradient).max()
            )


def test_attention_on_any_device() -> None:
    """What `best` computes where the CPU's kernel is missing, against that kernel."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((3, 2, 7, 8), (3, 2, 11, 8), (3, 2, 11, 8))
    query, keys, values = (torch.randn(shape, generator=generator) for shape in shapes)
    for found, expected in zip(
        torch_best.attend_plainly(query, keys, values),
        torch_best._attend(query, keys, values),
        strict=True,
    ):
        assert found.shape == expected.shape
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
