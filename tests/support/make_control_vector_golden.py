"""Writes `tests/golden/control_vectors.npz`: logits of llama.cpp with and without control vectors.

    pip install xllamacpp==2026.10.11549   # llama.cpp compiled; on Linux, with a C++ compiler
    python -m tests.support.make_control_vector_golden

Tiny models of every family that llama.cpp adds control vectors to, in GGUF files, each with the
control vector that `export_shift` writes of a shift in all layers but the first. llama.cpp's own
loader reads it. Everything in float32, keys and values too.
"""

import ctypes
import dataclasses
import importlib
import importlib.metadata
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import negjax
from negjax.model.language_model import LanguageModel
from negjax.storage.given_files import read_json
from negjax.weights.conversion import to_tensors
from negjax.weights.families import family_of
from tests.support.block_shapes import tiny_of
from tests.support.gguf_conversion import ARCHITECTURES, write_gguf
from tests.support.places import STORED

CONTROL_VECTORS = STORED / "control_vectors.npz"
CASES = (
    *("llama2_mha", "mistral", "gpt2", "pythia", "granite", "gemma", "qwen2", "qwen3"),
    *("smollm3", "phi3"),
)
LAYERS = 4
# Fewer than Phi-3's window, which llama.cpp ignores.
TOKENS = np.asarray([3, 17, 42, 5, 60, 8], np.int32)

# Of the binary interface: places of 4-byte numbers in `llama_context_params`, whose defaults say
# that these are they; what is passed by value is longer than what is read.
FLASH, KEYS, VALUES = 52, 104, 108
LOADER = r"""
#include <string>
#include <vector>
struct common_control_vector_load_info { float strength; std::string fname; };
struct common_control_vector_data { int n_embd; std::vector<float> data; };
common_control_vector_data
common_control_vector_load(const std::vector<common_control_vector_load_info> &);
extern "C" int load(const char * path, float * out, int room) {
    auto found = common_control_vector_load({{1.0f, path}});
    if ((int) found.data.size() > room) return -1;
    for (size_t i = 0; i < found.data.size(); i++) out[i] = found.data[i];
    return found.data.size();
}
"""


class Params(ctypes.Structure):
    """A struct of settings, of whatever fields."""

    _fields_ = (("bytes", ctypes.c_ubyte * 512),)


def model_of(case: str) -> LanguageModel:
    """Of the family's stored settings with `LAYERS` layers, random."""
    raw = read_json(STORED / "families" / case / "config.json")
    config = family_of(raw["model_type"], case).config_from_hf(raw, case)
    deep: dict[str, Any] = {"layers": LAYERS}
    if config.windows:
        deep["windows"] = config.windows[:1] * LAYERS
    if config.unplaced_layers:
        deep["unplaced_layers"] = (3,)  # SmolLM3's every fourth.
    return tiny_of(dataclasses.replace(config, **deep), name=case)


def shift_of(lm: LanguageModel) -> np.ndarray:
    """[L, F], of all layers but the first."""
    shift = np.random.default_rng(3).normal(size=(LAYERS, lm.config.neurons))
    shift[0] = 0
    return shift


class LlamaCpp:
    """The functions of llama.cpp that are needed."""

    def __init__(self, folder: Path) -> None:
        """Compiles the caller of the loader of control vectors into a folder."""
        package = Path(str(importlib.import_module("xllamacpp").__file__)).parent
        [library] = package.glob("xllamacpp*.so")
        self.library: Any = ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
        for name in ("llama_model_load_from_file", "llama_init_from_model"):
            getattr(self.library, name).restype = ctypes.c_void_p
        for name in ("llama_model_default_params", "llama_context_default_params"):
            getattr(self.library, name).restype = Params
        self.library.llama_batch_get_one.restype = Params
        self.library.llama_get_logits.restype = ctypes.POINTER(ctypes.c_float)
        (folder / "loader.cpp").write_text(LOADER)
        # The texts of its C++ have their older form (manylinux2014).
        form = "-D_GLIBCXX_USE_CXX11_ABI=0"
        command = ["g++", "-shared", "-fPIC", form, "-o", "loader.so", "loader.cpp"]
        subprocess.run(command, cwd=folder, check=True)
        self.loader: Any = ctypes.CDLL(str(folder / "loader.so"))
        self.library.llama_backend_init()

    def last_logits(self, model: Path, tokens: np.ndarray, steering: Path | None) -> np.ndarray:
        """[V], after the last token."""
        lib = self.library
        loaded = ctypes.c_void_p(
            lib.llama_model_load_from_file(str(model).encode(), lib.llama_model_default_params())
        )
        assert loaded, model
        params = lib.llama_context_default_params()
        for place, default, wanted in ((FLASH, -1, 0), (KEYS, 1, 0), (VALUES, 1, 0)):
            number = ctypes.c_int32.from_buffer(params, place)
            assert number.value == default, "another version of the binary interface"
            number.value = wanted
        context = ctypes.c_void_p(lib.llama_init_from_model(loaded, params))
        assert context
        if steering is not None:
            self._steer(context, lib.llama_model_n_embd(loaded), steering)
        given = np.ascontiguousarray(tokens, np.int32)
        pointer = given.ctypes.data_as(ctypes.POINTER(ctypes.c_int32))
        assert lib.llama_decode(context, lib.llama_batch_get_one(pointer, len(given))) == 0
        size = lib.llama_vocab_n_tokens(ctypes.c_void_p(self._vocabulary(loaded)))
        logits = np.ctypeslib.as_array(lib.llama_get_logits(context), (size,)).copy()
        lib.llama_free(context)
        lib.llama_model_free(loaded)
        return logits

    def _vocabulary(self, loaded: ctypes.c_void_p) -> int:
        self.library.llama_model_get_vocab.restype = ctypes.c_void_p
        return int(self.library.llama_model_get_vocab(loaded))

    def _steer(self, context: ctypes.c_void_p, width: int, steering: Path) -> None:
        room = np.zeros(LAYERS * width, np.float32)
        floats = room.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        count = self.loader.load(str(steering).encode(), floats, room.size)
        assert count == (LAYERS - 1) * width, count
        # As for a command line without a range of layers.
        found = self.library.llama_set_adapter_cvec(
            context, floats, ctypes.c_size_t(count), width, 1, LAYERS
        )
        assert found == 0


def main() -> None:
    version = importlib.metadata.version("xllamacpp")
    arrays: dict[str, Any] = {"tokens": TOKENS, "made by": np.asarray(version)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        llama = LlamaCpp(folder)
        for case in CASES:
            lm = model_of(case)
            table = family_of(lm.config.family, case).table(lm.config)
            architecture = ARCHITECTURES.get(lm.config.family, lm.config.family)
            fields: Any = {
                "tokenizer__ggml__model": "no_vocab",
                f"{architecture}__vocab_size": lm.config.vocab_size,
            }
            model = folder / f"{case}.gguf"
            tensors = to_tensors(lm.params, table, lm.config)
            write_gguf(model, lm.config, tensors, without="tokenizer.ggml.tokens", **fields)
            path = negjax.export_shift(
                lm, shift_of(lm), folder / "vectors.gguf", site=lm.config.sites[-1]
            )
            arrays[f"{case} vectors"] = negjax.read_steering(path).vectors
            arrays[f"{case} plain"] = llama.last_logits(model, TOKENS, None)
            arrays[f"{case} steered"] = llama.last_logits(model, TOKENS, path)
    np.savez_compressed(CONTROL_VECTORS, **arrays)


if __name__ == "__main__":
    main()
