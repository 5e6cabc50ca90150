"""llama.cpp's control vectors: GGUF files of one vector a layer, added to the residual leaving it.

Its loader takes tensors `direction.1`, `direction.2`, … in float32, of one axis and one width, and
adds `direction.k` after the layer that counts as k from 0; after layer 0 it adds nothing. Of the
metadata it reads none. Source: `common_control_vector_load` (common/common.cpp) and
`llama_adapter_cvec` (src/llama-adapter.cpp) of https://github.com/ggml-org/llama.cpp.
"""

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from negjax.checks import shown
from negjax.storage.whole_files import write_bytes
from negjax.weights.formats.gguf_files import open_file

ARCHITECTURE = "controlvector"
"""`general.architecture` of such a file."""
MOST_LAYERS = 9999
"""Of a file that is read: what is asked for by a larger number would not fit memory."""

_ARCHITECTURE_KEY, _HINT_KEY = "general.architecture", f"{ARCHITECTURE}.model_hint"
_DIRECTION = re.compile(r"direction\.([1-9]\d{0,3})")


def write_control_vector(
    path: Path, vectors: np.ndarray, model_architecture: str, about: Mapping[str, str]
) -> None:
    """Writes a control vector; the file appears when it is complete.

    Args:
        vectors: [L, D], of which the first, of layer 0, is left out: there is no place for it.
        model_architecture: `general.architecture` of the model that the vectors are for.
        about: further metadata.
    """
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "vectors.gguf"
        writer = gguf.GGUFWriter(made, ARCHITECTURE)
        writer.add_string(_HINT_KEY, model_architecture)
        writer.add_int32(f"{ARCHITECTURE}.layer_count", len(vectors) - 1)
        for key, value in about.items():
            writer.add_string(key, value)
        for layer, vector in enumerate(vectors[1:].astype(np.float32), 1):
            writer.add_tensor(f"direction.{layer}", vector)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        write_bytes(path, made.read_bytes())


def read_control_vector(path: Path) -> tuple[np.ndarray, str, dict[str, Any]]:
    """Vectors [L, D] in float32, the architecture of their model, and all metadata.

    L reaches to the last layer that has a vector; the others have zeros.

    Raises:
        ValueError: the file is damaged, no control vector, or one that llama.cpp would not take.
    """
    file = open_file(path)
    metadata, tensors = file.metadata, file.tensors
    found = metadata.get(_ARCHITECTURE_KEY)
    if found != ARCHITECTURE:
        raise ValueError(
            f"{path}: {_ARCHITECTURE_KEY} is {shown(found)}, expected {ARCHITECTURE}: a file of "
            "control vectors; models are read by negjax.load"
        )
    rows: dict[int, np.ndarray] = {}
    width = next((tensor.shape[0] for tensor in tensors.values()), 0)
    for name, tensor in tensors.items():
        named = _DIRECTION.fullmatch(name)
        plain = tensor.kind == gguf.GGMLQuantizationType.F32 and tensor.shape == (width,)
        if named is None or not plain:
            raise ValueError(
                f"{path}: tensor {name!r} of type {tensor.kind.name} and shape "
                f"{list(tensor.shape)}, expected direction.1 to direction.{MOST_LAYERS} of type "
                "F32 and of one width; write the file again"
            )
        rows[int(named[1])] = file.read(name)
    if not rows:
        raise ValueError(f"{path}: a control vector without vectors; write the file again")
    vectors = np.zeros((max(rows) + 1, width), np.float32)
    for layer, row in rows.items():
        vectors[layer] = row
    return vectors, str(metadata.get(_HINT_KEY, "")), metadata
