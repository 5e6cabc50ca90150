"""Weights that stay in their files: the same answers, read layer by layer."""

import dataclasses
import functools
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gguf
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import negjax
from negjax.execution.batching import split_probes
from negjax.execution.passes import unperturbed_pass
from negjax.execution.running import needed_bytes
from negjax.model.language_model import LanguageModel
from negjax.model.streamed import is_streamed, leaves
from negjax.process.memory import DEFAULT_BUDGET_BYTES
from negjax.process.notices import Notice
from negjax.storage.file_parts import Allocate
from negjax.weights import residence
from negjax.weights.conversion import to_parameters, to_tensors
from negjax.weights.families import FAMILIES
from negjax.weights.formats import gguf_files
from negjax.weights.streaming import Shelf
from negjax.weights.tensors import Form, LazyTensor
from tests.support import checkpoints
from tests.support.block_shapes import precision
from tests.support.checkpoints import text
from tests.support.every_answer import answers, answers_along_directions
from tests.support.family_logits import CASES, stored_model
from tests.support.gguf_conversion import write_gguf
from tests.support.made_probes import asked
from tests.support.tiny_models import LLAMA, as_source, language_model, tensors_of

FEW = ("gpt2", "bert", "gemma2", "qwen3_moe")
"""Biases, all tokens as the suffix, norms of all kinds, windows, experts."""


@pytest.mark.slow
@pytest.mark.parametrize("case", FEW)
def test_streamed_answers_are_the_resident_ones(case: str) -> None:
    with precision("float64"):
        held, streamed = (stored_model(case, "float64", streamed=s) for s in (False, True))
        assert any(map(is_streamed, leaves(streamed.params)))
        assert streamed.parameter_count == held.parameter_count
        for ours, expected in zip(answers(streamed), answers(held), strict=True):
            np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-13)


def test_streamed_answers_along_directions_are_the_resident_ones() -> None:
    with precision("float64"):
        both = [stored_model("gemma2", "float64", streamed=streamed) for streamed in (False, True)]
        for expected, ours in zip(*map(answers_along_directions, both), strict=True):
            assert np.abs(expected).max() > 0
            np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("case", CASES)
def test_every_family_streams(case: str) -> None:
    """Layer by layer, what a program is given is what is held."""
    with precision("float64"):
        held, streamed = (stored_model(case, "float64", streamed=s) for s in (False, True))
        pairs = list(zip(leaves(streamed.params), leaves(held.params), strict=True))
        layers = np.arange(held.config.layers)
        assert any(is_streamed(given) for given, _ in pairs)
        read = jax.jit(
            lambda: [jax.lax.map(given.at, layers) for given, _ in pairs if is_streamed(given)]
        )()
        for given, expected in pairs:
            found = read.pop(0) if is_streamed(given) else given
            np.testing.assert_array_equal(found, expected)
        assert not read


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return checkpoints.write(tmp_path / "tiny", "tiny")


def encoded(lm: LanguageModel) -> negjax.Probes:
    return negjax.encode(lm, [text(1, 2, 3), text(7, 8)], [[text(4)], [text(5)]])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_directory_streams(folder: Path, dtype: str) -> None:
    held = negjax.load(folder, dtype=dtype, weights="resident")
    streamed = negjax.load(folder, dtype=dtype, weights="streamed")
    assert streamed.dtype == held.dtype and not any(map(is_streamed, leaves(held.params)))
    gradients = [negjax.neurgrad(lm, encoded(lm)).computed for lm in (held, streamed)]
    np.testing.assert_allclose(gradients[1], gradients[0], rtol=2e-4, atol=1e-9)


def test_fingerprints_are_of_all_bytes(folder: Path) -> None:
    found = {negjax.load(folder, weights=w).fingerprint for w in ("resident", "streamed")}
    assert negjax.load(folder, weights="streamed").fingerprint in found and len(found) == 2
    shard = folder / "model-00002-of-00004.safetensors"
    data = bytearray(shard.read_bytes())
    data[-1000] ^= 1
    shard.write_bytes(data)
    assert negjax.load(folder, weights="streamed").fingerprint not in found


