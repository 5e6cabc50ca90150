"""The unperturbed pass over a batch of probes, which gradients and interventions start from."""

import functools

import jax
from flax import nnx

from negjax.batching import Split
from negjax.language_model import LanguageModel
from negjax.model.replay import Pass, run


def run_split(lm: LanguageModel, split: Split) -> Pass:
    """Prefix keys and values, suffix states and last residuals of split probes."""
    with lm.numerics():
        return _run_split(lm.graphdef, lm.params, split)


@functools.partial(jax.jit, static_argnums=0)
def _run_split(graphdef: nnx.GraphDef, params: nnx.State, split: Split) -> Pass:
    return run(nnx.merge(graphdef, params), split.prefix_tokens, split.prefix_mask, split.suffix)
