"""What a family is: how its configs and weights map to negjax's."""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from negjax.model.config import ModelConfig
from negjax.weights.conversion import Table
from negjax.weights.families.settings import Settings
from negjax.weights.tensors import LazyTensor

HF_NAMES_BY_ACTIVATION = {
    "silu": "silu",
    "gelu": "gelu",
    "gelu_tanh": "gelu_pytorch_tanh",
    "relu": "relu",
}


GGUF_SIZES = {
    "block_count": "num_hidden_layers",
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "vocab_size": "vocab_size",
}
"""Keys of GGUF metadata, after the architecture and a dot, by what most config.json call them."""


def _as_stored(tensor: LazyTensor, source: str, config: ModelConfig) -> LazyTensor:
    return tensor


def _nothing_more(metadata: Mapping[str, Any], origin: str) -> dict[str, Any]:
    return {}


@dataclasses.dataclass(frozen=True, kw_only=True)
class GGUFForm:
    """How a family's GGUF files differ from its files in Hugging Face layout."""

    architecture: str
    """`general.architecture`, by which the `gguf` package knows names of tensors."""
    keys: Mapping[str, str]
    """After the architecture and a dot: the key of config.json that means the same."""
    undo: Callable[[LazyTensor, str, ModelConfig], LazyTensor] = _as_stored
    """A tensor in Hugging Face layout, from the file's and its name in Hugging Face files."""
    complete: Callable[[Mapping[str, Any], str], dict[str, Any]] = _nothing_more
    """Settings of config.json that metadata mean without saying them, from the metadata after the
    architecture and a dot, and the file, for errors. Raises a ValueError where it cannot be known
    what they mean."""
    prefix: str = ""
    """What Hugging Face names begin with and the `gguf` package's names of them do not."""
    output: str = "output.weight"
    """The output embedding, which files of tied models do not hold."""
    rows: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Tensors whose numbers of rows are settings of config.json, and these."""
    head: tuple[str, ...] = ()
    """Tensors of the masked-LM head: a file that has none of them is refused."""
    marker: str | None = None
    """The key without which a file of this architecture is another family's."""


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
    harmless: Collection[str] = frozenset()
    """Keys of its config.json that change nothing, beside those of every family."""
    short_names: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Hub ids of its models that people ask for most."""
    gguf: GGUFForm | None = None
    """What its GGUF files look like; None: there are none, or they call themselves another's."""

    def config_from_hf(
        self, raw: Mapping[str, Any], origin: str, assume_harmless: Sequence[str] = ()
    ) -> ModelConfig:
        """`ModelConfig` of a config.json.

        Args:
            raw: the parsed file.
            origin: the file, for errors.
            assume_harmless: unknown keys that change nothing, as the caller says; of one inside an
                object, `outer.inner`.

        Raises:
            ValueError: a key is missing, wrong, or asks for something not implemented.
            UnknownSettingsError: keys are unknown; the error names all of them.
            WrongAssumptionError: `assume_harmless` names what is not in the file, or is read.
        """
        for architecture in raw.get("architectures") or ():
            if architecture not in self.architectures:
                raise ValueError(
                    f"{origin}: architecture {architecture!r} is not one that negjax knows of "
                    f"model_type {self.name!r}: {', '.join(self.architectures)}"
                )
        settings = Settings(raw, origin)
        settings.only("auto_map", None)
        for key in ("is_encoder_decoder", "tie_encoder_decoder", "add_cross_attention"):
            settings.only(key, False)
        config = self.read(settings)
        # It says that attention looks back only, which a causal model's always does.
        settings.only("is_decoder", *((False, True) if config.causal else (False,)))
        settings.finish(self.harmless, assume_harmless)
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
