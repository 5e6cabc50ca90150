"""config.json of published models, as their repositories have it.

Of each short name that negjax knows, and of fine-tunes and older files that say more. Copied from
public copies of the files: gpt2, gpt2-medium, bert-base-cased, bert-base-uncased, bert-large-cased,
Llama-3.2-1B, Qwen2.5-0.5B. From copies that transformers had read and written again (which keeps
unknown settings, and adds some): gpt2-large, gpt2-xl, Llama-2-7b-hf, Qwen3-8B, SmolLM2-135M. From
memory, after a relative of the same family: the others' sizes. Numbers of parameters are those
that the repositories' weights have (bert-large-cased: the uncased one's, less 1,526 tokens).
"""

from tests.support.published_layer_norm_configs import LAYER_NORM, Config

GPT2: Config = {
    "activation_function": "gelu_new",
    "architectures": ["GPT2LMHeadModel"],
    "attn_pdrop": 0.1,
    "bos_token_id": 50256,
    "embd_pdrop": 0.1,
    "eos_token_id": 50256,
    "initializer_range": 0.02,
    "layer_norm_epsilon": 1e-05,
    "model_type": "gpt2",
    "n_ctx": 1024,
    "n_embd": 768,
    "n_head": 12,
    "n_layer": 12,
    "n_positions": 1024,
    "resid_pdrop": 0.1,
    "summary_activation": None,
    "summary_first_dropout": 0.1,
    "summary_proj_to_labels": True,
    "summary_type": "cls_index",
    "summary_use_proj": True,
    "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}},
    "vocab_size": 50257,
}
BERT: Config = {
    "architectures": ["BertForMaskedLM"],
    "attention_probs_dropout_prob": 0.1,
    "gradient_checkpointing": False,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": 768,
    "initializer_range": 0.02,
    "intermediate_size": 3072,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 512,
    "model_type": "bert",
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "pad_token_id": 0,
    "position_embedding_type": "absolute",
    "transformers_version": "4.6.0.dev0",
    "type_vocab_size": 2,
    "use_cache": True,
    "vocab_size": 28996,
}
BERT_LARGE: Config = BERT | {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_attention_heads": 16,
    "num_hidden_layers": 24,
}
SENTENCE: Config = {
    "directionality": "bidi",
    "pooler_fc_size": 768,
    "pooler_num_attention_heads": 12,
    "pooler_num_fc_layers": 3,
    "pooler_size_per_head": 128,
    "pooler_type": "first_token_transform",
}
LLAMA_2_7B: Config = {
    "_name_or_path": "meta-llama/Llama-2-7b-hf",
    "architectures": ["LlamaForCausalLM"],
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 4096,
    "initializer_range": 0.02,
    "intermediate_size": 11008,
    "max_position_embeddings": 4096,
    "model_type": "llama",
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 32,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-05,
    "rope_scaling": None,
    "tie_word_embeddings": False,
    "torch_dtype": "float16",
    "transformers_version": "4.31.0.dev0",
    "use_cache": True,
    "vocab_size": 32000,
}
LLAMA_3_8B: Config = LLAMA_2_7B | {
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 128000,
    "eos_token_id": 128001,
    "intermediate_size": 14336,
    "max_position_embeddings": 8192,
    "num_key_value_heads": 8,
    "rope_theta": 500000.0,
    "torch_dtype": "bfloat16",
    "vocab_size": 128256,
}
LLAMA_3_1_8B: Config = LLAMA_3_8B | {
    "max_position_embeddings": 131072,
    "mlp_bias": False,
    "rope_scaling": {
        "factor": 8.0,
        "high_freq_factor": 4.0,
        "low_freq_factor": 1.0,
        "original_max_position_embeddings": 8192,
        "rope_type": "llama3",
    },
}
LLAMA_3_2_1B: Config = LLAMA_3_1_8B | {
    "head_dim": 64,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "rope_scaling": LLAMA_3_1_8B["rope_scaling"] | {"factor": 32.0},
    "tie_word_embeddings": True,
}
SIZES_70B: Config = {
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "num_attention_heads": 64,
    "num_hidden_layers": 80,
    "num_key_value_heads": 8,
}
SMOLLM2_135M: Config = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "hidden_act": "silu",
    "hidden_size": 576,
    "initializer_range": 0.041666666666666664,
    "intermediate_size": 1536,
    "is_llama_config": True,
    "max_position_embeddings": 8192,
    "mlp_bias": False,
    "model_type": "llama",
    "num_attention_heads": 9,
    "num_hidden_layers": 30,
    "num_key_value_heads": 3,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-05,
    "rope_interleaved": False,
    "rope_scaling": None,
    "rope_theta": 100000,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.40.1",
    "use_cache": True,
    "vocab_size": 49152,
}
MISTRAL_7B: Config = {
    "architectures": ["MistralForCausalLM"],
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 4096,
    "initializer_range": 0.02,
    "intermediate_size": 14336,
    "max_position_embeddings": 32768,
    "model_type": "mistral",
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-05,
    "rope_theta": 10000.0,
    "sliding_window": 4096,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.34.0.dev0",
    "use_cache": True,
    "vocab_size": 32000,
}
QWEN2_5: Config = {
    "architectures": ["Qwen2ForCausalLM"],
    "attention_dropout": 0.0,
    "bos_token_id": 151643,
    "eos_token_id": 151643,
    "hidden_act": "silu",
    "hidden_size": 896,
    "initializer_range": 0.02,
    "intermediate_size": 4864,
    "max_position_embeddings": 32768,
    "max_window_layers": 24,
    "model_type": "qwen2",
    "num_attention_heads": 14,
    "num_hidden_layers": 24,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0,
    "sliding_window": 32768,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.40.1",
    "use_cache": True,
    "use_mrope": False,
    "use_sliding_window": False,
    "vocab_size": 151936,
}
QWEN2_5_1_5B: Config = QWEN2_5 | {
    "hidden_size": 1536,
    "intermediate_size": 8960,
    "max_position_embeddings": 131072,
    "max_window_layers": 28,
    "num_attention_heads": 12,
    "num_hidden_layers": 28,
    "sliding_window": 131072,
}
QWEN3_8B: Config = {
    "architectures": ["Qwen3ForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 151643,
    "eos_token_id": 151645,
    "head_dim": 128,
    "hidden_act": "silu",
    "hidden_size": 4096,
    "initializer_range": 0.02,
    "intermediate_size": 12288,
    "max_position_embeddings": 40960,
    "max_window_layers": 36,
    "model_type": "qwen3",
    "num_attention_heads": 32,
    "num_hidden_layers": 36,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-06,
    "rope_scaling": None,
    "rope_theta": 1000000,
    "sliding_window": None,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.51.0",
    "use_cache": True,
    "use_sliding_window": False,
    "vocab_size": 151936,
}


def _sizes(width: int, neurons: int, layers: int, heads: int, kv_heads: int) -> Config:
    return {
        "hidden_size": width,
        "intermediate_size": neurons,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
    }


PUBLISHED: dict[str, tuple[Config, int]] = LAYER_NORM | {
    "google-bert/bert-base-cased": (BERT, 108_340_804),
    "google-bert/bert-base-uncased": (BERT | {"vocab_size": 30522}, 109_514_298),
    "google-bert/bert-large-cased": (BERT_LARGE | SENTENCE, 333_610_308),
    "google-bert/bert-large-uncased": (BERT_LARGE | {"vocab_size": 30522}, 335_174_458),
    "openai-community/gpt2": (GPT2, 124_439_808),
    "openai-community/gpt2-medium": (
        GPT2
        | {"n_embd": 1024, "n_head": 16, "n_layer": 24}
        | {"n_special": 0, "predict_special_tokens": True},
        354_823_168,
    ),
    "openai-community/gpt2-large": (
        GPT2 | {"n_embd": 1280, "n_head": 20, "n_layer": 36},
        774_030_080,
    ),
    "openai-community/gpt2-xl": (
        GPT2 | {"n_embd": 1600, "n_head": 25, "n_layer": 48, "output_past": True},
        1_557_611_200,
    ),
    "meta-llama/Llama-2-7b-hf": (LLAMA_2_7B, 6_738_415_616),
    "meta-llama/Llama-2-13b-hf": (LLAMA_2_7B | _sizes(5120, 13824, 40, 40, 40), 13_015_864_320),
    "meta-llama/Llama-2-70b-hf": (LLAMA_2_7B | SIZES_70B, 68_976_648_192),
    "meta-llama/Meta-Llama-3-8B": (LLAMA_3_8B, 8_030_261_248),
    "meta-llama/Meta-Llama-3-70B": (LLAMA_3_8B | SIZES_70B, 70_553_706_496),
    "meta-llama/Llama-3.1-8B": (LLAMA_3_1_8B, 8_030_261_248),
    "meta-llama/Llama-3.2-1B": (LLAMA_3_2_1B, 1_235_814_400),
    "meta-llama/Llama-3.2-3B": (
        LLAMA_3_2_1B | _sizes(3072, 8192, 28, 24, 8) | {"head_dim": 128},
        3_212_749_824,
    ),
    "mistralai/Mistral-7B-v0.1": (MISTRAL_7B, 7_241_732_096),
    "Qwen/Qwen2.5-0.5B": (QWEN2_5, 494_032_768),
    "Qwen/Qwen2.5-1.5B": (QWEN2_5_1_5B, 1_543_714_304),
    "Qwen/Qwen2.5-7B": (
        QWEN2_5_1_5B
        | _sizes(3584, 18944, 28, 28, 4)
        | {"tie_word_embeddings": False, "vocab_size": 152064},
        7_615_616_512,
    ),
    "Qwen/Qwen3-0.6B": (
        QWEN3_8B
        | _sizes(1024, 3072, 28, 16, 8)
        | {"max_window_layers": 28, "tie_word_embeddings": True},
        596_049_920,
    ),
    "Qwen/Qwen3-8B": (QWEN3_8B, 8_190_735_360),
    "HuggingFaceTB/SmolLM2-135M": (SMOLLM2_135M, 134_515_008),
    "HuggingFaceTB/SmolLM2-360M": (SMOLLM2_135M | _sizes(960, 2560, 32, 15, 5), 361_821_120),
    "HuggingFaceTB/SmolLM2-1.7B": (
        SMOLLM2_135M | _sizes(2048, 8192, 24, 32, 32) | {"rope_theta": 130000},
        1_711_376_384,
    ),
}
"""By hub id: config.json, and the number of parameters, next-sentence prediction and sentence
embedding left out."""
