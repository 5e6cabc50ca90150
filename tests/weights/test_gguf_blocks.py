"""Blocks of GGUF files, decoded on a device."""

import gguf
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gguf.constants import GGML_QUANT_SIZES

from negjax.weights.formats.gguf_blocks import DECODERS, Dequantised


@pytest.mark.parametrize("kind", DECODERS, ids=lambda kind: kind.name)
def test_devices_decode_blocks_to_the_last_bit(kind: gguf.GGMLQuantizationType) -> None:
    """Any bytes are blocks: what is no number is none in both."""
    size = GGML_QUANT_SIZES[kind][1]
    blocks = np.random.default_rng(0).integers(0, 256, (600, size), dtype=np.uint8)
    with np.errstate(all="ignore"):
        expected = gguf.dequantize(blocks, kind)
    found = jax.jit(Dequantised(kind, expected.shape))(jnp.asarray(blocks))
    np.testing.assert_array_equal(np.asarray(found), expected)
