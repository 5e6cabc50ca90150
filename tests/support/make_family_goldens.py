"""Writes `tests/golden/families`: tiny random models and the logits PyTorch computes from them.

    python -m tests.support.make_family_goldens

It needs PyTorch and transformers, which negjax and its tests do not: run it to add a case; it
writes those that are not there. The weights are stored in float16, and PyTorch computes in float64
from exactly those values.
"""

import copy
import unittest.mock

import numpy as np
import torch
import transformers

from tests.support.places import STORED

FOLDER = STORED / "families"
VOCABULARY, WIDTH, LAYERS, NEURONS, HEADS = 64, 32, 2, 48, 4
TOKENS = 24

LLAMA_SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "intermediate_size": NEURONS,
    "num_attention_heads": HEADS,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 100.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}

LLAMA_YARN = {
    "rope_type": "yarn",
    "rope_theta": 100.0,
    "factor": 4.0,
    "original_max_position_embeddings": 16,
}
# A window shorter than the texts, in the first layer and not in the second.
WINDOW, TYPES = 6, ["sliding_attention", "full_attention"]

EXPERT_SIZES = LLAMA_SIZES | {"intermediate_size": 16, "num_experts_per_tok": 2}

BERT_SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": NEURONS,
    "max_position_embeddings": 32,
}
HEADS_OF_16 = {"num_attention_heads": 2, "bos_token_id": 0, "eos_token_id": 0}
ROBERTA_SIZES = BERT_SIZES | {"max_position_embeddings": 34, "type_vocab_size": 1}
MODERNBERT_SIZES = (
    BERT_SIZES | dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"), 0)
) | {"num_hidden_layers": 3, "local_attention": 6, "cls_token_id": 0, "sep_token_id": 0}
OPT_SIZES = {key: BERT_SIZES[key] for key in BERT_SIZES if key != "intermediate_size"} | {
    "ffn_dim": NEURONS
}

