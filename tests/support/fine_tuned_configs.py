"""Settings that files of fine-tunes, older files and other programs' files have besides."""

from tests.support.published_configs import (
    BERT,
    GPT2,
    LLAMA_2_7B,
    LLAMA_3_2_1B,
    MISTRAL_7B,
    QWEN2_5,
    QWEN3_8B,
    SENTENCE,
    SMOLLM2_135M,
    Config,
)

# What transformers 2 to 4 wrote of every model, whatever it was.
OLDER: Config = {
    "_num_labels": 2,
    "add_cross_attention": False,
    "bad_words_ids": None,
    "begin_suppress_tokens": None,
    "chunk_size_feed_forward": 0,
    "cross_attention_hidden_size": None,
    "decoder_start_token_id": None,
    "diversity_penalty": 0.0,
    "do_sample": False,
    "early_stopping": False,
    "encoder_no_repeat_ngram_size": 0,
    "eos_token_ids": 0,
    "exponential_decay_length_penalty": None,
    "finetuning_task": None,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
    "id2label": {"0": "LABEL_0", "1": "LABEL_1"},
    "is_decoder": False,
    "is_encoder_decoder": False,
    "label2id": {"LABEL_0": 0, "LABEL_1": 1},
    "length_penalty": 1.0,
    "max_length": 20,
    "min_length": 0,
    "no_repeat_ngram_size": 0,
    "num_beam_groups": 1,
    "num_beams": 1,
    "num_labels": 2,
    "num_return_sequences": 1,
    "output_attentions": False,
    "output_hidden_states": False,
    "output_past": True,
    "output_scores": False,
    "prefix": None,
    "problem_type": None,
    "pruned_heads": {},
    "remove_invalid_values": False,
    "repetition_penalty": 1.0,
    "return_dict": True,
    "return_dict_in_generate": False,
    "sep_token_id": None,
    "suppress_tokens": None,
    "task_specific_params": None,
    "temperature": 1.0,
    "tf_legacy_loss": False,
    "tie_encoder_decoder": False,
    "tokenizer_class": None,
    "top_k": 50,
    "top_p": 1.0,
    "torchscript": False,
    "typical_p": 1.0,
    "use_bfloat16": False,
    "xla_device": None,
}
# What programs for training leave in a file.
TRAINED: Config = {
    "_attn_implementation_autoset": True,
    "_commit_hash": "0" * 40,
    "_flash_attn_2_enabled": True,
    "dtype": "bfloat16",
    "gradient_checkpointing_use_reentrant": False,
    "max_sequence_length": 2048,
    "model_max_length": 2048,
    "neftune_noise_alpha": 5,
    "pad_token_id": 0,
    "tokenizer_model_max_length": 2048,
    "tokenizer_padding_side": "right",
    "transformers.js_config": {"kv_cache_dtype": {"fp16": "float16"}},
    "unsloth_fixed": True,
    "unsloth_version": "2026.4.7",
}

FINE_TUNES: dict[str, Config] = {
    "distilgpt2": GPT2 | {"n_layer": 6, "_num_labels": 1, "id2label": {"0": "LABEL_0"}},
    "gpt2, its transformer's names": GPT2
    | {"hidden_size": 768, "num_attention_heads": 12, "num_hidden_layers": 12}
    | {"max_position_embeddings": 1024},
    "gpt2, saved again": GPT2
    | {"n_inner": None, "reorder_and_upcast_attn": False, "scale_attn_weights": True}
    | {"scale_attn_by_inverse_layer_idx": False, "torch_dtype": "float32"},
    "gpt2 as a decoder": GPT2 | {"is_decoder": True, "torchscript": True},
    "bert-base-chinese": BERT | SENTENCE | {"vocab_size": 21128, "classifier_dropout": None},
    "bert with sentence_transformers": BERT | {"sentence_transformers": {"version": "5.0.0"}},
    "vicuna": LLAMA_2_7B | {"max_sequence_length": 2048, "pad_token_id": 0},
    "SmolLM2, saved by transformers 5": {
        **{key: value for key, value in SMOLLM2_135M.items() if not key.startswith("rope_")},
        "rope_parameters": {"rope_theta": 100000, "rope_type": "default"},
    },
    "Qwen as a Llama": LLAMA_2_7B
    | {"use_sliding_window": False, "sliding_window": 32768, "max_window_layers": 28},
    "DeepSeek's distilled Qwen": QWEN2_5
    | {"max_window_layers": 21, "sliding_window": 4096, "rope_theta": 10000},
    "Qwen3, saved again": QWEN3_8B | {"layer_types": ["full_attention"] * 36},
    **{
        f"{raw['model_type']} {kind}": more | raw
        for raw in (GPT2, BERT, LLAMA_2_7B, LLAMA_3_2_1B, MISTRAL_7B, QWEN2_5, QWEN3_8B)
        for kind, more in {"older": OLDER, "trained": TRAINED}.items()
    },
}
"""Whole config.json files; all that they say beside their model's own changes nothing."""

HARMFUL: Config = {
    "adapters": {"config": "pfeiffer"},
    "add_cross_attention": True,
    "alibi": True,
    "attn_logit_softcapping": 50.0,
    "auto_map": {"AutoModel": "x.Y"},
    "clip_qkv": 8.0,
    "embedding_multiplier": 12.0,
    "embedding_size": 128,
    "final_logit_softcapping": 30.0,
    "is_encoder_decoder": True,
    "layer_norm_type": "rms",
    "logit_scale": 2.0,
    "no_rope_layers": [1, 1, 1, 0],
    "num_local_experts": 8,
    "original_max_position_embeddings": 4096,
    "per_layer_config": {"0": {"num_attention_heads": 4}},
    "pruned_heads": {"0": [1]},
    "quantization": {"group_size": 64, "bits": 4},
    "quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True},
    "query_pre_attn_scalar": 256,
    "residual_multiplier": 0.22,
    "tie_encoder_decoder": True,
    "use_qk_norm": True,
}
"""Settings that change what is computed, or stored, whatever the family: none may pass."""
