"""Settings of config.json: those of published files are understood, what may change is refused."""

import json
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from negjax.model.config import ModelConfig
from negjax.process.quiet import transformers
from negjax.weights.conversion import parameter_shapes
from negjax.weights.families import FAMILIES, SHORT_NAMES, family_of
from negjax.weights.families.harmless import HARMLESS
from negjax.weights.families.settings import UnknownSettingsError, WrongAssumptionError
from tests.support.fine_tuned_configs import FINE_TUNES, HARMFUL
from tests.support.published_configs import (
    BERT,
    GPT2,
    LLAMA_2_7B,
    LLAMA_3_1_8B,
    MISTRAL_7B,
    PUBLISHED,
    QWEN2_5,
    QWEN3_8B,
    Config,
)
from tests.support.published_relatives import (
    GEMMA_2_2B,
    GEMMA_3_1B,
    GRANITE_2B,
    OLMO_3_7B,
    PHI_4_MINI,
    SMOLLM3_3B,
)

ORIGIN = "m/config.json"
OF_EACH_FAMILY = tuple({raw["model_type"]: raw for raw, _ in PUBLISHED.values()}.values())
# What transformers' own class writes of a model whose settings are all its defaults.
DEFAULTS: dict[str, Config] = {
    kind.model_type: json.loads(kind(architectures=[architecture]).to_json_string(use_diff=False))
    for kind, architecture in {
        transformers.GPT2Config: "GPT2LMHeadModel",
        transformers.BertConfig: "BertForMaskedLM",
        transformers.LlamaConfig: "LlamaForCausalLM",
        transformers.MistralConfig: "MistralForCausalLM",
        transformers.Qwen2Config: "Qwen2ForCausalLM",
        transformers.Qwen3Config: "Qwen3ForCausalLM",
        transformers.GemmaConfig: "GemmaForCausalLM",
        transformers.Gemma2Config: "Gemma2ForCausalLM",
        transformers.Gemma3TextConfig: "Gemma3ForCausalLM",
        transformers.GraniteConfig: "GraniteForCausalLM",
        transformers.Olmo2Config: "Olmo2ForCausalLM",
        transformers.Olmo3Config: "Olmo3ForCausalLM",
        transformers.SmolLM3Config: "SmolLM3ForCausalLM",
        transformers.Phi3Config: "Phi3ForCausalLM",
        transformers.MixtralConfig: "MixtralForCausalLM",
        transformers.Qwen3MoeConfig: "Qwen3MoeForCausalLM",
        transformers.OlmoeConfig: "OlmoeForCausalLM",
        transformers.RobertaConfig: "RobertaForMaskedLM",
        transformers.XLMRobertaConfig: "XLMRobertaForMaskedLM",
        transformers.CamembertConfig: "CamembertForMaskedLM",
        transformers.DistilBertConfig: "DistilBertForMaskedLM",
        transformers.ModernBertConfig: "ModernBertForMaskedLM",
        transformers.GPTNeoXConfig: "GPTNeoXForCausalLM",
        transformers.GPTJConfig: "GPTJForCausalLM",
        transformers.OPTConfig: "OPTForCausalLM",
        transformers.PhiConfig: "PhiForCausalLM",
    }.items()
}


def read(raw: Config, *assumed: str) -> ModelConfig:
    return family_of(raw["model_type"], ORIGIN).config_from_hf(raw, ORIGIN, assumed)


@pytest.mark.parametrize("name", SHORT_NAMES)
def test_every_short_name_is_understood(name: str) -> None:
    raw, parameters = PUBLISHED[SHORT_NAMES[name]]
    assert name in FAMILIES[raw["model_type"]].short_names
    shapes = parameter_shapes(read(raw), jnp.dtype("float32")).values()
    assert sum(int(np.prod(shape)) for shape in shapes) == parameters


def test_every_published_config_has_a_short_name() -> None:
    assert sorted(PUBLISHED) == sorted(SHORT_NAMES.values())