def test_blocks_of_gguf_files_stream(tmp_path: Path) -> None:
    path = checkpoints.write(tmp_path / "made", "tiny", as_gguf=True)
    held, streamed = (negjax.load(path, weights=w) for w in ("resident", "streamed"))
    probes = negjax.encode(held, [text(1, 2, 3)], [[" " + text(4)]])
    gradients = [negjax.neurgrad(lm, probes).computed for lm in (held, streamed)]
    assert np.abs(gradients[0]).max() > 0
    np.testing.assert_allclose(gradients[1], gradients[0], rtol=2e-4, atol=1e-9)


def test_layers_of_different_types_stream(tmp_path: Path) -> None:
    """As in files of a mixture of types, where some layers' matrices are more exact."""
    config = dataclasses.replace(LLAMA, width=32, neurons=64, head_width=16)
    kinds = {"blk.0": gguf.GGMLQuantizationType.Q8_0, "blk.1": gguf.GGMLQuantizationType.Q4_0}
    path = tmp_path / "m.gguf"
    write_gguf(path, config, tensors_of(config), kinds=kinds)
    file = gguf_files.open_file(path)
    assert {name: file.tensors[f"{name}.ffn_up.weight"].kind for name in kinds} == kinds
    config = gguf_files.read_config(file)
    tensors, table = gguf_files.read_tensors(file, config), FAMILIES["llama"].table(config)
    gradients = []
    for streamed in (False, True):
        params = to_parameters(
            tensors, table, config, jnp.dtype("float32"), origin="", streamed=streamed
        )
        lm = dataclasses.replace(language_model(config), params=params)
        gradients.append(negjax.neurgrad(lm, asked(lm)).computed)
    assert np.abs(gradients[0]).max() > 0
    np.testing.assert_allclose(gradients[1], gradients[0], rtol=2e-4, atol=1e-9)


def shelf_of(layers: int, reads: list[int], pool: ThreadPoolExecutor) -> Shelf:
    """Of layers that hold their own number; notes what is read."""

    def stored(layer: int, allocate: Allocate) -> np.ndarray:
        reads.append(layer)
        place = allocate(4).view(np.int32)
        place[:] = layer
        return place

    form = Form((1,), "int32")
    each = [[LazyTensor((1,), functools.partial(stored, n), form)] for n in range(layers)]
    return Shelf(each, pool)


def test_the_next_layer_is_read_on_the_way() -> None:
    reads: list[int] = []
    with ThreadPoolExecutor(1) as pool:
        shelf = shelf_of(6, reads, pool)
        ahead = []
        for layer in [*range(6), *range(5, -1, -1)]:
            assert shelf.take(layer).item() == layer
            pool.submit(lambda: None).result()
            ahead.append(len(reads))
        # Up and down, each layer once, but that the last two are there for the way down.
        assert reads == [0, 1, 2, 3, 4, 5, 3, 2, 1, 0]
        assert ahead == [2, 3, 4, 5, 6, 6, 6, 7, 8, 9, 10, 10]
        assert shelf.take(3).item() == 3 and shelf.take(1).item() == 1


def test_what_was_given_stays_whatever_is_taken_next() -> None:
    """As where two programs run at once."""
    with ThreadPoolExecutor(2) as pool:
        shelf = shelf_of(9, [], pool)
        given = [shelf.take(layer) for layer in (4, 5, 0, 8, 8, 2, 7, 1)]
        assert [one.item() for one in given] == [4, 5, 0, 8, 8, 2, 7, 1]
        assert [shelf.take(layer).item() for layer in (5, 6, 7, 0, 8, 3)] == [5, 6, 7, 0, 8, 3]


def test_files_that_go_are_named_and_read_again_when_back(folder: Path) -> None:
    lm = negjax.load(folder, weights="streamed")
    before = negjax.activations(lm, encoded(lm))
    away = {file: file.rename(file.with_suffix(".away")) for file in folder.glob("*.safetensors")}
    with pytest.raises(FileNotFoundError, match=r"^.*model-0000.*: the file has gone while its"):
        negjax.activations(lm, encoded(lm))
    for file, moved in away.items():
        moved.rename(file)
    np.testing.assert_array_equal(negjax.activations(lm, encoded(lm)), before)


