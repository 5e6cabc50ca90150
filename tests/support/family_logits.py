"""The stored models of every family, and their logits beside PyTorch's."""

import jax
import jax.numpy as jnp
import numpy as np

from negjax.model.language_model import LanguageModel
from negjax.storage.given_files import read_json
from negjax.weights.conversion import abstract_model, to_parameters
from negjax.weights.families import family_of
from negjax.weights.formats.safetensors_files import read_directory
from tests.support.places import STORED
from tests.support.reference import reference_logits
from tests.support.tiny_models import tokenizer

FOLDER = STORED / "families"
CASES = sorted(path.name for path in FOLDER.iterdir())


def stored_model(case: str, dtype: str, *, streamed: bool = False) -> LanguageModel:
    """A stored model; float64 needs `jax.enable_x64`."""
    raw = read_json(FOLDER / case / "config.json")
    family = family_of(raw["model_type"], case)
    config, kind = family.config_from_hf(raw, case), jnp.dtype(dtype)
    tensors = read_directory(FOLDER / case)
    return LanguageModel(
        name=case,
        config=config,
        graphdef=abstract_model(config, kind)[0],
        params=to_parameters(
            tensors, family.table(config), config, kind, origin=case, streamed=streamed
        ),
        tokenizer=tokenizer(),
        fingerprint="",
    )


def error(case: str, dtype: str) -> tuple[float, bool]:
    """Largest difference of logits, over the largest |logit|; and whether the model has RoPE."""
    lm = stored_model(case, dtype)
    golden = np.load(FOLDER / case / "logits.npz")
    tokens = jnp.asarray(golden["tokens"])
    with jax.default_matmul_precision("highest"):
        logits = reference_logits(lm.graphdef, lm.params, tokens, jnp.ones(tokens.shape, bool))
    assert logits.dtype == lm.dtype
    difference = np.abs(logits - golden["logits"]).max() / np.abs(golden["logits"]).max()
    return float(difference), lm.config.rope is not None