@pytest.mark.parametrize("name", FINE_TUNES)
def test_fine_tunes_and_older_files_are_understood(name: str) -> None:
    raw = FINE_TUNES[name]
    config = read(raw)
    assert config.family == raw["model_type"]
    assert config.layers == raw.get("num_hidden_layers", raw.get("n_layer"))


@pytest.mark.parametrize("family", FAMILIES)
def test_what_transformers_writes_itself_is_understood(family: str) -> None:
    config = read(DEFAULTS[family])
    assert config.family == family
    generation = transformers.GenerationConfig().to_dict()
    assert set(generation) <= HARMLESS
    assert read({**generation, **DEFAULTS[family]}) == config


# Read only with another setting; and what may be null only.
SEEN_ELSEWHERE = {"sliding_window"}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_setting_of_transformers_is_read_or_known_to_change_nothing(family: str) -> None:
    harmless = HARMLESS | set(FAMILIES[family].harmless) | SEEN_ELSEWHERE
    read_by_name = set(DEFAULTS[family]) - harmless
    assert len(read_by_name) >= 8
    for key in read_by_name:
        with pytest.raises(ValueError, match=rf"^{ORIGIN}: {key} is 'odd', expected "):
            read(DEFAULTS[family] | {key: "odd"})


@pytest.mark.parametrize("raw", OF_EACH_FAMILY, ids=lambda raw: raw["model_type"])
def test_what_changes_the_computation_is_refused(raw: Config) -> None:
    for key, value in HARMFUL.items():
        if key in raw:
            continue  # The family reads it.
        with pytest.raises(ValueError, match=rf"^{ORIGIN}: .*{key} (is|=) "):
            read(raw | {key: value})
    harmless = HARMLESS | set(family_of(raw["model_type"], ORIGIN).harmless)
    assert not (set(HARMFUL) - set(raw)) & harmless


