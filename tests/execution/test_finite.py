"""Numbers that are none stop at the door: weights when they are loaded, results before they are
handed out."""

import dataclasses
import functools
import warnings
from collections.abc import Callable
from pathlib import Path

import jax
import ml_dtypes
import numpy as np
import pytest
from flax import nnx

import negjax
import negjax.estimators
from negjax.control.scores import next_token_kl, overall, perplexity
from negjax.control.steering import steer_probes
from negjax.control.turning import turn
from negjax.execution.passes import activations
from negjax.inputs.neurons import neuron_sets
from negjax.measurements.answers import plain_answers
from negjax.measurements.writes import write_norms
from negjax.model.language_model import LanguageModel
from negjax.weights.formats import safetensors_files
from negjax.weights.loading import load
from negjax.weights.saving import save_pretrained
from tests.support.block_shapes import tiny, tiny_probes
from tests.support.tiny_models import LLAMA, as_source, convert, language_model, tensors_of

UP = "model.layers.1.mlp.up_proj.weight"
NORM = "model.norm.weight"


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(np.nan, "float32"), (np.inf, "float32"), (-np.inf, "bfloat16"), (np.nan, "float64")],
)
def test_weights_that_are_no_numbers_are_named_and_counted(
    value: float, dtype: str, tmp_path: Path
) -> None:
    save_pretrained(language_model(LLAMA), tmp_path)
    tensors = {name: array.copy() for name, array in tensors_of(LLAMA).items()}
    tensors[UP][3, 5], tensors[UP][7, :3], tensors[NORM][0] = value, value, value
    safetensors_files.write_file(tmp_path / safetensors_files.SINGLE, tensors)
    message = (
        rf"(?s)weights are not finite in {dtype}:\ntensors \(2\):\n  {UP}: 4 of 96 numbers\n  "
        rf"{NORM}: 1 of 8 numbers\nfetch the file again"
    )
    with jax.enable_x64(dtype == "float64"), pytest.raises(ValueError, match=message):
        load(tmp_path, dtype=dtype)


def test_float16_that_overflowed_when_it_was_saved_is_named(tmp_path: Path) -> None:
    save_pretrained(language_model(LLAMA), tmp_path)
    wide = {name: array.copy() for name, array in tensors_of(LLAMA).items()}
    wide[UP][0, 0] = 1e6
    with np.errstate(over="ignore"):
        narrow = {name: array.astype(np.float16) for name, array in wide.items()}
    safetensors_files.write_file(tmp_path / safetensors_files.SINGLE, narrow)
    with pytest.raises(ValueError, match=rf"{UP}: 1 of 96 .*\n.*float16 files that overflowed"):
        load(tmp_path)


def test_casting_that_overflows_is_named() -> None:
    """A float64 file's number that float32 does not hold."""
    wide = {name: array.astype(np.float64) for name, array in tensors_of(LLAMA).items()}
    wide[UP][0, 0] = 1e300
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=rf"not finite in float32:\n.*\n  {UP}: 1 of 96"):
            convert(as_source(wide), LLAMA)


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
def test_large_weights_whose_sum_overflows_are_fine(dtype: type) -> None:
    large = {name: array.copy() for name, array in tensors_of(LLAMA).items()}
    large[UP][:] = 3e38
    found = convert(as_source({n: a.astype(dtype) for n, a in large.items()}), LLAMA)
    assert all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves(found))


# ---- Results.


def overflowing(shape: str) -> LanguageModel:
    """Finite weights, with writes of the last layer that the norm after it cannot square."""
    lm = tiny(shape)
    flat = nnx.to_flat_state(lm.params)
    huge = [
        (key, leaf.replace(leaf.get_value() * 1e30))
        if ".".join(map(str, key)) == "blocks.ffn.down.kernel"
        else (key, leaf)
        for key, leaf in flat
    ]
    return dataclasses.replace(lm, params=nnx.from_flat_state(huge))


def calls(lm: LanguageModel) -> dict[str, Callable[[], object]]:
    probes = tiny_probes(lm).select_target(0)
    neurons = np.asarray([[0, 1], [2, 2]])
    sets = neuron_sets(lm.config, [(neurons, 0.1)])
    found: dict[str, Callable[[], object]] = {
        "neurgrad": lambda: negjax.neurgrad(lm, probes),
        "gradient_batches": lambda: list(negjax.gradient_batches(lm, probes, few_shapes=True)),
        "effects": lambda: negjax.effects(lm, probes, neurons),
        "sweep": lambda: negjax.sweep(lm, probes, neurons, np.asarray([0.1, 0.2])),
        "spread": lambda: negjax.sweep(lm, probes, neurons, np.asarray([0.1]), spread=True),
        "response": lambda: negjax.response(lm, probes, neurons),
        "curvature": lambda: negjax.curvature(lm, probes, neurons),
        "joint": lambda: negjax.joint(lm, probes, sets),
        "enhance": lambda: negjax.enhance(lm, probes, 2, volume=0.1),
        "turn": lambda: turn(lm, probes, neurons, np.ones(2)),
        "plain_answers": lambda: plain_answers(lm, probes),
        "kl": lambda: next_token_kl(lm, lm, probes),
        "steer": lambda: steer_probes(lm, probes, 0.5, unrelated=probes),
    }
    if lm.config.causal:
        found["perplexity"] = lambda: perplexity(lm, ["w3 w4 w5"])
    for method in negjax.estimators.ESTIMATORS:
        found[f"estimate {method}"] = functools.partial(negjax.estimate, lm, probes, method)
    return found


@pytest.mark.parametrize("shape", ["gated", "bert"])
def test_a_pass_that_overflows_gives_no_number(shape: str) -> None:
    for name, call in calls(overflowing(shape)).items():
        with pytest.raises(ValueError, match=r"(?s)the model overflows in float32; pass smaller"):
            assert call() is None, name


def test_norms_and_activations_that_overflow_are_refused() -> None:
    lm = overflowing("gated")
    for call in (activations, write_norms):
        with pytest.raises(ValueError, match=r"of prompt 0 at \[.*\] is (inf|nan).* overflows in"):
            call(lm, tiny_probes(lm))


@pytest.mark.parametrize("shift", [1e30, -1e38])
def test_a_shift_that_overflows_is_named(shift: float) -> None:
    """Without a word its square would be infinite, the norm's output 0, and P that of no prompt."""
    lm = tiny("gated")
    probes = tiny_probes(lm)
    message = rf"under a shift of {shift:g} at neuron \(layer 1, index 4\) of prompt 0 .*overflows"
    with pytest.raises(ValueError, match=message.replace("+", r"\+")):
        negjax.sweep(lm, probes, np.asarray([[1, 4]]), np.asarray([0.5, shift]), target=0)
    sets = neuron_sets(lm.config, [(np.asarray([[1, 4]]), shift)])
    with pytest.raises(ValueError, match=r"output under a set of shifts of prompt 0 .*overflows"):
        negjax.joint(lm, probes, sets, target=0)


def test_derivatives_and_shares_that_are_no_numbers_are_refused() -> None:
    for first, second, name in ((np.nan, 1.0, "first"), (1.0, np.inf, "second")):
        with pytest.raises(ValueError, match=rf"{name} holds (nan|inf), expected finite"):
            negjax.linear_range(np.asarray([first]), np.asarray([second]), 0.1)
    with pytest.raises(ValueError, match=r"paraphrase is nan, expected a finite number"):
        overall(0.5, float("nan"), 0.5)
