"""A block's matrix products, kept so that its derivative need not multiply them again."""

from collections.abc import Callable, Mapping

import jax


class Products:
    """What a block's linear maps return: each is recorded by name, or recalled if it is known.

    Lives within one trace of one block.
    """

    def __init__(self, known: Mapping[str, jax.Array] | None = None) -> None:
        self.known = known or {}
        self.found: dict[str, jax.Array] = {}

    def of(
        self, name: str, linear: Callable[[jax.Array, jax.Array | None], jax.Array], x: jax.Array
    ) -> jax.Array:
        """[..., out] of x [..., in]; second argument of a `Linear` is what is known of it."""
        self.found[name] = linear(x, self.known.get(name))
        return self.found[name]


@jax.custom_jvp
def known_product(product: jax.Array, x: jax.Array, weight: jax.Array) -> jax.Array:
    """x @ weight, which is known to be `product`; only its derivative by x multiplies.

    The weight counts as constant.
    """
    return product


@known_product.defjvp
def _known_product_jvp(
    primals: tuple[jax.Array, ...], tangents: tuple[jax.Array, ...]
) -> tuple[jax.Array, jax.Array]:
    product, _, weight = primals
    return product, tangents[1] @ weight
