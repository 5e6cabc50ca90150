"""Logits of every family against PyTorch's, stored by `make_family_goldens.py`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from negjax.storage.given_files import read_json
from negjax.weights.conversion import abstract_model, to_parameters
from negjax.weights.families import FAMILIES, family_of
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


def test_every_family_has_a_case() -> None:
    assert {read_json(FOLDER / case / "config.json")["model_type"] for case in CASES} == set(
        FAMILIES
    )


@pytest.mark.parametrize("case", CASES)
def test_float32_logits_are_pytorchs(case: str) -> None:
    assert error(case, "float32")[0] < 1e-5


@pytest.mark.parametrize("case", CASES)
def test_float64_logits_are_pytorchs(case: str) -> None:
    with jax.enable_x64(True):
        difference, turns = error(case, "float64")
    # PyTorch and XLA round RoPE's float32 sines differently in the last place.
    assert difference < (1e-6 if turns else 1e-12)