CASES = {
    "llama2_mha": transformers.LlamaConfig(**LLAMA_SIZES, num_key_value_heads=HEADS),
    "llama3_gqa": transformers.LlamaConfig(
        **LLAMA_SIZES, num_key_value_heads=2, rope_parameters=LLAMA3_ROPE
    ),
    "llama_mqa": transformers.LlamaConfig(
        **LLAMA_SIZES, num_key_value_heads=1, attention_bias=True, mlp_bias=True
    ),
    "llama_linear_rope": transformers.LlamaConfig(
        **LLAMA_SIZES,
        num_key_value_heads=2,
        rope_parameters={"rope_type": "linear", "rope_theta": 1000.0, "factor": 2.0},
    ),
    "smollm2": transformers.LlamaConfig(
        **LLAMA_SIZES,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 100000.0},
    ),
    "mistral": transformers.MistralConfig(**LLAMA_SIZES, num_key_value_heads=2, sliding_window=32),
    "qwen2": transformers.Qwen2Config(
        **LLAMA_SIZES, num_key_value_heads=2, tie_word_embeddings=True
    ),
    "qwen3": transformers.Qwen3Config(
        **LLAMA_SIZES, num_key_value_heads=2, head_dim=16, tie_word_embeddings=True
    ),
    "mistral_window": transformers.MistralConfig(
        **LLAMA_SIZES, num_key_value_heads=2, sliding_window=WINDOW
    ),
    "qwen2_windows": transformers.Qwen2Config(
        **LLAMA_SIZES,
        num_key_value_heads=2,
        use_sliding_window=True,
        sliding_window=WINDOW,
        max_window_layers=1,
    ),
    "llama_yarn": transformers.LlamaConfig(
        **LLAMA_SIZES,
        num_key_value_heads=2,
        rope_parameters=LLAMA_YARN,
    ),
    "llama_dynamic": transformers.LlamaConfig(
        **LLAMA_SIZES,
        num_key_value_heads=2,
        rope_parameters={"rope_type": "dynamic", "rope_theta": 100.0, "factor": 4.0},
    ),
    "gemma": transformers.GemmaConfig(**LLAMA_SIZES, num_key_value_heads=1, head_dim=16),
    "gemma2": transformers.Gemma2Config(
        **LLAMA_SIZES,
        num_key_value_heads=2,
        head_dim=16,
        query_pre_attn_scalar=24,
        sliding_window=WINDOW,
        attn_logit_softcapping=2.0,
        final_logit_softcapping=3.0,
    ),
    "gemma3": transformers.Gemma3TextConfig(
        **LLAMA_SIZES,
        num_key_value_heads=2,
        head_dim=16,
        query_pre_attn_scalar=24,
        sliding_window=WINDOW,
        layer_types=TYPES,
    ),
    "granite": transformers.GraniteConfig(
        **LLAMA_SIZES,
        num_key_value_heads=2,
        embedding_multiplier=6.0,
        residual_multiplier=0.3,
        attention_multiplier=0.2,
        logits_scaling=4.0,
    ),
    "olmo2": transformers.Olmo2Config(**LLAMA_SIZES, num_key_value_heads=2),
    "olmo3": transformers.Olmo3Config(
        **LLAMA_SIZES,
        num_key_value_heads=2,
        sliding_window=WINDOW,
        layer_types=TYPES,
        rope_parameters={
            "full_attention": LLAMA_YARN,
            "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
        },
    ),
    "smollm3": transformers.SmolLM3Config(
        **LLAMA_SIZES,
        num_key_value_heads=2,
        no_rope_layers=[1, 0],
        pad_token_id=0,
        bos_token_id=0,
        eos_token_id=0,
    ),
    "phi3": transformers.Phi3Config(
        **LLAMA_SIZES, num_key_value_heads=2, sliding_window=WINDOW, pad_token_id=0
    ),
    "phi4_mini": transformers.Phi3Config(
        **LLAMA_SIZES | {"max_position_embeddings": 128, "hidden_size": 64},
        num_key_value_heads=2,
        pad_token_id=0,
        tie_word_embeddings=True,
        original_max_position_embeddings=32,
        rope_parameters={
            "rope_type": "longrope",
            "rope_theta": 100.0,
            "partial_rotary_factor": 0.75,
            "short_factor": [1.0, 1.1, 1.2, 1.4, 1.7, 2.0],
            "long_factor": [1.0, 2.0, 3.0, 5.0, 8.0, 16.0],
        },
    ),
    "mixtral": transformers.MixtralConfig(
        **EXPERT_SIZES, num_key_value_heads=2, num_local_experts=4, sliding_window=WINDOW
    ),
    "qwen3_moe": transformers.Qwen3MoeConfig(
        **EXPERT_SIZES,
        num_key_value_heads=2,
        head_dim=16,
        moe_intermediate_size=12,
        num_experts=6,
        norm_topk_prob=True,
    ),
    "olmoe": transformers.OlmoeConfig(**EXPERT_SIZES, num_experts=6, norm_topk_prob=False),
    "gpt2": transformers.GPT2Config(
        vocab_size=VOCABULARY,
        n_embd=WIDTH,
        n_layer=LAYERS,
        n_head=HEADS,
        n_inner=NEURONS,
        n_positions=32,
        bos_token_id=0,
        eos_token_id=0,
    ),
    "bert": transformers.BertConfig(**BERT_SIZES),
    "roberta": transformers.RobertaConfig(**ROBERTA_SIZES),
    "roberta_untied": transformers.RobertaConfig(**ROBERTA_SIZES, tie_word_embeddings=False),
    "xlm_roberta": transformers.XLMRobertaConfig(**ROBERTA_SIZES),
    "camembert": transformers.CamembertConfig(**ROBERTA_SIZES),
    "distilbert": transformers.DistilBertConfig(
        vocab_size=VOCABULARY,
        dim=WIDTH,
        n_layers=LAYERS,
        n_heads=HEADS,
        hidden_dim=NEURONS,
        max_position_embeddings=32,
    ),
    # Three layers: global, local, local. A window of 7, of which 3 before and 3 after a token.
    "modernbert": transformers.ModernBertConfig(**MODERNBERT_SIZES),
    "modernbert_biases": transformers.ModernBertConfig(
        **MODERNBERT_SIZES,
        layer_types=[*TYPES, TYPES[0]],
        norm_bias=True,
        attention_bias=True,
        mlp_bias=True,
        classifier_bias=True,
        decoder_bias=False,
        tie_word_embeddings=False,
    ),
    "pythia": transformers.GPTNeoXConfig(**BERT_SIZES | HEADS_OF_16),
    "gpt_neox_in_turn": transformers.GPTNeoXConfig(
        **BERT_SIZES | HEADS_OF_16,
        use_parallel_residual=False,
        attention_bias=False,
        hidden_act="gelu_fast",
        rope_parameters={
            "rope_type": "linear",
            "rope_theta": 100.0,
            "factor": 2.0,
            "partial_rotary_factor": 1.0,
        },
    ),
    "gptj": transformers.GPTJConfig(
        vocab_size=VOCABULARY,
        n_embd=WIDTH,
        n_layer=LAYERS,
        n_head=2,
        n_inner=NEURONS,
        n_positions=32,
        rotary_dim=8,
        bos_token_id=0,
        eos_token_id=0,
    ),
    "opt": transformers.OPTConfig(**OPT_SIZES),
    "opt_without_biases": transformers.OPTConfig(
        **OPT_SIZES, enable_bias=False, tie_word_embeddings=False, activation_function="gelu"
    ),
    "phi": transformers.PhiConfig(**BERT_SIZES | HEADS_OF_16, num_key_value_heads=1),
}