@pytest.mark.parametrize(
    ("raw", "change", "message"),
    [
        (BERT, {"is_decoder": True}, "is_decoder is True, expected False"),
        (BERT, {"n_special": 0}, "n_special = 0"),
        (GPT2, {"directionality": "bidi"}, "directionality = 'bidi'"),
        (GPT2, {"hidden_size": 512}, "hidden_size is 512, expected the same as n_embd, 768"),
        (LLAMA_2_7B, {"rope_interleaved": True}, "rope_interleaved is True, expected False"),
        (LLAMA_2_7B, {"use_mrope": True}, "use_mrope is True, expected False"),
        (MISTRAL_7B, {"mlp_bias": True}, "mlp_bias is True, expected False"),
        (QWEN2_5, {"attention_bias": True}, "attention_bias = True"),
        (QWEN2_5, {"max_window_layers": "28"}, "max_window_layers is '28', expected a whole"),
        (QWEN3_8B, {"rope_scaling": {"rope_type": "yarn", "scale": 4.0}}, "scale = 4.0"),
        (GEMMA_2_2B, {"hidden_activation": "silu"}, "hidden_activation is 'silu', expected "),
        (GEMMA_3_1B, {"use_bidirectional_attention": True}, "use_bidirectional_attention is True"),
        (PHI_4_MINI, {"partial_rotary_factor": 0.01}, "partial_rotary_factor is 0.01"),
        (SMOLLM3_3B, {"no_rope_layers": [1, 0]}, r"no_rope_layers is \[1, 0\], expected a list of"),
        (GRANITE_2B, {"logits_scaling": 0.0}, "logits_scaling is 0.0, expected a positive"),
        (
            OLMO_3_7B,
            {"layer_types": ["full_attention"]},
            "layer_types is .*, expected a list",
        ),
    ],
)
def test_what_changes_the_computation_of_a_family_is_refused(
    raw: Config, change: Config, message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{ORIGIN}: .*{message}"):
        read(raw | change)


def test_windows_end_the_context_whoever_reads_them() -> None:
    assert read(LLAMA_2_7B | {"sliding_window": 100}).context_length == 100
    assert read(LLAMA_2_7B | {"sliding_window": None}).context_length == 4096


def test_a_familys_own_windows_are_windows() -> None:
    assert read(MISTRAL_7B).context_length == 32768
    assert read(MISTRAL_7B).windows == (4096,) * 32
    # transformers' Mistral has one window for all layers, whatever the file says of their types.
    typed = MISTRAL_7B | {"layer_types": ["full_attention"] * 32}
    assert read(typed).windows == (4096,) * 32
    assert read(MISTRAL_7B | {"sliding_window": None}).windows == ()
    # One that is no shorter than the context changes nothing.
    assert read(MISTRAL_7B | {"sliding_window": 32768}).windows == ()
    assert read(GEMMA_2_2B).windows == (4096, None) * 13
    assert read(GEMMA_3_1B).windows[:7] == (512,) * 5 + (None, 512)
    assert read(OLMO_3_7B).windows[:5] == (4096,) * 3 + (None, 4096)
    assert read(SMOLLM3_3B).unplaced_layers == (3, 7, 11, 15, 19, 23, 27, 31, 35)


def test_gpt2_may_have_other_families_names() -> None:
    other = {
        "hidden_size": GPT2["n_embd"],
        "num_attention_heads": GPT2["n_head"],
        "num_hidden_layers": GPT2["n_layer"],
        "max_position_embeddings": GPT2["n_positions"],
    }
    own = ("n_embd", "n_head", "n_layer", "n_positions")
    assert read({key: GPT2[key] for key in GPT2 if key not in own} | other) == read(GPT2)


UNKNOWN: Config = LLAMA_3_1_8B | {
    "zeta": 1.5,
    "alpha": {"bits": [4] * 1000},
    "rope_scaling": LLAMA_3_1_8B["rope_scaling"] | {"mscale": 1, "use_cache": True},
}
NAMES = ["alpha", "rope_scaling.mscale", "rope_scaling.use_cache", "zeta"]


def test_all_unknown_settings_are_named_at_once_and_can_be_assumed_harmless() -> None:
    with pytest.raises(UnknownSettingsError) as raised:
        read(UNKNOWN)
    assert str(raised.value) == (
        f"{ORIGIN}: settings that negjax does not know and that may change what the model "
        "computes: alpha = a dict of 1, rope_scaling.mscale = 1, rope_scaling.use_cache = True, "
        f"zeta = 1.5; if they change nothing, pass assume_harmless={NAMES!r}"
    )
    assert read(UNKNOWN, *NAMES) == read(LLAMA_3_1_8B)
    with pytest.raises(UnknownSettingsError, match=r"computes: zeta = 1.5; .*, 'zeta'\]$"):
        read(UNKNOWN, *NAMES[:-1])
    # Nothing is gained by saying of a setting what is known.
    assert read(UNKNOWN, *NAMES, "use_cache") == read(LLAMA_3_1_8B)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("beta", f"{ORIGIN} has no such setting; negjax does not know its {', '.join(NAMES)}; "),
        ("rope_scaling.beta", "has no such setting"),
        ("mscale", "has no such setting"),
        ("", "has no such setting"),
        ("hidden_size", f"negjax reads this setting of {ORIGIN}; leave it out"),
        ("rope_scaling", "negjax reads this setting"),
        ("rope_scaling.factor", "negjax reads this setting"),
        ("auto_map", "has no such setting"),
    ],
)
def test_only_unknown_settings_of_the_file_can_be_assumed_harmless(name: str, message: str) -> None:
    with pytest.raises(WrongAssumptionError) as raised:
        read(UNKNOWN, *NAMES, name)
    assert str(raised.value).startswith(f"assume_harmless names {name!r}: ")
    assert message in str(raised.value)


def test_what_is_read_cannot_be_assumed_harmless() -> None:
    decoder: dict[str, Any] = BERT | {"is_decoder": True}
    with pytest.raises(ValueError, match="is_decoder is True, expected False"):
        read(decoder, "is_decoder")
