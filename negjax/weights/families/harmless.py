"""Settings of a config.json that do not change a language model's logits, by what they are about.

Sources: the config.json files of published models and of their fine-tunes; the classes
`PreTrainedConfig` and `GenerationConfig` of transformers, old and new, whose defaults older
versions wrote into every file. Settings that are harmless with one value only are read by the
families (`Settings.only`), and those of one family stand with it (`Family.harmless`).
"""

_STORED_AND_RUN = """
    _attn_implementation _attn_implementation_autoset _attn_implementation_internal _commit_hash
    _experts_implementation _flash_attn_2_enabled _name_or_path _output_attentions architectures
    attn_implementation chunk_size_feed_forward dtype experts_implementation gradient_checkpointing
    gradient_checkpointing_use_reentrant ignore_keys_at_rope_validation max_seq_length
    max_sequence_length model_max_length model_type name_or_path output_attentions
    output_hidden_states output_past pretraining_tp reorder_and_upcast_attn return_dict
    tie_last_hidden_states tokenizer_class tokenizer_model_max_length tokenizer_padding_side
    torch_dtype torchscript transformers.js_config transformers_version unsloth_fixed
    unsloth_version use_bfloat16 use_cache use_flash_attention use_return_dict
    vocab_size_or_config_json_file xla_device
"""
_TRAINING = """
    attention_dropout attention_probs_dropout_prob attn_pdrop classifier_dropout embd_pdrop
    hidden_dropout_prob initializer_range neftune_noise_alpha resid_pdrop summary_first_dropout
    tf_legacy_loss
"""
_SPECIAL_TOKENS = """
    bos_token_id cls_token_id decoder_start_token_id eos_token_id eos_token_ids mask_token_id
    pad_token_id pad_token_ids sep_token_id unk_token_id
"""
_GENERATION = """
    _from_model_config assistant_confidence_threshold assistant_early_exit
    assistant_ensemble_weight assistant_lookbehind bad_words_ids begin_suppress_tokens
    cache_config cache_implementation compile_config constraints continuous_batching_config
    disable_compile diversity_penalty do_sample dola_layers early_stopping
    encoder_no_repeat_ngram_size encoder_repetition_penalty epsilon_cutoff eta_cutoff
    exponential_decay_length_penalty force_words_ids forced_bos_token_id forced_eos_token_id
    generation_config guidance_scale is_assistant length_penalty low_memory max_cache_len
    max_length max_matching_ngram_size max_new_tokens max_time min_length min_new_tokens min_p
    no_repeat_ngram_size num_assistant_tokens num_assistant_tokens_schedule num_beam_groups
    num_beams num_return_sequences output_logits output_scores penalty_alpha prefill_chunk_size
    prefix prompt_lookup_num_tokens remove_invalid_values renormalize_logits repetition_penalty
    return_dict_in_generate sequence_bias speculation_type stop_strings suppress_tokens
    target_lookbehind task_specific_params temperature token_healing top_h top_k top_p typical_p
    use_mtp watermarking_config
"""
_OTHER_HEADS = """
    _num_labels finetuning_task id2label label2id num_labels problem_type sentence_transformers
"""

HARMLESS = frozenset(
    (_STORED_AND_RUN + _TRAINING + _SPECIAL_TOKENS + _GENERATION + _OTHER_HEADS).split()
)
"""Keys of any family's config.json: how a model is stored and run, which limits its tokenizer has;
dropout, initialisation and losses; special tokens; generation; heads of other tasks."""
