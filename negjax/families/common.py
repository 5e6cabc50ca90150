"""What a family is, and a reader of config.json that refuses what it does not understand."""

import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from negjax.checkpoints.conversion import Table
from negjax.model.config import Llama3Scaling, ModelConfig, Rope

_T = TypeVar("_T")

ACTIVATIONS_BY_HF_NAME = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}
HF_NAMES_BY_ACTIVATION = {
    "silu": "silu",
    "gelu": "gelu",
    "gelu_tanh": "gelu_pytorch_tanh",
    "relu": "relu",
}

_HARMLESS = """
    _attn_implementation _name_or_path architectures attn_implementation chunk_size_feed_forward
    dtype gradient_checkpointing is_llama_config model_type output_attentions output_hidden_states
    output_past output_scores pretraining_tp reorder_and_upcast_attn return_dict tf_legacy_loss
    tokenizer_class torch_dtype torchscript transformers.js_config transformers_version
    unsloth_fixed use_bfloat16 use_cache

    attention_dropout attention_probs_dropout_prob attn_pdrop classifier_dropout embd_pdrop
    hidden_dropout_prob initializer_range resid_pdrop summary_first_dropout

    bos_token_id cls_token_id decoder_start_token_id eos_token_id mask_token_id pad_token_id
    sep_token_id unk_token_id

    bad_words_ids begin_suppress_tokens diversity_penalty do_sample early_stopping
    encoder_no_repeat_ngram_size exponential_decay_length_penalty forced_bos_token_id
    forced_eos_token_id length_penalty max_length max_new_tokens min_length no_repeat_ngram_size
    num_beam_groups num_beams num_return_sequences prefix remove_invalid_values repetition_penalty
    return_dict_in_generate suppress_tokens task_specific_params temperature top_k top_p typical_p

    directionality finetuning_task id2label label2id num_labels pooler_fc_size
    pooler_num_attention_heads pooler_num_fc_layers pooler_size_per_head pooler_type problem_type
    summary_activation summary_proj_to_labels summary_type summary_use_proj
"""
HARMLESS = frozenset(_HARMLESS.split())
"""Keys of any config.json that do not change a language model's logits: how it is stored and run;
dropout and initialisation; special tokens; generation; heads of other tasks."""


