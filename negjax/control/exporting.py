"""Out of here: a shift that acts at every position, in files for programs that know no neurons.

At site `act` or `product` a shift δ [L, F] adds δ[l] · W_down[l] to what layer l writes. Where no
norm stands between that and the residual, it is one vector a layer, added to the residual leaving
it; where the family's layout has biases, it is a bias (`negjax.control.folding`).
"""

import dataclasses
import os
from pathlib import Path
from typing import Literal, get_args

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from negjax import checks
from negjax.control.editing import Edited
from negjax.control.folding import fold, folded_site, refuse_experts, written
from negjax.control.steering import SmallestShift, Steered
from negjax.errors import Argument, ArgumentError
from negjax.execution.conventions import Convention, check_convention
from negjax.inputs.neurons import NeuronSets
from negjax.model.language_model import LanguageModel, check_model
from negjax.model.meshes import to_host
from negjax.records import readable
from negjax.storage.given_files import check_file, first_bytes
from negjax.storage.record_files import read, save
from negjax.storage.whole_files import explained
from negjax.weights.families import family_of
from negjax.weights.formats.control_vectors import read_control_vector, write_control_vector
from negjax.weights.formats.gguf_header import is_gguf
from negjax.weights.saving import save_pretrained

Format = Literal["gguf", "safetensors", "directory"]

CALLED = {"mistral": "llama"}
"""Families whose GGUF files call themselves another's: `general.architecture`."""

ADDED_TO = "the residual leaving each layer, at every position"

_MODEL_KEY, _FINGERPRINT_KEY = "negjax.model", "negjax.fingerprint"


@readable
@dataclasses.dataclass(frozen=True, kw_only=True)
class Steering:
    """Vectors that do what a shift of neurons does, for whoever can add to a model's residual."""

    vectors: np.ndarray
    """[L, D], one a layer, zeros where a layer's neurons are not shifted; in units of the residual.
    Of a GGUF file L ends with the last layer that it names."""
    model: str
    """What the model was loaded as; empty where the file does not say."""
    fingerprint: str
    """Of its weights, as `LanguageModel.fingerprint`; empty where the file does not say."""
    added_to: str = ADDED_TO
    """Where the vectors are added."""


def export_shift(
    lm: LanguageModel,
    shift: ArrayLike | NeuronSets | SmallestShift,
    path: str | os.PathLike[str],
    format: Format | None = None,
    *,
    site: str | None = None,
    convention: Convention = "additive",
    clamp: bool = False,
    positions: str = "all",
) -> Path:
    """Writes what a shift of neurons at every position does, for programs that know no neurons.

    `.gguf`: a control vector of llama.cpp. `.safetensors`: the vectors as `Steering`. Any other
    path: a directory in Hugging Face layout, a model with the shift in biases, as `edit` makes one.

    Args:
        lm: the model without the shift.
        shift: [L, F], added to the activations; or one set of `neuron_sets`; or what `steer` or
            `edit` found. What `steer` found for one position acts at all of them in the file.
        path: of the file, which is replaced, or of the directory.
        format: `gguf`, `safetensors` or `directory`; None follows the path's suffix.
        site: `act` or `product`, where the shift is added; None is that of what `steer` or `edit`
            found, and else the model's default.
        convention: `additive`; how the shift was measured, as in `joint`.
        clamp: False; whether it was measured with values that neurons are set to.
        positions: `all`; where the shift acts.

    Returns:
        The path.

    Raises:
        ValueError: what no such file can say, by name: the site `up`, clamped neurons, signed
            shifts, single positions, experts; vectors under norms of what layers return; biases in
            families without; in a GGUF file layer 0, masked LMs and families that have none.
        OSError: the file or directory cannot be written.
    """
    check_model(lm)
    where = checks.path(path, "path")
    chosen = _chosen_format(where, format)
    _refuse_what_varies(convention, clamp, positions)
    dense = _dense(lm, shift)
    _check_site(lm, shift, site)
    refuse_experts(lm)
    if chosen != "directory":
        _check_vectors(lm)
    if chosen == "gguf":
        _check_control_vector(lm, dense)
    if chosen == "directory":
        with explained(where, "the shift could not be written"):
            return save_pretrained(fold(lm, dense, f"{lm.name}, shifted"), where)
    with lm.numerics():
        write = to_host(written(lm.params, jnp.asarray(dense, lm.compute_dtype)))
    steering = Steering(
        vectors=write * lm.config.residual_scale, model=lm.name, fingerprint=lm.fingerprint
    )
    if chosen == "safetensors":
        return save(where, steering)
    about = {_MODEL_KEY: lm.name, _FINGERPRINT_KEY: lm.fingerprint}
    with explained(where, "the shift could not be written"):
        write_control_vector(where, steering.vectors, _architecture(lm), about)
    return where


