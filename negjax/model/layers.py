"""Flax NNX layers shared by all families. Every parameter carries its axes as metadata.

Weights may be float32, bfloat16 or float64; activations are at least float32 (`compute_dtype`), so
that residuals, norms, softmax and differences never lose more than the weights already have.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from negjax.model.config import ModelConfig
from negjax.model.products import Products, known_product

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "silu": jax.nn.silu,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "gelu_tanh": lambda x: jax.nn.gelu(x, approximate=True),
    "relu": jax.nn.relu,
}

# act(x) / x, so that act(x) = x · gain(x) without a division.
GAINS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "silu": jax.nn.sigmoid,
    "gelu": lambda x: jax.lax.erfc(-math.sqrt(0.5) * x) / 2,
    "gelu_tanh": lambda x: (1 + jnp.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
    "relu": lambda x: (x > 0).astype(x.dtype),
}

# Large enough to vanish in a softmax, small enough that differences of two stay finite.
MASKED_SCORE = -1e30


def compute_dtype(param_dtype: jnp.dtype) -> jnp.dtype:
    """dtype of activations for weights of `param_dtype`: float64 stays, all else is float32."""
    return jnp.promote_types(param_dtype, jnp.float32)


def activate(name: str, x: jax.Array, linearised: bool) -> jax.Array:
    """An activation function of x; linearised, x times a gain that counts as constant."""
    return x * jax.lax.stop_gradient(GAINS[name](x)) if linearised else ACTIVATIONS[name](x)


def gated_product(gate: jax.Array, up: jax.Array, linearised: bool) -> jax.Array:
    """gate · up; linearised, each factor has half of it."""
    product = gate * up
    return product / 2 + jax.lax.stop_gradient(product / 2) if linearised else product


def soft_capped(x: jax.Array, cap: float | None) -> jax.Array:
    """x bounded by ± cap, smoothly (arXiv 2408.00118, §2); None: as it is."""
    return x if cap is None else cap * jnp.tanh(x / cap)


class Linear(nnx.Module):
    """y[..., out] = Σ_in x[..., in] · kernel[in, out] (+ bias[out]); axes may be several each.

    `inputs` and `outputs` map axis letters to sizes, e.g. {"H": 9, "C": 64} -> {"D": 576}.
    """

    def __init__(
        self,
        inputs: dict[str, int],
        outputs: dict[str, int],
        *,
        bias: bool,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ) -> None:
        fan_in = math.prod(inputs.values())
        shape = (*inputs.values(), *outputs.values())
        kernel = jax.random.normal(rngs.params(), shape, dtype) * fan_in**-0.5
        self.kernel = nnx.Param(kernel, axes="".join((*inputs, *outputs)))
        self.bias = (
            nnx.Param(jnp.zeros(tuple(outputs.values()), dtype), axes="".join(outputs))
            if bias
            else None
        )
        self.input_rank = len(inputs)

    def __call__(self, x: jax.Array, known: jax.Array | None = None) -> jax.Array:
        """[..., in] -> [..., out]; `known` is that result, if it only is to be differentiated."""
        kernel = self.kernel[...]
        in_shape, out_shape = kernel.shape[: self.input_rank], kernel.shape[self.input_rank :]
        lead = x.shape[: x.ndim - self.input_rank]
        # One plain matrix product: several axes on a side are a reshape away.
        flat = x.reshape(-1, math.prod(in_shape))
        weight = kernel.reshape(math.prod(in_shape), math.prod(out_shape)).astype(x.dtype)
        if known is not None:
            return known_product(known.reshape(len(flat), -1), flat, weight).reshape(known.shape)
        y = (flat @ weight).reshape(*lead, *out_shape)
        return y if self.bias is None else y + self.bias[...].astype(x.dtype)


class Norm(nnx.Module):
    """RMS norm (arXiv 1910.07467) or layer norm (arXiv 1607.06450) over the last axis."""

    def __init__(self, config: ModelConfig, axis: str, size: int, *, dtype: jnp.dtype) -> None:
        self.eps = config.norm_eps
        self.scale = nnx.Param(jnp.ones((size,), dtype), axes=axis)
        self.bias = (
            nnx.Param(jnp.zeros((size,), dtype), axes=axis)
            if config.norm == "layer" and config.norm_bias
            else None
        )
        self.centred = config.norm == "layer"
        self.offset = config.norm_offset
        self.linearised = False

    def __call__(self, x: jax.Array) -> jax.Array:
        """[..., size] -> [..., size]."""
        x = self.part(x, x)
        return x if self.bias is None else x + self.bias[...].astype(x.dtype)

    def part(self, x: jax.Array, whole: jax.Array) -> jax.Array:
        """What x [..., size] is of the norm of a `whole` that it is a part of, without the bias.

        The whole's denominator holds for all its parts, so that they add up.
        """
        x = self._centre(x) * self.inverse(whole)
        scale = self.scale[...].astype(x.dtype)
        return x * (scale + self.offset if self.offset else scale)

    def inverse(self, x: jax.Array) -> jax.Array:
        """[..., 1], one by the denominator of the norm of x [..., size]."""
        square = jnp.square(self._centre(x)).mean(-1, keepdims=True)
        # Where the square overflows, its inverse would be 0, and the output an ordinary number.
        inverse = jnp.where(jnp.isinf(square), jnp.nan, jax.lax.rsqrt(square + self.eps))
        return jax.lax.stop_gradient(inverse) if self.linearised else inverse

    def _centre(self, x: jax.Array) -> jax.Array:
        return x - x.mean(-1, keepdims=True) if self.centred else x


class FeedForward(nnx.Module):
    """The layer whose intermediate entries are the neurons.

    A shift is an explicit input, added to the activations of one site at the read position, so that
    derivatives with respect to it are those with respect to the activations.
    """

    def __init__(self, config: ModelConfig, *, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        d, f = {"D": config.width}, {"F": config.neurons}
        self.gate = (
            Linear(d, f, bias=config.ffn_bias, dtype=dtype, rngs=rngs) if config.gated else None
        )
        self.up = Linear(d, f, bias=config.ffn_bias, dtype=dtype, rngs=rngs)
        self.down = Linear(f, d, bias=config.ffn_bias, dtype=dtype, rngs=rngs)
        self.activation = config.activation
        self.linearised = False

    def __call__(
        self,
        x: jax.Array,
        shift: jax.Array | None = None,
        site: str = "",
        held: jax.Array | None = None,
        products: Products | None = None,
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """FFN output, and the intermediate vectors by name: the sites, and `gate` = act(gate(x)).

        Args:
            x: [..., D].
            shift: broadcastable to [..., F], added at `site`.
            held: broadcastable to [..., F], True where the shift replaces the activation.
            products: records or recalls `gate` and `up`.
        """
        products = Products() if products is None else products

        def shifted(value: jax.Array, name: str) -> jax.Array:
            if shift is None or name != site:
                return value
            return (value if held is None else jnp.where(held, 0, value)) + shift

        up = products.of("up", self.up, x)
        if self.gate is None:
            product = shifted(activate(self.activation, up, self.linearised), "act")
            return self.down(product), {"act": product}
        gate = activate(self.activation, products.of("gate", self.gate, x), self.linearised)
        up = shifted(up, "up")
        product = shifted(gated_product(gate, up, self.linearised), "product")
        return self.down(product), {"up": up, "product": product, "gate": gate}

    def by_neuron(self, inner: dict[str, jax.Array]) -> dict[str, jax.Array]:
        """Vectors [P, F] of what was found at P tokens."""
        return inner
