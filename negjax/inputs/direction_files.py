"""Directions from files: the decoders of sparse autoencoders and transcoders."""

import os

from numpy.typing import ArrayLike

from negjax.checks import real_numbers, text
from negjax.errors import Argument, ArgumentError
from negjax.inputs.residual_directions import Directions, directions
from negjax.model.config import Place
from negjax.storage.given_files import check_file
from negjax.weights.formats.npz_files import is_archive, read_arrays
from negjax.weights.formats.safetensors_files import read_tensors

ROWS = ("W_dec", "decoder", "dictionary")
"""Names of decoders of which each row is a latent's direction, [N, D]."""
LINEAR = ".weight"
"""How the name of a linear layer's matrix ends, which has the directions in its columns, [D, N]."""
NAMES = (*ROWS, "decoder.weight", "W_dec.weight", "dec.weight")
BIAS = "b_dec"
"""What a decoder adds to its rows: beside them in a file, it says how wide they are."""


def read_directions(
    path: str | os.PathLike[str],
    layer: ArrayLike,
    tensor: str | None = None,
    place: Place = "residual_after",
) -> Directions:
    """The decoder of a sparse autoencoder or a transcoder as directions, one a latent.

    Args:
        path: of a safetensors file, or of NumPy's .npz.
        layer: that it writes to, from 0.
        tensor: its name in the file; None: the one that is there of W_dec, decoder, dictionary,
            decoder.weight, W_dec.weight and dec.weight. A name that ends in ".weight" is that of a
            linear layer [D, N], any other that of rows [N, D].
        place: what it was trained on: of an autoencoder of the residual stream `residual_after` or
            `residual_before`, of a transcoder `ffn_out`.

    Returns:
        N directions, of which `.select` takes some. That they fit a model is checked when they are
        used with it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is neither a safetensors nor an .npz file, it has no such tensor or several,
            one that is no matrix of numbers or of another width than `b_dec` beside it; as
            `directions`.
    """
    where = check_file(path, "path", "a safetensors or .npz file")
    found = read_arrays(where) if is_archive(where) else read_tensors(where)
    if tensor is None:
        names = [name for name in NAMES if name in found]
        if len(names) != 1:
            raise ArgumentError(
                Argument("path"),
                f": {where} holds {_some(names or list(found))}, expected one of "
                f"{', '.join(NAMES)}; pass ",
                Argument("tensor"),
                ", the decoder's name",
            )
        tensor = names[0]
    elif text(tensor, "tensor") not in found:
        raise ArgumentError(
            Argument("tensor", tensor), f" is not in {where}, which holds {_some(list(found))}"
        )
    if len(found[tensor].shape) != 2:
        raise ArgumentError(
            Argument("tensor", tensor),
            f" is {list(found[tensor].shape)} in {where}, expected a matrix, [N, D] or [D, N]",
        )
    linear = tensor.endswith(LINEAR)
    width = found[tensor].shape[0 if linear else 1]
    if BIAS in found and found[BIAS].shape != (width,):
        raise ArgumentError(
            Argument("tensor", tensor),
            f" is {list(found[tensor].shape)} in {where}, directions of width {width}, and {BIAS} "
            f"beside it {list(found[BIAS].shape)}; name a decoder, [N, D], or one that ends in "
            f'"{LINEAR}", [D, N]',
        )
    matrix = real_numbers(found[tensor].read(), "tensor")
    return directions(layer, matrix.T if linear else matrix, place)


def _some(names: list[str]) -> str:
    shown = ", ".join(sorted(names)[:8])
    return f"{shown} and {len(names) - 8} more" if len(names) > 8 else shown or "nothing"
