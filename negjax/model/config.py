"""What a transformer computes, as plain hashable data: sizes, norms, positions, activations.

A family (`negjax.weights.families`) maps a `config.json` or GGUF metadata to a `ModelConfig`;
nothing else in the library knows a family's name.
"""

import dataclasses
import hashlib
import json
import math
from typing import Literal

import numpy as np

from negjax.checks import instance, shown
from negjax.records import readable

Site = Literal["act", "up", "product"]

ACTIVATION_NAMES = ("silu", "gelu", "gelu_tanh", "relu")


@readable
@dataclasses.dataclass(frozen=True, kw_only=True)
class Llama3Scaling:
    """Wavelength-dependent slowing of RoPE, as Llama 3.1 defines it (arXiv 2407.21783, §3.4.3)."""

    factor: float
    """How much the longest wavelengths are stretched."""
    low_freq_factor: float
    """Wavelengths above `original_context / low_freq_factor` are stretched by `factor`."""
    high_freq_factor: float
    """Wavelengths below `original_context / high_freq_factor` stay as they are."""
    original_context: int
    """Context length of pre-training, in tokens."""


@readable
@dataclasses.dataclass(frozen=True, kw_only=True)
class Rope:
    """Rotary position embedding (arXiv 2104.09864), halves rotated against each other."""

    theta: float
    """Base of the geometric progression of wavelengths."""
    linear_factor: float = 1.0
    """All frequencies are divided by it (`rope_type: linear`)."""
    llama3: Llama3Scaling | None = None
    factors: tuple[float, ...] | None = None
    """Divisor of each frequency [C / 2], where a GGUF file gives them as a tensor."""

    def frequencies(self, head_width: int) -> np.ndarray:
        """Angular frequencies [C / 2] in radians a token, float32.

        float32 is part of the definition: checkpoints are trained and published with frequencies
        and angles rounded to it, so a float64 run keeps the rounded values.
        """
        exponent = np.arange(0, head_width, 2, dtype=np.float32) / np.float32(head_width)
        frequency: np.ndarray = 1 / np.power(np.float32(self.theta), exponent, dtype=np.float32)
        frequency = frequency / np.float32(self.linear_factor)
        if self.factors is not None:
            frequency = frequency / np.asarray(self.factors, np.float32)
        if self.llama3 is not None:
            frequency = _llama3_frequencies(frequency, self.llama3)
        return frequency.astype(np.float32)


def _llama3_frequencies(frequency: np.ndarray, scaling: Llama3Scaling) -> np.ndarray:
    wavelength = 2 * math.pi / frequency
    longest_kept = scaling.original_context / scaling.high_freq_factor
    shortest_stretched = scaling.original_context / scaling.low_freq_factor
    # In between, the share of the unscaled frequency rises linearly in original_context/wavelength.
    share = (scaling.original_context / wavelength - scaling.low_freq_factor) / (
        scaling.high_freq_factor - scaling.low_freq_factor
    )
    between = (1 - share) * frequency / scaling.factor + share * frequency
    stretched = np.where(wavelength > shortest_stretched, frequency / scaling.factor, between)
    return np.where(wavelength < longest_kept, frequency, stretched)


@readable
@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Everything that decides what a model computes. Hashable: it is part of compiled code."""

    family: str
    """Family the weights follow, a key of `negjax.weights.families.FAMILIES`."""
    vocab_size: int
    """V, rows of the embedding table."""
    layers: int
    """L."""
    width: int
    """D, the residual stream."""
    neurons: int
    """F, the FFN's intermediate size."""
    heads: int
    """H, query heads."""
    kv_heads: int
    """G, key/value heads; divides H."""
    head_width: int
    """C; not always D / H (Qwen3)."""
    context_length: int
    """Most tokens in a sequence."""
    activation: str
    """One of `ACTIVATION_NAMES`: the FFN's nonlinearity."""
    gated: bool
    """True: down(act(gate(x)) · up(x)). False: down(act(up(x)))."""
    norm: Literal["rms", "layer"]
    norm_eps: float
    norm_placement: Literal["pre", "post"]
    """pre: each sublayer reads a normed residual. post: each sum is normed (BERT)."""
    causal: bool
    """False: every position sees every other (masked LM)."""
    rope: Rope | None
    """None: learned absolute positions, added to the embeddings."""
    qkv_bias: bool
    out_bias: bool
    """Bias of attention's output projection."""
    ffn_bias: bool
    qk_norm: bool
    """RMS norm of every query and key head, before RoPE (Qwen3)."""
    tied: bool
    """The output embedding is the input embedding."""
    token_types: int = 0
    """Rows of the token-type table (BERT); the text is type 0. 0: no such table."""
    mlm_head: bool = False
    """A dense layer, activation and norm before the output embedding, and an output bias (BERT)."""

    def __post_init__(self) -> None:
        for name in ("vocab_size", "layers", "width", "neurons", "heads", "kv_heads"):
            _require(getattr(self, name) > 0, name, getattr(self, name), "a positive integer")
        _require(
            self.heads % self.kv_heads == 0,
            "kv_heads",
            self.kv_heads,
            f"a divisor of {self.heads} heads",
        )
        _require(
            self.activation in ACTIVATION_NAMES,
            "activation",
            self.activation,
            f"one of {ACTIVATION_NAMES}",
        )
        _require(
            self.rope is None or self.head_width % 2 == 0,
            "head_width",
            self.head_width,
            "even, for RoPE",
        )

    @property
    def digest(self) -> str:
        """SHA-256 of all settings: with the same weights and this, a model computes the same."""
        text = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def sites(self) -> tuple[Site, ...]:
        """Intermediate vectors that have neurons, the default first."""
        return ("up", "product") if self.gated else ("act",)

    def site(self, site: str | None) -> Site:
        """The site asked for, or the default for None.

        Raises:
            ValueError: the model has no such site.
        """
        if site is None:
            return self.sites[0]
        for known in self.sites:
            if isinstance(site, str) and site == known:
                return known
        kind = "gated" if self.gated else "plain"
        raise ValueError(
            f"site {shown(site)}: a model with {kind} feed-forward layers ({self.family}) has the "
            f"site{'s' if len(self.sites) > 1 else ''} {', '.join(self.sites)}"
        )


def check_config(value: object, name: str = "config") -> ModelConfig:
    """Refuses what is no model's configuration.

    Raises:
        ValueError: naming the argument.
    """
    return instance(value, name, ModelConfig, "lm.config of what negjax.load returns")


def _require(holds: bool, name: str, value: object, expected: str) -> None:
    if not holds:
        raise ValueError(f"model config: {name} is {value!r}, expected {expected}")
