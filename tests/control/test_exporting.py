"""Exported shifts: the files, read back, do what shifts at every position of a model do."""

import dataclasses
from pathlib import Path
from typing import Any

import gguf
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import negjax
from negjax.model.language_model import LanguageModel
from negjax.model.placement import Placement
from tests.support.block_shapes import SHAPES, error, precision, tiny
from tests.support.control_reference import EVERYWHERE, folded_site, some_shift
from tests.support.family_logits import stored_model
from tests.support.make_control_vector_golden import (
    CASES,
    CONTROL_VECTORS,
    TOKENS,
    model_of,
    shift_of,
)
from tests.support.reference import full_forward, reference_logits

# Plain, gated with a factor on what is added, sublayers that read the same residual by one norm and
# by two, windows, a masked LM.
FAMILIES = ("gpt2", "granite", "gptj", "pythia", "mistral_window", "modernbert")
SMALLEST: dict[str, Any] = {"wanted": 0.5, "reached": True, "cosine": 1.0, "path": ()}


def with_vectors(lm: LanguageModel, tokens: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """[T, V], by the model's own blocks, each residual that leaves one with its vector."""
    model = nnx.merge(lm.graphdef, lm.params)
    row = jnp.asarray(tokens)[None]
    positions = jnp.arange(row.shape[1])[None]
    where = Placement(positions=positions, mask=jnp.ones(row.shape, bool), prefix_mask=None)
    resid = model.embedding(row, positions)
    block_def, blocks = nnx.split(model.blocks)
    for layer, vector in enumerate(vectors):
        block = nnx.merge(block_def, jax.tree.map(lambda leaf, at=layer: leaf[at], blocks))
        resid = block(resid[:, None], where.at(layer), None)[:, 0] + jnp.asarray(vector)
    return np.asarray(model.logits(resid))[0]


def shifted(lm: LanguageModel, tokens: np.ndarray, shift: np.ndarray | None) -> np.ndarray:
    """[T, V], by plain NumPy, each token's neurons shifted."""
    site = lm.config.sites[-1]
    return full_forward(lm, tokens, site=site, shift=shift, read=EVERYWHERE)[0]


def drawn(lm: LanguageModel, seed: int = 0) -> np.ndarray:
    """[L, F]."""
    return np.random.default_rng(seed).normal(size=(lm.config.layers, lm.config.neurons))


@pytest.mark.parametrize("case", FAMILIES)
def test_vectors_do_what_the_shift_does(case: str, tmp_path: Path) -> None:
    with precision("float64"):
        lm = stored_model(case, "float64")
        shift, tokens = drawn(lm), np.arange(3, 11)
        path = negjax.export_shift(lm, shift, tmp_path / "v.safetensors", site=lm.config.sites[-1])
        found = negjax.read_steering(path)
        expected = shifted(lm, tokens, shift)
        assert found.vectors.dtype == np.float64
        assert error(with_vectors(lm, tokens, found.vectors), expected) < 1e-13
        assert error(shifted(lm, tokens, None), expected) > 1e-2
    assert (found.model, found.fingerprint) == (case, lm.fingerprint)
    assert found.added_to == "the residual leaving each layer, at every position"


@pytest.mark.parametrize("shape", SHAPES)
def test_a_directory_is_a_model_with_the_shift_in_it(shape: str, tmp_path: Path) -> None:
    lm, shift = tiny(shape), some_shift()
    path = negjax.export_shift(lm, shift, tmp_path / "model-1.5", site=folded_site(shape))
    found = negjax.load(path, precision="float32")
    tokens = np.asarray([3, 5, 7, 9, 4])
    row = jnp.asarray(tokens)[None]
    logits = reference_logits(found.graphdef, found.params, row, jnp.ones(row.shape, bool))
    assert error(np.asarray(logits)[0], shifted(lm, tokens, shift)) < 3e-6


@pytest.mark.parametrize("case", CASES)
def test_llama_cpp_answers_as_the_shifted_model(case: str, tmp_path: Path) -> None:
    """`tests/support/make_control_vector_golden.py` asked it, with the same file."""
    lm, shift = model_of(case), shift_of(model_of(case))
    path = negjax.export_shift(lm, shift, tmp_path / "v.gguf", site=lm.config.sites[-1])
    with np.load(CONTROL_VECTORS) as golden:
        assert (golden["tokens"] == TOKENS).all()
        plain, steered = golden[f"{case} plain"], golden[f"{case} steered"]
        assert error(negjax.read_steering(path).vectors, golden[f"{case} vectors"]) < 1e-6
    # llama.cpp rounds what GELU reads and returns to half precision.
    limit = 3e-3 if "gelu" in lm.config.activation else 1e-6
    assert error(plain, shifted(lm, TOKENS, None)[-1]) < limit
    assert error(steered, shifted(lm, TOKENS, shift)[-1]) < limit
    assert error(steered, plain) > 0.1
    # A layer too early, or too late.
    for by in (-1, 1):
        assert error(steered, shifted(lm, TOKENS, np.roll(shift, by, 0))[-1]) > 0.1


def test_a_control_vector_is_what_llama_cpp_reads(tmp_path: Path) -> None:
    lm, shift = tiny("gated"), some_shift()
    shift[0] = 0
    path = negjax.export_shift(lm, shift, tmp_path / "v.GGUF", site="product")
    reader = gguf.GGUFReader(path)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    assert fields["general.architecture"] == "controlvector"
    assert fields["controlvector.model_hint"] == "llama"
    assert fields["controlvector.layer_count"] == 2
    assert [tensor.name for tensor in reader.tensors] == ["direction.1", "direction.2"]
    kernel = np.asarray(lm.params["blocks"]["ffn"]["down"]["kernel"][...], np.float64)
    for layer, tensor in enumerate(reader.tensors, 1):
        assert tensor.tensor_type == gguf.GGMLQuantizationType.F32
        assert error(tensor.data, shift[layer] @ kernel[layer]) < 1e-6
    found = negjax.read_steering(path)
    assert (found.model, found.fingerprint) == ("gated", lm.fingerprint)
    assert not found.vectors[0].any()


def test_a_shift_may_be_an_array_a_set_or_what_was_found(tmp_path: Path) -> None:
    lm, shift = tiny("gpt2"), np.zeros((3, 20))
    shift[1, 3], shift[2, 5] = 0.5, -2.0
    sets = negjax.neuron_sets(lm.config, [([(1, 3), (2, 5), (2, 5)], [0.5, -1.0, -1.0])])
    nothing = np.zeros(1)
    edited = negjax.Edited(
        site="act", shift=shift, lm=tiny("gated"), before=nothing, probability=nothing, **SMALLEST
    )
    found = [
        negjax.read_steering(negjax.export_shift(lm, given, tmp_path / "v", "safetensors"))
        for given in (shift, sets, edited)
    ]
    assert found[0].vectors[1:].any(1).all()
    for other in found[1:]:
        np.testing.assert_array_equal(other.vectors, found[0].vectors)
    # Any record is read by `read`.
    assert isinstance(negjax.read(tmp_path / "v"), negjax.Steering)


def test_vectors_of_others_are_read(tmp_path: Path) -> None:
    write(tmp_path / "v.gguf", {"direction.2": np.ones(4, np.float32)})
    found = negjax.read_steering(tmp_path / "v.gguf")
    assert found.vectors.tolist() == [[0] * 4, [0] * 4, [1] * 4]
    assert (found.model, found.fingerprint) == ("", "")


def write(path: Path, tensors: dict[str, np.ndarray], architecture: str = "controlvector") -> Path:
    writer = gguf.GGUFWriter(path, architecture)
    for name, values in tensors.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({}, r"v.gguf: a control vector without vectors"),
        ({"direction.0": np.ones(4, np.float32)}, r"tensor 'direction.0' .* expected direction.1"),
        ({"direction.10000": np.ones(4, np.float32)}, r"tensor 'direction.10000'"),
        ({"direction.1": np.ones(4, np.float16)}, r"of type F16 and shape \[4\]"),
        ({"direction.1": np.ones((2, 4), np.float32)}, r"of type F32 and shape \[2, 4\]"),
        (
            {"direction.1": np.ones(4, np.float32), "direction.2": np.ones(5, np.float32)},
            r"tensor 'direction.2' .* shape \[5\]",
        ),
    ],
)
def test_files_that_llama_cpp_does_not_take_are_refused(
    tensors: dict[str, np.ndarray], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        negjax.read_steering(write(tmp_path / "v.gguf", tensors))


def changed(shape: str, **changes: Any) -> LanguageModel:
    """Enough of a model to be refused: another config, the same parameters."""
    lm = tiny(shape)
    return dataclasses.replace(lm, config=dataclasses.replace(lm.config, **changes))


@pytest.mark.parametrize(
    ("lm", "more", "message"),
    [
        (tiny("gated"), {}, r"site 'up': .* pass site='product'"),
        (tiny("gpt2"), {"site": "product"}, r"site 'product': a model with plain"),
        (tiny("gpt2"), {"convention": "signed"}, r'^convention="signed": the sign differs'),
        (tiny("gpt2"), {"clamp": True}, r"^clamp=True: to set a neuron, or to scale it"),
        (tiny("gpt2"), {"positions": "read"}, r"^positions is 'read', expected all"),
        (tiny("gpt2"), {"format": "pt"}, r"^format is 'pt', expected one of gguf, safe"),
        (tiny("gpt2"), {"format": "gguf"}, r"^shift has neurons in layer 0"),
        (tiny("bert"), {"format": "gguf"}, r"bert: a norm follows .* \(post\).* a directory"),
        (tiny("bert"), {"format": "safetensors"}, r"bert: a norm follows"),
        (changed("gpt2", norm_placement="sandwich"), {"format": "gguf"}, r"nothing but negjax"),
        (changed("gpt2", norm_placement="output"), {"format": "safetensors"}, r"\(output\)"),
        (changed("gpt2", causal=False), {"format": "gguf"}, r"gpt2: a masked LM, whose"),
        (changed("gpt2", family="opt"), {"format": "gguf", "shift": 1}, r"no GGUF files of fam"),
        (tiny("experts"), {"site": "product"}, r"experts: what a shift writes in a mixture"),
        (tiny("gated", family="mistral"), {"site": "product"}, r"have no bias in their feed"),
        (tiny("gpt2"), {"shift": np.zeros((3, 20))}, r"^shift is 0 everywhere"),
        (tiny("gpt2"), {"shift": np.ones((2, 20))}, r"^shift is \[2, 20\], expected \[L, F\] ="),
    ],
)
def test_what_no_file_can_say_is_refused(
    lm: LanguageModel, more: dict[str, Any], message: str, tmp_path: Path
) -> None:
    late = np.zeros((3, 20))
    late[1] = 1
    given = more.get("shift", some_shift())
    options = {**more, "shift": late if isinstance(given, int) else given}
    with pytest.raises(ValueError, match=message):
        negjax.export_shift(lm, path=tmp_path / "out", **options)
    assert list(tmp_path.iterdir()) == []


def test_found_shifts_are_refused_where_they_do_not_belong(tmp_path: Path) -> None:
    lm, shift = tiny("gated"), some_shift()
    nothing = np.zeros(1)
    about: dict[str, Any] = {**SMALLEST, "shift": shift, "before": nothing, "probability": nothing}
    edited = negjax.Edited(site="product", lm=lm, **about)
    with pytest.raises(ValueError, match=r"^lm is the edited model, which holds the shift already"):
        negjax.export_shift(lm, edited, tmp_path / "out")
    other = dataclasses.replace(edited, lm=tiny("gpt2"))
    with pytest.raises(ValueError, match=r"^site is 'up', and the shift was found at 'product'"):
        negjax.export_shift(lm, other, tmp_path / "out", site="up")
    sets = negjax.neuron_sets(lm.config, [([(0, 1)], 1.0), ([(0, 2)], 1.0)])
    with pytest.raises(ValueError, match=r"^shift holds 2 sets of neurons, expected one"):
        negjax.export_shift(lm, sets, tmp_path / "out", site="product")
    negjax.save(tmp_path / "list", [1.0])
    with pytest.raises(ValueError, match=r"holds a list, expected the Steering"):
        negjax.read_steering(tmp_path / "list")
    with pytest.raises(OSError, match=r"the shift could not be written: File exists"):
        negjax.export_shift(lm, shift, tmp_path / "list", site="product")
