"""What provokes each error of exported shifts, by the pattern that stands in `docs/errors.md`."""

import dataclasses
from pathlib import Path
from typing import Any

import gguf
import numpy as np

import negjax
from tests.support.block_shapes import tiny
from tests.support.mistakes import Provoke

SHIFT = np.ones((3, 20))
LATE = SHIFT * [[0], [1], [1]]


def export(shape: str = "gpt2", shift: Any = SHIFT, path: str = "out", **more: Any) -> Path:
    return negjax.export_shift(tiny(shape), shift, path, **more)


def found(site: Any, edited: negjax.LanguageModel) -> negjax.Edited:
    none = np.zeros(1)
    numbers: dict[str, Any] = {"wanted": 0.5, "reached": True, "cosine": 1.0, "path": ()}
    return negjax.Edited(
        site=site, shift=SHIFT, lm=edited, before=none, probability=none, **numbers
    )


def control_vector(folder: Path, architecture: str, *names: str) -> negjax.Steering:
    writer = gguf.GGUFWriter(folder / "v.gguf", architecture)
    for name in names:
        writer.add_tensor(name, np.ones(4, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return negjax.read_steering(folder / "v.gguf")


def masked() -> Path:
    """One whose sublayers read a normed residual, as ModernBERT's."""
    lm = tiny("gpt2")
    lm = dataclasses.replace(lm, config=dataclasses.replace(lm.config, causal=False))
    return negjax.export_shift(lm, LATE, "v.gguf")


def two_sets(_: Path) -> Path:
    lm = tiny("gpt2")
    return export(shift=negjax.neuron_sets(lm.config, [([(0, 1)], 1.0), ([(0, 2)], 1.0)]))


CASES: dict[str, Provoke] = {
    "site 'up': what a shift there writes depends on the …": lambda _: export("gated"),
    'convention="signed": the sign differs from input to …': lambda _: export(convention="signed"),
    "clamp=True: to set a neuron, or to scale it, …": lambda _: export(clamp=True),
    "positions is …, expected all: …": lambda _: export(positions="read"),
    "format is …, expected one of gguf, safetensors, …": lambda _: export(format="pt"),
    "lm is the edited model, which holds the shift already: …": lambda _: export(
        shift=found("act", tiny("gpt2"))
    ),
    "site is …, and the shift was found at …: …": lambda _: export(
        "gated", found("product", tiny("gpt2")), site="up"
    ),
    "shift holds … sets of neurons, expected one": two_sets,
    "shift is …, expected [L, F] = … of …, or one set of …": lambda _: export(shift=SHIFT[:2]),
    "shift is 0 everywhere: there is nothing to write; …": lambda _: export(shift=0 * SHIFT),
    "shift has neurons in layer 0, after which llama.cpp …": lambda _: export(path="v.gguf"),
    "…: a norm follows what a layer writes (…), …": lambda _: export("bert", path="v.gguf"),
    "…: a masked LM, whose predictions llama.cpp does not …": lambda _: masked(),
    "…: models of family … have no bias in their …": lambda _: negjax.export_shift(
        tiny("gated", family="mistral"), SHIFT, "out", site="product"
    ),
    "…: negjax knows no GGUF files of family …, nor …": lambda _: negjax.export_shift(
        tiny("gpt2", family="opt"), LATE, "v.gguf"
    ),
    "…: general.architecture is …, expected controlvector: …": lambda folder: control_vector(
        folder, "llama"
    ),
    "…: tensor … of type … and shape …, expected …": lambda folder: control_vector(
        folder, "controlvector", "direction.0"
    ),
    "…: a control vector without vectors; …": lambda folder: control_vector(
        folder, "controlvector"
    ),
    "…: holds a …, expected the Steering that …": lambda folder: negjax.read_steering(
        negjax.save(folder / "record", [1.5])
    ),
}
