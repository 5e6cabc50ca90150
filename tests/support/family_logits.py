"""Logits of the stored models of every family, beside PyTorch's."""

import jax
import jax.numpy as jnp
import numpy as np

from negjax.storage.given_files import read_json
from negjax.weights.conversion import abstract_model, to_parameters
from negjax.weights.families import family_of
from negjax.weights.formats.safetensors_files import read_directory
from tests.support.places import STORED
from tests.support.reference import reference_logits

FOLDER = STORED / "families"
CASES = sorted(path.name for path in FOLDER.iterdir())


def error(case: str, dtype: str) -> tuple[float, bool]:
    """Largest difference of logits, over the largest |logit|; and whether the model has RoPE."""
    raw = read_json(FOLDER / case / "config.json")
    family = family_of(raw["model_type"], case)
    config = family.config_from_hf(raw, case)
    tensors = read_directory(FOLDER / case)
    golden = np.load(FOLDER / case / "logits.npz")
    weight_dtype = jnp.dtype(dtype)
    params = to_parameters(tensors, family.table(config), config, weight_dtype, origin=case)
    tokens = jnp.asarray(golden["tokens"])
    with jax.default_matmul_precision("highest"):
        logits = reference_logits(
            abstract_model(config, weight_dtype)[0], params, tokens, jnp.ones(tokens.shape, bool)
        )
    assert logits.dtype == weight_dtype
    difference = np.abs(logits - golden["logits"]).max() / np.abs(golden["logits"]).max()
    return float(difference), config.rope is not None
