"""Sizes and scalars that config.json says of every model with layer norms, under several names."""

import dataclasses
from typing import Any

from negjax.model.config import ModelConfig
from negjax.weights.families.common import HF_NAMES_BY_ACTIVATION
from negjax.weights.families.settings import Settings, unwritable

USUAL_KEYS = {
    "width": "hidden_size",
    "heads": "num_attention_heads",
    "layers": "num_hidden_layers",
    "context": "max_position_embeddings",
}
"""Names that transformers takes beside a family's own."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sizes:
    """What the config.json of a family calls them, and what holds where it does not say."""

    layers: str = "num_hidden_layers"
    width: str = "hidden_size"
    neurons: str = "intermediate_size"
    heads: str = "num_attention_heads"
    context: str = "max_position_embeddings"
    activation: str = "hidden_act"
    norm_eps: str | None = "layer_norm_eps"
    """None: no setting says it, it is `usual_eps`."""
    usual_activation: str
    """transformers' name."""
    usual_eps: float | None
    """None: the file must say it."""
    wide: bool = False
    """Whether a file that does not say how many neurons there are means four times the width."""
    tied: bool = False
    """Whether embeddings are tied where the file does not say it."""

    def read(self, settings: Settings) -> dict[str, Any]:
        """Fields of a `ModelConfig`, and those that are the same in all these families.

        Raises:
            ValueError: naming the file and the key.
        """
        for field, usual in USUAL_KEYS.items():
            if getattr(self, field) != usual:
                settings.same(usual, getattr(self, field))
        width, heads = settings.integer(self.width), settings.integer(self.heads)
        settings.divides(self.heads, self.width)
        eps = self.usual_eps
        return {
            "vocab_size": settings.integer("vocab_size"),
            "layers": settings.integer(self.layers),
            "width": width,
            "neurons": settings.integer(self.neurons, 4 * width if self.wide else None),
            "heads": heads,
            "kv_heads": heads,
            "head_width": width // heads,
            "context_length": settings.integer(self.context),
            "activation": settings.activation(self.activation, self.usual_activation),
            "norm": "layer",
            "norm_eps": eps if self.norm_eps is None else settings.number(self.norm_eps, eps),
            "qk_norm": "none",
            "tied": settings.flag("tie_word_embeddings", self.tied),
        }

    def write(self, config: ModelConfig) -> dict[str, Any]:
        """The settings that `read` reads.

        Raises:
            ValueError: the family has no setting for the norms' eps, and another eps.
        """
        if self.norm_eps is None and config.norm_eps != self.usual_eps:
            raise unwritable("norm_eps", config.norm_eps)
        eps = {} if self.norm_eps is None else {self.norm_eps: config.norm_eps}
        return {
            "vocab_size": config.vocab_size,
            self.layers: config.layers,
            self.width: config.width,
            self.neurons: config.neurons,
            self.heads: config.heads,
            self.context: config.context_length,
            self.activation: HF_NAMES_BY_ACTIVATION[config.activation],
            "tie_word_embeddings": config.tied,
            **eps,
        }