MASKED = ("bert", "roberta", "xlm-roberta", "camembert", "distilbert", "modernbert")
COUNTING = ("roberta", "xlm-roberta", "camembert")
"""Models that count as positions the tokens that are not for padding."""


def randomise(model: torch.nn.Module) -> None:
    """Every parameter random, biases and norm scales too, so that a mix-up shows in the logits."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            scale = 0.3 if parameter.ndim == 1 else 1.5 * parameter.shape[-1] ** -0.5
            centre = 1.0 if "norm" in name.lower() and name.endswith("weight") else 0.0
            parameter.normal_(centre, scale)
            parameter.copy_(parameter.half().to(parameter.dtype))


def logits_in_float64(model: torch.nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    """Logits, with norms and softmax in float64 too, which transformers casts down to float32.

    RoPE's frequencies and angles stay float32: so they are defined. What ModernBERT turns by them
    stays float64, too.
    """
    narrow = torch.Tensor.float

    def float_at_least(tensor: torch.Tensor) -> torch.Tensor:
        return tensor if tensor.dtype == torch.float64 else narrow(tensor)

    frequencies = {name: buffer for name, buffer in model.named_buffers() if "inv_freq" in name}
    model.double()
    for name, buffer in frequencies.items():
        owner, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(owner), attribute, buffer)
    with (
        torch.no_grad(),
        unittest.mock.patch.object(torch, "float32", torch.float64),
        unittest.mock.patch.object(torch, "float", torch.float64),
        unittest.mock.patch.object(torch.Tensor, "float", float_at_least),
    ):
        return model(input_ids=tokens).logits


def make(name: str, config: transformers.PreTrainedConfig) -> None:
    torch.manual_seed(sum(map(ord, name)))
    config._attn_implementation = config._experts_implementation = "eager"
    masked = config.model_type in MASKED
    automatic = transformers.AutoModelForMaskedLM if masked else transformers.AutoModelForCausalLM
    model = automatic.from_config(config, dtype=torch.float32).eval()
    randomise(model)
    folder = FOLDER / name
    copy.deepcopy(model).half().save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    (folder / "model.safetensors").chmod(0o644)
    tokens = torch.randint(VOCABULARY, (2, TOKENS))
    if config.model_type in COUNTING:
        tokens[tokens == config.pad_token_id] += 1
    logits = logits_in_float64(model, tokens)
    assert logits.dtype == torch.float64
    np.savez_compressed(
        folder / "logits.npz", tokens=tokens.numpy().astype(np.int32), logits=logits.numpy()
    )
    print(f"{name}: logits {tuple(logits.shape)}, standard deviation {logits.std():.3f}")


if __name__ == "__main__":
    for case, settings in CASES.items():
        if not (FOLDER / case).exists():
            make(case, settings)