def test_files_that_shrink_are_named(folder: Path) -> None:
    lm = negjax.load(folder, weights="streamed")
    for file in folder.glob("*.safetensors"):
        os.truncate(file, 5000)
    with pytest.raises(ValueError, match=r"^.*model-0000.*: ends at byte 5,000, its header says"):
        negjax.activations(lm, encoded(lm))


def test_weights_that_are_not_finite_are_refused(folder: Path) -> None:
    shard = folder / "model-00001-of-00004.safetensors"
    data = bytearray(shard.read_bytes())
    data[-2:] = b"\x80\x7f"
    shard.write_bytes(data)
    with pytest.raises(ValueError, match=r"not finite in float32:\n.*\n  model.layers.0.mlp.down"):
        negjax.load(folder, weights="streamed")


def test_what_needs_all_layers_at_once_says_so(folder: Path, tmp_path: Path) -> None:
    lm = negjax.load(folder, weights="streamed")
    with pytest.raises(ValueError, match=r"blocks.*kernel is streamed.*weights='resident'"):
        negjax.save_pretrained(lm, tmp_path / "copy")


def test_auto_streams_what_does_not_fit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = negjax.load(folder)
    assert not any(map(is_streamed, leaves(held.params)))
    monkeypatch.setattr(residence, "device_bytes", lambda: DEFAULT_BUDGET_BYTES + 4 * 10**6)
    with pytest.warns(Notice, match=r"tiny: its weights take 0.0 GB and 2.2 GB are free: they are"):
        streamed = negjax.load(folder)
    assert any(map(is_streamed, leaves(streamed.params)))
    assert residence.held_bytes(held.config, jnp.dtype("float32")) == 4 * held.parameter_count
    with pytest.raises(ValueError, match="weights is 'disk', expected one of auto, resident, str"):
        negjax.load(folder, weights="disk")


def test_memory_of_a_streamed_pass_is_a_layers(tmp_path: Path) -> None:
    """What the compiler counts does not grow with the number of layers."""
    needed = []
    for layers in (2, 8):
        config = dataclasses.replace(LLAMA, width=64, neurons=256, layers=layers)
        lm = language_model(config)
        tensors = as_source(to_tensors(lm.params, FAMILIES["llama"].table(config), config))
        params = to_parameters(
            tensors,
            FAMILIES["llama"].table(config),
            config,
            jnp.dtype("float32"),
            origin="",
            streamed=True,
        )
        streamed = dataclasses.replace(lm, params=params)
        probes = asked(streamed)
        split = split_probes(config, probes, np.arange(2), 0)
        matrices = sum(leaf.nbytes for leaf in leaves(params) if is_streamed(leaf))
        needed.append((needed_bytes(streamed, unperturbed_pass, split), matrices))
    (two, _), (eight, matrices) = needed
    assert eight - two < matrices / 8


@pytest.mark.slow
def test_streamed_models_are_steered_and_edited(folder: Path) -> None:
    held, streamed = (negjax.load(folder, weights=w) for w in ("resident", "streamed"))
    fact, other = (negjax.encode(held, [p], [text(4)]) for p in (text(1, 2, 3), text(9, 8)))
    steered = [
        negjax.steer(lm, text(1, 2, 3), text(4), 0.2, unrelated=other).probability
        for lm in (held, streamed)
    ]
    np.testing.assert_allclose(steered[1], steered[0], rtol=1e-3)
    edited = [negjax.edit(lm, fact, 0.2, preserve=other) for lm in (held, streamed)]
    np.testing.assert_allclose(edited[1].shift, edited[0].shift, rtol=1e-3, atol=1e-4)
    assert edited[1].lm.fingerprint != streamed.fingerprint


def test_whether_bfloat16_is_widened_at_once_is_known() -> None:
    """Of resident weights; that copy is what `auto` counts beside them."""
    config = dataclasses.replace(LLAMA, width=64, neurons=256, layers=16)
    lm = language_model(config, "bfloat16")
    split = split_probes(config, asked(lm), np.arange(2), 0)
    needed = needed_bytes(lm, unperturbed_pass, split)
    of_float32 = needed_bytes(language_model(config), unperturbed_pass, split)
    copies = 4 * sum(leaf.size for leaf in leaves(lm.params) if leaf.ndim > 2)
    assert (needed - of_float32 > 0.9 * copies) == residence.widens_all()