class Settings:
    """A config.json being read: every key is taken, known to be harmless, or an error at the end.

    Raises (all methods): ValueError, naming the file, the key, its value and what was expected.
    """

    def __init__(self, raw: Mapping[str, Any], origin: str) -> None:
        self._raw = raw
        self._taken: set[str] = set()
        self.origin = origin

    def __contains__(self, key: str) -> bool:
        return key in self._raw

    def wrong(self, key: str, expected: str) -> ValueError:
        """The error that a value is not what is expected, for the caller to raise."""
        value = repr(self._raw[key]) if key in self._raw else "missing"
        return ValueError(f"{self.origin}: {key} is {value}, expected {expected}")

    def raw(self, key: str, default: _T) -> Any | _T:
        """The value of any kind, or `default` where the key is missing or null."""
        self._taken.add(key)
        value = self._raw.get(key)
        return default if value is None else value

    def integer(self, key: str, default: int | None = None) -> int:
        """A positive integer."""
        value = self.raw(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
            raise self.wrong(key, "a positive integer")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """A positive number."""
        value = self.raw(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise self.wrong(key, "a positive number")
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self.raw(key, default)
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value

    def only(self, key: str, *allowed: object) -> None:
        """Null, missing or one of `allowed`: no other value is implemented."""
        if self.raw(key, allowed[0]) not in allowed:
            known = " or ".join(repr(value) for value in allowed)
            raise self.wrong(key, f"{known}: negjax does not implement anything else")

    def activation(self, key: str, default: str | None = None) -> str:
        """The library's name of an activation."""
        value = self.raw(key, default)
        if value not in ACTIVATIONS_BY_HF_NAME:
            raise self.wrong(key, f"one of {', '.join(ACTIVATIONS_BY_HF_NAME)}")
        return ACTIVATIONS_BY_HF_NAME[value]

    def each_of(self, key: str, *allowed: str) -> None:
        """A list of nothing but `allowed`."""
        value = self.raw(key, None)
        if not isinstance(value, list) or not set(map(str, value)) <= set(allowed):
            raise self.wrong(key, f"a list of {' and '.join(map(repr, allowed))}")

    def divides(self, part: str, whole: str) -> None:
        """The integer under `part` divides that under `whole`."""
        if self.integer(whole) % self.integer(part):
            raise self.wrong(part, f"a divisor of {whole}, {self._raw[whole]}")

    def nested(self, key: str) -> "Settings | None":
        """The settings under a key, None where it is missing or null; `finish` them too."""
        value = self.raw(key, None)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.wrong(key, "an object")
        return Settings(value, f"{self.origin}: {key}")

    def rope(self) -> Rope:
        """RoPE as `rope_parameters` gives it, or the older `rope_theta` and `rope_scaling`."""
        self.only("partial_rotary_factor", 1.0)
        newer, older = self.raw("rope_parameters", None), self.raw("rope_scaling", None)
        if newer is not None and older is not None and newer != older:
            raise self.wrong("rope_scaling", f"the same as rope_parameters, {newer!r}")
        inner = self.nested("rope_parameters") or self.nested("rope_scaling")
        theta = self.number("rope_theta", 10000.0)
        if inner is None:
            return Rope(theta=theta)
        rope = inner._rope_parameters(theta)
        if self.raw("rope_theta", rope.theta) != rope.theta:
            raise self.wrong("rope_theta", f"the same as in rope_parameters, {rope.theta}")
        return rope

    def _rope_parameters(self, theta: float) -> Rope:
        theta = self.number("rope_theta", theta)
        self.only("partial_rotary_factor", 1.0)
        named = self.raw("type", "default")
        kind = self.raw("rope_type", named)
        linear_factor, llama3 = 1.0, None
        if kind == "linear":
            linear_factor = self.number("factor")
        elif kind == "llama3":
            llama3 = Llama3Scaling(
                factor=self.number("factor"),
                low_freq_factor=self.number("low_freq_factor"),
                high_freq_factor=self.number("high_freq_factor"),
                original_context=self.integer("original_max_position_embeddings"),
            )
        elif kind != "default":
            raise self.wrong(
                "rope_type" if "rope_type" in self._raw else "type",
                "'default', 'linear' or 'llama3': negjax implements no other RoPE scaling",
            )
        self.finish()
        return Rope(theta=theta, linear_factor=linear_factor, llama3=llama3)

    def finish(self) -> None:
        """Refuses keys that nobody took, are not known to be harmless and are not null or empty."""
        unknown = {
            key: value
            for key, value in self._raw.items()
            if key not in self._taken and key not in HARMLESS and value not in (None, [], {})
        }
        if unknown:
            listed = ", ".join(f"{key} = {value!r}" for key, value in sorted(unknown.items()))
            raise ValueError(
                f"{self.origin}: settings that negjax does not know and that may change what the "
                f"model computes: {listed}; remove them from the file if they do not"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Family:
    """How one `model_type` of Hugging Face configs maps to a `ModelConfig` and its weights."""

    name: str
    """`model_type` in config.json."""
    architectures: Collection[str]
    """Known values of `architectures`; the first is written at export."""
    read: Callable[[Settings], ModelConfig]
    """`ModelConfig` of a config.json; `config_from_hf` does the rest."""
    write: Callable[[ModelConfig], dict[str, Any]]
    """The inverse: config.json but for `model_type` and `architectures`. Raises a ValueError where
    config.json cannot say what the model computes."""
    table: Callable[[ModelConfig], Table]
    """Which tensor goes where."""

    def config_from_hf(self, raw: Mapping[str, Any], origin: str) -> ModelConfig:
        """`ModelConfig` of a config.json.

        Args:
            raw: the parsed file.
            origin: the file, for errors.

        Raises:
            ValueError: a key is missing, wrong, unknown, or asks for something not implemented.
        """
        for architecture in raw.get("architectures") or ():
            if architecture not in self.architectures:
                raise ValueError(
                    f"{origin}: architecture {architecture!r} is not one that negjax knows of "
                    f"model_type {self.name!r}: {', '.join(self.architectures)}"
                )
        settings = Settings(raw, origin)
        settings.only("auto_map", None)
        settings.only("is_encoder_decoder", False)
        config = self.read(settings)
        settings.finish()
        return config

    def config_to_hf(self, config: ModelConfig) -> dict[str, Any]:
        """A config.json that `config_from_hf` maps to `config`.

        Raises:
            ValueError: config.json has no way to say what the model computes.
        """
        return {
            "model_type": self.name,
            "architectures": [next(iter(self.architectures))],
            **self.write(config),
        }
