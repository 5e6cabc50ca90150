"""Feed-forward layers of many networks, of which each token passes a few: mixtures of experts.

A neuron is one of a network: its index in the layer is expert · I + number, with I neurons in each
of E experts, and F = E · I. Where a token is not routed to an expert, its neurons have activation 0
and write nothing.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from negjax.model.config import ModelConfig
from negjax.model.layers import Linear, activate, gated_product

# Rows of one expert that are multiplied at once; what fills up its last block is wasted.
BLOCK_ROWS = 16


class Bank(nnx.Module):
    """The weights of one linear map of all experts, stored as rows or as one matrix an expert."""

    def __init__(
        self, shape: tuple[int, ...], axes: str, fan_in: int, *, dtype: jnp.dtype, rngs: nnx.Rngs
    ) -> None:
        kernel = jax.random.normal(rngs.params(), shape, dtype) * fan_in**-0.5
        self.kernel = nnx.Param(kernel, axes=axes)
        self.bias = None


class Routing:
    """Pairs of a token and an expert, sorted by expert.

    Lives within one trace of one layer.
    """

    def __init__(self, chosen: jax.Array, experts: int) -> None:
        """Of the experts chosen by N tokens, [N, k]."""
        self.experts = experts
        count, self.each = chosen.shape
        pairs = chosen.reshape(-1)
        self.order = jnp.argsort(pairs, stable=True)
        self.back = jnp.argsort(self.order, stable=True)
        self.expert = pairs[self.order]
        self.token = self.order // self.each
        self.sizes = jnp.zeros(experts, jnp.int32).at[pairs].add(1)
        # Every expert's rows begin a block of their own.
        blocks = -(-self.sizes // BLOCK_ROWS)
        last = jnp.cumsum(blocks)
        self.blocks = -(-count * self.each // BLOCK_ROWS) + min(experts, count * self.each)
        self.expert_of = jnp.searchsorted(last, jnp.arange(self.blocks), side="right")
        self.expert_of = jnp.minimum(self.expert_of, experts - 1)
        start = jnp.cumsum(self.sizes) - self.sizes
        within = jnp.arange(count * self.each) - start[self.expert]
        self.place = (last - blocks)[self.expert] * BLOCK_ROWS + within

    def take(self, tokens: jax.Array) -> jax.Array:
        """[M, …] of tokens [N, …]: those of the pairs."""
        return tokens[self.token]

    def product(self, x: jax.Array, weight: jax.Array) -> jax.Array:
        """[M, O] of x [M, D] and weights [E, D, O]: each row by its expert's."""
        padded = jnp.zeros((self.blocks * BLOCK_ROWS, x.shape[-1]), x.dtype).at[self.place].set(x)

        def block(of: tuple[jax.Array, jax.Array]) -> jax.Array:
            rows, expert = of
            return rows @ weight[expert].astype(rows.dtype)

        rows = padded.reshape(self.blocks, BLOCK_ROWS, -1)
        out = jax.lax.map(block, (rows, self.expert_of))
        result: jax.Array = out.reshape(self.blocks * BLOCK_ROWS, -1)[self.place]
        return result

    def unsorted(self, pairs: jax.Array) -> jax.Array:
        """[N, k, …] of pairs [M, …]."""
        return pairs[self.back].reshape(-1, self.each, *pairs.shape[1:])


class Experts(nnx.Module):
    """A router, and gated networks."""

    def __init__(self, config: ModelConfig, *, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        d, e = config.width, config.experts
        i = config.expert_neurons
        self.router = Linear({"D": d}, {"E": e}, bias=False, dtype=dtype, rngs=rngs)
        self.gate = Bank((e, d, i), "EDI", d, dtype=dtype, rngs=rngs)
        self.up = Bank((e, d, i), "EDI", d, dtype=dtype, rngs=rngs)
        self.down = Bank((e * i, d), "FD", i, dtype=dtype, rngs=rngs)
        self.experts, self.active, self.each = e, config.active_experts, i
        self.normalised = config.router_normalised
        self.activation = config.activation
        self.linearised = False

    def __call__(
        self,
        x: jax.Array,
        shift: jax.Array | None = None,
        site: str = "",
        held: jax.Array | None = None,
        routes: jax.Array | None = None,
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """FFN output, and by name what `by_neuron` spreads over all neurons.

        Args:
            x: [..., D].
            shift: broadcastable to [..., F], added at `site`.
            held: broadcastable to [..., F], True where the shift replaces the activation; of an
                expert that is not routed to it stays 0.
            routes: broadcastable to [..., k], experts that are chosen whatever the router says; its
                weights follow it all the same.
        """
        lead, tokens = x.shape[:-1], x.reshape(-1, x.shape[-1])
        share = jax.nn.softmax(self.router(tokens), axis=-1)
        if self.linearised:
            share = jax.lax.stop_gradient(share)
        if routes is None:
            _, chosen = jax.lax.top_k(share, self.active)
        else:
            chosen = jnp.broadcast_to(routes, (*lead, self.active)).reshape(-1, self.active)
        picked = jnp.take_along_axis(share, chosen, axis=-1)
        picked = picked / picked.sum(-1, keepdims=True) if self.normalised else picked
        routing = Routing(chosen, self.experts)

        def of_pairs(value: jax.Array) -> jax.Array:
            """[M, I] of [..., F]: of the pairs' experts."""
            whole = jnp.broadcast_to(value, (*lead, self.experts * self.each))
            by_expert = whole.reshape(len(tokens), self.experts, self.each)
            # One look-up: a token's other experts are not brought along.
            return by_expert[routing.token, routing.expert]

        def shifted(value: jax.Array, name: str) -> jax.Array:
            if shift is None or name != site:
                return value
            value = value if held is None else jnp.where(of_pairs(held), 0, value)
            return value + of_pairs(shift)

        rows = routing.take(tokens)
        gate = routing.product(rows, self.gate.kernel[...])
        gate = activate(self.activation, gate, self.linearised)
        up = shifted(routing.product(rows, self.up.kernel[...]), "up")
        product = shifted(gated_product(gate, up, self.linearised), "product")
        down = self.down.kernel[...].reshape(self.experts, self.each, -1)
        out = routing.unsorted(routing.product(product, down))
        out = (out * picked[..., None]).sum(1).reshape(x.shape)
        pairs = {
            name: routing.unsorted(value).reshape(*lead, self.active, self.each)
            for name, value in {"up": up, "product": product, "gate": gate}.items()
        }
        return out, {
            **pairs,
            "share": picked.reshape(*lead, self.active),
            "routes": chosen.reshape(*lead, self.active),
        }

    def by_neuron(self, inner: dict[str, jax.Array]) -> dict[str, jax.Array]:
        """Vectors [P, F] of what was found at P tokens: 0 where a token is not routed to.

        Beside the sites and `gate`, `share` is the weight with which a neuron's write counts.
        """
        routes = inner["routes"]
        row = jnp.arange(len(routes))[:, None]

        def spread(value: jax.Array) -> jax.Array:
            whole = jnp.zeros((len(routes), self.experts, self.each), value.dtype)
            return whole.at[row, routes].set(value).reshape(len(routes), -1)

        share = jnp.broadcast_to(inner["share"][..., None], inner["up"].shape)
        named = {name: inner[name] for name in ("up", "product", "gate")} | {"share": share}
        return {name: spread(value) for name, value in named.items()}
