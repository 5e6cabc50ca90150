"""A loaded model: what it computes, its parameters, its tokenizer and where it came from."""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from negjax.checks import instance
from negjax.model.config import ModelConfig
from negjax.model.layers import compute_dtype
from negjax.model.streamed import leaves, read_failure
from negjax.process import quiet
from negjax.records import as_html, cut

SHOWN_DIGITS = 12
"""Of the fingerprint, in a model's repr."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LanguageModel:
    """A loaded model: structure, parameters and tokenizer. First argument of most functions.

    Not a pytree: `graphdef` and `config` are static, `params` is the pytree.
    """

    name: str
    """What it was loaded as: a path, hub id or known name."""
    config: ModelConfig
    graphdef: nnx.GraphDef[Any]
    """Structure of the `Transformer`; `nnx.merge(graphdef, params)` gives the module back."""
    params: nnx.State[Any, Any]
    """Parameters; those of the blocks are stacked along a leading axis L."""
    tokenizer: "quiet.transformers.PreTrainedTokenizerBase"
    fingerprint: str
    """SHA-256 over the weights as converted: names, shapes, dtypes, bytes."""
    precision: str = "highest"
    """`jax.default_matmul_precision` of every computation with this model: what runs."""
    requested_precision: str = "float32"
    """What `load` was asked for: a rung of `negjax.process.precisions`, or `auto`."""
    mesh: jax.sharding.Mesh | None = None
    """Devices that the parameters are divided among (`negjax.model.meshes`); None: one device."""
    assumed_harmless: tuple[str, ...] = ()
    """Settings of its file that negjax does not know and that `load` was told to ignore."""
    end_tokens: tuple[int, ...] = ()
    """Token ids after which a text that it writes ends, as its files say."""

    def __repr__(self) -> str:
        c = self.config
        assumed = f", assumed harmless: {len(self.assumed_harmless)}" * bool(self.assumed_harmless)
        return (
            f"LanguageModel({cut(self.name)!r}: {c.family}, {c.layers} layers × {c.neurons:,} "
            f"neurons, {self.parameter_count:,} parameters\n  {self.dtype.name}, precision "
            f"{cut(self.precision)!r}, fingerprint {self.fingerprint[:SHOWN_DIGITS]}…{assumed})"
        )

    def _repr_html_(self) -> str:
        return as_html(self)

    @property
    def dtype(self) -> jnp.dtype:
        """dtype of the weights."""
        result: jnp.dtype = leaves(self.params)[0].dtype
        return result

    @property
    def compute_dtype(self) -> jnp.dtype:
        """dtype of activations and results."""
        return compute_dtype(self.dtype)

    @contextlib.contextmanager
    def numerics(self) -> Iterator[None]:
        """Within it programs of this model run.

        It pins the precision of matrix products, which accelerators lower unless told otherwise.
        Where weights could not be read, that error is raised in place of the program's.
        """
        try:
            mesh = contextlib.nullcontext() if self.mesh is None else jax.set_mesh(self.mesh)
            with jax.default_matmul_precision(self.precision), mesh:
                yield
        except (ValueError, RuntimeError) as error:
            failure = read_failure(self.params)
            if failure is None:
                raise
            raise failure from error

    @property
    def parameter_count(self) -> int:
        """Entries of all parameters."""
        return sum(leaf.size for leaf in leaves(self.params))


def check_model(value: object, name: str = "lm") -> LanguageModel:
    """Refuses what is no language model.

    Raises:
        ValueError: naming the argument.
    """
    return instance(value, name, LanguageModel, "what negjax.load returns")
