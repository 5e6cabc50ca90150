"""What provokes each error of directions, by the pattern in `docs/errors.md`."""

from pathlib import Path
from typing import Any, cast

import numpy as np
from safetensors.numpy import save_file

import negjax
from tests.support.block_shapes import tiny, tiny_probes
from tests.support.mistakes import Provoke

VECTORS = np.ones((2, 16))


def swept(layer: Any = 0, width: int = 16, **asked: Any) -> negjax.Sweep:
    lm = tiny("gated")
    along = negjax.directions(layer, np.ones((2, width)))
    asked = {"convention": "additive", "target": 0, **asked}
    return negjax.sweep(lm, tiny_probes(lm), along, [1.0], **asked)


def sets(*members: Any) -> negjax.NeuronSets:
    return negjax.direction_sets(negjax.directions(0, VECTORS), list(members))


def clamped(_: Path) -> negjax.Joint:
    lm = tiny("gated")
    return negjax.joint(lm, tiny_probes(lm), sets(([0], 1.0)), clamp=True, target=0)


def no_gradients() -> negjax.ResidualGradients:
    """Of one prompt and output of a model of 3 layers, all 0."""
    return negjax.ResidualGradients(
        place="residual_after",
        output="logit",
        probability=np.zeros((1, 1)),
        residual=np.zeros((1, 3, 16)),
        gradient=np.zeros((1, 1, 3, 16)),
    )


def from_archive(**arrays: np.ndarray) -> Provoke:
    def read(folder: Path) -> negjax.Directions:
        np.savez(folder / "sae.npz", **cast(Any, arrays))
        return negjax.read_directions(folder / "sae.npz", 0)

    return read


def cut_archive(folder: Path) -> negjax.Directions:
    (folder / "sae.npz").write_bytes(b"PK, and nothing else")
    return negjax.read_directions(folder / "sae.npz", 0)


def steered(**asked: Any) -> negjax.Steered:
    lm = tiny("gated")
    asked = {"unrelated": tiny_probes(lm), "neurons": negjax.directions(0, VECTORS), **asked}
    return negjax.steer(lm, "w3", "w4", 0.5, **asked)


def from_file(tensor: str | None = None, **tensors: np.ndarray) -> Provoke:
    def read(folder: Path) -> negjax.Directions:
        save_file(tensors, folder / "sae.safetensors")
        return negjax.read_directions(folder / "sae.safetensors", 0, tensor)

    return read


CASES: dict[str, Provoke] = {
    "vectors are …, expected numbers [N, D], a direction a row": lambda _: negjax.directions(
        0, np.ones(16)
    ),
    "layer is … for … vectors, expected one number, or one …": lambda _: negjax.directions(
        [0, 1, 2], VECTORS
    ),
    "vectors: number … holds what is no finite number, …": lambda _: negjax.directions(
        0, VECTORS * np.nan
    ),
    "vectors: number … is zero, and writes nothing; …": lambda _: negjax.directions(0, 0 * VECTORS),
    "index are …, expected whole numbers [n] from 0 to …": lambda _: negjax.directions(
        0, VECTORS
    ).select([2]),
    "site=… is of neurons, and directions have a place; …": lambda _: swept(site="up"),
    "convention=… takes the sign of a neuron's activation, …": lambda _: swept(convention="signed"),
    "neurons: directions of width …, and … has a residual …": lambda _: swept(width=17),
    "neurons: a direction of layer …, and … has layers …": lambda _: swept([0, 3]),
    "sets are none, expected at least one": lambda _: sets(),
    "sets: set …: …, expected a pair of numbers and shifts": lambda _: sets(3),
    "sets: set …: shifts are … for … directions, …": lambda _: sets(([0, 1], [1.0, 2.0, 3.0])),
    "clamp=… sets activations of neurons, and directions …": clamped,
    "directions are of place …, width … and layers up to …": lambda _: no_gradients().along(
        negjax.directions(0, VECTORS, "ffn_out")
    ),
    "vectors are …, expected numbers [N, …]: outputs of a head, …": lambda _: (
        negjax.head_directions(tiny("gated"), 0, 0, VECTORS)
    ),
    "path: … holds …, expected one of …; pass tensor, …": from_file(W_enc=VECTORS),
    "tensor=… is not in …, which holds …": from_file("W_dec", decoder=VECTORS),
    "tensor=… is … in …, expected a matrix, …": from_file("b_dec", b_dec=VECTORS[0]),
    "tensor=… is … in …, directions of width …, and b_dec …": from_file(
        W_dec=VECTORS, b_dec=VECTORS[:, 0].copy()
    ),
    "…: truncated, or not an .npz file (…); …": cut_archive,
    "…: … holds Python objects, which can run code …": from_archive(
        W_dec=np.asarray([[None, "x"]])
    ),
    "layers are of neurons, and directions have layers of …": lambda _: steered(layers=[0]),
    "shift is of directions, expected a set of neurons: …": lambda folder: negjax.export_shift(
        tiny("gated"), sets(([0], 1.0)), folder / "x.safetensors", site="product"
    ),
}
