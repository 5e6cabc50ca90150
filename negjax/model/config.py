"""What a transformer computes, as plain hashable data: sizes, norms, positions, activations.

A family (`negjax.weights.families`) maps a `config.json` or GGUF metadata to a `ModelConfig`;
nothing else in the library knows a family's name.
"""

import dataclasses
import hashlib
import json
from typing import Literal, get_args

from negjax.checks import instance, shown
from negjax.model.rope import Rope
from negjax.records import readable

Site = Literal["act", "up", "product"]
Place = Literal["residual_before", "attention_out", "ffn_out", "residual_after"]
"""Where in a layer a direction of width D is written: to the residual that enters the layer, to
what attention or the feed-forward network returns (before any norm of it), or to the residual that
leaves."""
SiteOrPlace = Site | Place
PLACES: tuple[Place, ...] = get_args(Place)

ACTIVATION_NAMES = ("silu", "gelu", "gelu_tanh", "relu")


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
    """F, the FFN's intermediate size; with experts, of all of them together."""
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
    norm_placement: Literal["pre", "post", "output", "sandwich"]
    """pre: each sublayer reads a normed residual. output: what it returns is normed (OLMo 2).
    sandwich: both (Gemma 2). post: each sum is normed (BERT)."""
    causal: bool
    """False: every position sees every other (masked LM)."""
    rope: Rope | None
    """None: learned absolute positions, added to the embeddings."""
    qkv_bias: bool
    out_bias: bool
    """Bias of attention's output projection."""
    ffn_bias: bool
    qk_norm: Literal["none", "head", "width"]
    """Norm of queries and keys before RoPE: none, within each head (Qwen3), over all (OLMo 2)."""
    tied: bool
    """The output embedding is the input embedding."""
    norm_bias: bool = True
    """Whether layer norms add a bias; RMS norms never do."""
    norm_offset: float = 0.0
    """Added to the norms' scales: 1 in Gemma, whose files hold differences from 1."""
    first_norm: bool = True
    """Whether the first layer's attention reads a normed residual; not in ModernBERT."""
    embedding_norm: bool = False
    """Whether the embeddings' sum is normed."""
    embedding_scale: float = 1.0
    """Factor on token embeddings (Gemma, Granite)."""
    residual_scale: float = 1.0
    """Factor on what each sublayer adds to the residual (Granite)."""
    parallel: Literal["none", "apart", "shared"] = "none"
    """Whether the feed-forward layer reads the residual that attention reads, too: normed apart
    (GPT-NeoX) or by the same norm (GPT-J)."""
    attention_scale: float | None = None
    """Factor on scores; None: C^(−1/2)."""
    attention_cap: float | None = None
    """Scores s become cap · tanh(s / cap) (Gemma 2)."""
    windows: tuple[int | None, ...] = ()
    """By layer: how far a token sees, |distance| < window; None: as far as there are tokens. Empty:
    so do all layers."""
    local_rope: Rope | None = None
    """RoPE of layers with a window; None: they have that of the others."""
    unplaced_layers: tuple[int, ...] = ()
    """Layers without RoPE (SmolLM3)."""
    experts: int = 0
    """E: gated feed-forward networks of a layer, each of F / E neurons, of which a token passes
    some; neuron expert · F / E + number is one of an expert. 0: there is one network."""
    active_experts: int = 0
    """How many experts a token passes: those to which the router gives the highest weights."""
    router_normalised: bool = True
    """Whether the weights of a token's experts are made to add up to 1."""
    position_offset: int = 0
    """The first token's row in the table of learned positions (RoBERTa, OPT)."""
    token_types: int = 0
    """Rows of the token-type table (BERT); the text is type 0. 0: no such table."""
    final_norm: bool = True
    """Whether the last residual is normed before a masked LM's head, or else its output embedding
    (BERT's is not)."""
    mlm_head: bool = False
    """A dense layer, activation and norm before the output embedding (masked LMs)."""
    mlm_head_bias: bool = True
    """Whether that dense layer has a bias; not in ModernBERT."""
    output_bias: bool = False
    """Whether logits have a bias."""
    logit_scale: float = 1.0
    """Factor on logits, before their cap (Granite)."""
    logit_cap: float | None = None
    """Logits s become cap · tanh(s / cap) (Gemma 2)."""

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
        plain = self.gated and not self.ffn_bias
        _require(
            not self.experts or (plain and self.neurons % self.experts == 0),
            "experts",
            self.experts,
            f"a divisor of {self.neurons} neurons of gated layers without biases, or 0",
        )
        _require(
            self.experts >= self.active_experts >= min(self.experts, 1),
            "active_experts",
            self.active_experts,
            f"1 to {self.experts}, and 0 without experts",
        )
        turned = {
            (rope.turned(self.head_width), rope.neighbours)
            for rope in (self.rope, self.local_rope)
            if rope is not None
        }
        _require(
            all(width % 2 == 0 and width <= self.head_width for width, _ in turned),
            "head_width",
            self.head_width,
            "even, for RoPE, and no less than what it turns",
        )
        _require(len(turned) < 2, "local_rope", self.local_rope, "to turn the entries of rope")
        _require(
            len(self.windows) in (0, self.layers),
            "windows",
            self.windows,
            f"none, or one of each of {self.layers} layers",
        )

    @property
    def ropes(self) -> tuple[Rope | None, ...]:
        """[L], of each layer."""
        windows = self.windows or (None,) * self.layers
        local = self.local_rope or self.rope
        return tuple(
            None if layer in self.unplaced_layers else self.rope if window is None else local
            for layer, window in enumerate(windows)
        )

    @property
    def digest(self) -> str:
        """SHA-256 of all settings: with the same weights and this, a model computes the same."""
        text = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def expert_neurons(self) -> int:
        """Neurons of an expert; of the one network that there is without."""
        return self.neurons // max(self.experts, 1)

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
