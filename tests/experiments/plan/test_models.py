"""Configs without weights, meshes and what a device holds of a model."""

import dataclasses
import json
import math
from pathlib import Path

import jax
import pytest
from flax import nnx

from experiments.plan import models
from negjax.model.config import ModelConfig
from negjax.model.meshes import MeshShape
from negjax.weights import loading
from negjax.weights.families import SHORT_NAMES
from negjax.weights.saving import save_pretrained
from tests.support.block_shapes import BERT, EXPERTS, GATED, GPT2, tiny
from tests.support.published_configs import PUBLISHED


@pytest.mark.parametrize("name", models.shipped())
def test_shipped_configs_are_the_published_ones(name: str) -> None:
    raw, parameters = PUBLISHED[SHORT_NAMES[name]]
    assert json.loads(models.shipped()[name].read_text()) == raw
    lm = models.without_weights(name, models.read_config(name, []), "bfloat16", "highest")
    assert lm.parameter_count == parameters
    assert models.bytes_of(lm.params) == 2 * parameters


def test_configs_of_files(tmp_path: Path) -> None:
    lm = tiny("gated")
    save_pretrained(lm, tmp_path)
    assert models.read_config(str(tmp_path), []) == lm.config
    assert models.read_config(str(tmp_path / "config.json"), []) == lm.config
    embedded = models.read_config(loading.EMBEDDED, [])
    assert (embedded.layers, embedded.neurons) == (30, 1536)
    assert not models.read_config(loading.FACTS_BERT, []).causal


LARGE = models.read_config("llama-2-70b", [])


@pytest.mark.parametrize(
    ("config", "devices"),
    [(GATED, 2), (GATED, 4), (GPT2, 2), (BERT, 4), (LARGE, 8), (LARGE, 16), (EXPERTS, 5)],
)
def test_a_share_is_what_the_axes_of_the_parameters_say(config: ModelConfig, devices: int) -> None:
    """Heads, neurons (I: an expert's) and vocabulary are divided, as far as there are so many."""
    if config is EXPERTS:
        config = dataclasses.replace(config, heads=10, kv_heads=5)
    share = models.share_of(config, MeshShape(1, devices))

    def leaves(config: ModelConfig) -> dict[str, nnx.Param]:
        flat = nnx.to_flat_state(models.without_weights("", config, "float32", "highest").params)
        return {".".join(map(str, key)): leaf for key, leaf in flat}

    whole, held = leaves(config), leaves(share)
    assert whole.keys() == held.keys()
    for name, leaf in whole.items():
        axes = "L" * name.startswith("blocks") + leaf.get_metadata()["axes"]
        shape = leaf.get_value().shape
        assert len(axes) == len(shape), name
        expected = [
            -(-size // devices)
            if axis == "V"
            else size // math.gcd(size, devices)
            if axis in "HGFI"
            else size
            for axis, size in zip(axes, shape, strict=True)
        ]
        assert list(held[name].get_value().shape) == expected, name


def test_no_weights_are_made() -> None:
    lm = models.without_weights("large", LARGE, "float32", "highest")
    assert all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(lm.params))


def test_a_config_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none of .*llama-2-70b"):
        models.read_config("llama-9", [])
    with pytest.raises(FileNotFoundError, match=r"config.json.*no such file"):
        models.read_config(str(tmp_path), [])
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="not JSON"):
        models.read_config(str(tmp_path), [])
    (tmp_path / "config.json").write_text('{"model_type": "mamba"}')
    with pytest.raises(ValueError, match="model_type is 'mamba'; negjax knows"):
        models.read_config(str(tmp_path / "config.json"), [])
