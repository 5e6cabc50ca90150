"""The residual stream as a sum of what is written to it."""

import jax.numpy as jnp
import numpy as np
from flax import nnx

from negjax.execution.batching import split_probes
from negjax.execution.passes import run_split
from negjax.inputs.probes import Probes
from negjax.model.language_model import LanguageModel
from negjax.replay.suffixes import block_at, stacked_blocks, take_read
from tests.support.block_shapes import error


def assert_sums_hold(lm: LanguageModel, probes: Probes) -> None:
    """Residual after a layer = before + attention's write + feed-forward's, normed where they are;
    and the last site is what the down-projection reads."""
    split = split_probes(lm.config, probes, np.arange(len(probes)))
    passed = run_split(lm, split)
    trace = passed.trace
    graphdef, params = stacked_blocks(nnx.merge(lm.graphdef, lm.params))
    c = lm.config
    for layer in range(c.layers):
        block = block_at(graphdef, params, layer)
        leaving = trace.entering[layer + 1] if layer + 1 < c.layers else passed.resid[:, 0]
        written = leaving - trace.mid[layer]
        out = trace.ffn_out[layer]
        if c.norm_placement == "post":
            assert block.ffn_norm is not None
            expected = block.ffn_norm(trace.mid[layer] + out) - trace.mid[layer]
        else:
            normed = out if block.ffn_out_norm is None else block.ffn_out_norm(out)
            expected = c.residual_scale * normed
        assert error(np.asarray(written), np.asarray(expected)) < 1e-12
        written = trace.at_positions[c.sites[-1]][layer][:, 0]
        if c.experts:
            kernel = block.ffn.down.kernel[...]
            down = jnp.einsum(
                "pf,fd->pd", written * trace.at_positions["share"][layer][:, 0], kernel
            )
        else:
            down = block.ffn.down(written)
        assert error(np.asarray(down), np.asarray(take_read(out, split.suffix))) < 1e-12