def read_steering(path: str | os.PathLike[str]) -> Steering:
    """The vectors of a file that `export_shift` wrote, or of a control vector of llama.cpp.

    Raises:
        FileNotFoundError: there is no such file.
        IsADirectoryError: it is a directory; models are read by `load`.
        ValueError: it is damaged, or holds something else.
    """
    where = check_file(path, "path", "a file that export_shift wrote")
    if not is_gguf(first_bytes(where)):
        found = read(where)
        if not isinstance(found, Steering):
            raise ValueError(
                f"{where}: holds a {type(found).__name__}, expected the Steering that export_shift "
                "writes; negjax.read reads any record"
            )
        return found
    vectors, _, metadata = read_control_vector(where)
    model, fingerprint = (str(metadata.get(key, "")) for key in (_MODEL_KEY, _FINGERPRINT_KEY))
    return Steering(vectors=vectors, model=model, fingerprint=fingerprint)


def _chosen_format(path: Path, format: str | None) -> str:
    if format is not None:
        return checks.one_of(format, "format", get_args(Format))
    suffix = path.suffix.lower().removeprefix(".")
    return suffix if suffix in get_args(Format) else "directory"


def _refuse_what_varies(convention: str, clamp: bool, positions: str) -> None:
    """A file adds the same to every input, at every position."""
    check_convention(convention)
    if convention == "signed":
        raise ArgumentError(
            Argument("convention", "signed"),
            ": the sign differs from input to input; multiply the shift by the signs of one "
            "prompt's activations (negjax.activations) and pass ",
            Argument("convention", "additive"),
        )
    if checks.flag(clamp, "clamp"):
        raise ArgumentError(
            Argument("clamp", True),
            ": to set a neuron, or to scale it, what is added must follow its activation, and a "
            "file adds the same to every input; pass a shift, for example the wanted value less "
            "a prompt's activation (negjax.activations)",
        )
    if not isinstance(positions, str) or positions != "all":
        raise ArgumentError(
            Argument("positions"),
            f" is {checks.shown(positions)}, expected all: a file adds its vectors at every "
            "position; single ones are measured by negjax.joint",
        )


def _dense(lm: LanguageModel, shift: object) -> np.ndarray:
    """[L, F], checked."""
    if isinstance(shift, Edited) and shift.lm.fingerprint == lm.fingerprint:
        raise ArgumentError(
            Argument("lm"),
            " is the edited model, which holds the shift already: pass the model that was edited, "
            "or write this one with negjax.save_pretrained",
        )
    if isinstance(shift, NeuronSets | Steered) and shift.directions is not None:
        raise ArgumentError(
            Argument("shift"), " is of directions, expected a set of neurons: neuron_sets(…)"
        )
    if isinstance(shift, SmallestShift):
        values = shift.shift
    elif isinstance(shift, NeuronSets):
        if len(shift) != 1:
            raise ArgumentError(
                Argument("shift"), f" holds {len(shift)} sets of neurons, expected one"
            )
        values = shift.dense()[0]
    else:
        values = checks.real_numbers(shift, "shift")
    expected = (lm.config.layers, lm.config.neurons)
    if values.shape != expected:
        raise ArgumentError(
            Argument("shift"),
            f" is {list(values.shape)}, expected [L, F] = {list(expected)} of {lm.name}, or one "
            "set of neuron_sets(lm.config, [(neurons, shift)])",
        )
    values = checks.finite_in(values, "shift", lm.compute_dtype)
    if not values.any():
        raise ArgumentError(
            Argument("shift"), " is 0 everywhere: there is nothing to write; pass one that is not"
        )
    return values


def _check_site(lm: LanguageModel, shift: object, site: str | None) -> None:
    own = shift.site if isinstance(shift, SmallestShift) else None
    asked = lm.config.site(own if site is None else site)
    if own is not None and asked != own:
        raise ArgumentError(
            Argument("site"),
            f" is {asked!r}, and the shift was found at {own!r}: leave the site out",
        )
    folded_site(lm.config, asked)


def _check_vectors(lm: LanguageModel) -> None:
    """What a layer writes must reach the residual as it is."""
    placement = lm.config.norm_placement
    if placement == "pre":
        return
    remedy = (
        "write a directory, whose biases stand before the norm"
        if placement == "post"
        else "nothing but negjax holds such a shift"
    )
    raise ValueError(
        f"{lm.name}: a norm follows what a layer writes ({placement}), so that what a shift adds "
        f"to the residual depends on the input and is no vector; {remedy}"
    )


def _check_control_vector(lm: LanguageModel, shift: np.ndarray) -> None:
    if not lm.config.causal:
        raise ValueError(
            f"{lm.name}: a masked LM, whose predictions llama.cpp does not compute; write a "
            ".safetensors file or a directory"
        )
    if shift[0].any():
        raise ArgumentError(
            Argument("shift"),
            " has neurons in layer 0, after which llama.cpp adds no control vector; leave them out "
            "(layers=range(1, lm.config.layers) in steer and edit), or write a .safetensors file "
            "or a directory",
        )
    _architecture(lm)


def _architecture(lm: LanguageModel) -> str:
    """What llama.cpp calls the model's family."""
    form = family_of(lm.config.family, lm.name).gguf
    known = CALLED.get(lm.config.family, None if form is None else form.architecture)
    if known is None:
        raise ValueError(
            f"{lm.name}: negjax knows no GGUF files of family {lm.config.family!r}, nor that "
            "llama.cpp adds control vectors there; write a .safetensors file or a directory"
        )
    return known
