"""Llama's relatives whose layers are mixtures of experts."""

from negjax.weights.families.llama_variants import ExpertNames, LlamaVariant

MIXTURES = (
    LlamaVariant(
        name="mixtral",
        classes="Mixtral",
        window="always",
        theta=1e6,
        experts=ExpertNames(
            count="num_local_experts",
            normalised=None,
            router="block_sparse_moe.gate",
            expert="block_sparse_moe.experts.{x}",
            gate_up_down=("w1", "w3", "w2"),
        ),
        gguf_architecture="llama",
        gguf_marker="expert_count",
        gguf_interleaves=True,
        harmless=("output_router_logits", "router_aux_loss_coef", "router_jitter_noise"),
        short_names={"mixtral-8x7b": "mistralai/Mixtral-8x7B-v0.1"},
    ),
    LlamaVariant(
        name="qwen3_moe",
        classes="Qwen3Moe",
        attention_bias="setting",
        qk_norm="head",
        window="flagged",
        experts=ExpertNames(neurons="moe_intermediate_size"),
        gguf_architecture="qwen3moe",
        harmless=("output_router_logits", "router_aux_loss_coef"),
        short_names={"qwen3-30b-a3b": "Qwen/Qwen3-30B-A3B"},
    ),
    LlamaVariant(
        name="olmoe",
        classes="Olmoe",
        attention_bias="setting",
        qk_norm="width",
        experts=ExpertNames(gguf_normalised=False),
        gguf_architecture="olmoe",
        harmless=("output_router_logits", "router_aux_loss_coef"),
        short_names={"olmoe-1b-7b": "allenai/OLMoE-1B-7B-0924"},
    ),
)
"""All of them."""
