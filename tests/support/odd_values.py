"""Values that arguments are not meant to take, and which of them some take after all."""

from collections.abc import Callable
from typing import Any

import numpy as np

ODD: dict[str, Any] = {
    "None": None,
    "True": True,
    "text": "odd",
    "number as text": "1",
    "empty text": "",
    "bytes": b"w3",
    "half a surrogate pair": "\ud800",
    "half": 1.5,
    "minus one": -1,
    "nan": float("nan"),
    "inf": float("inf"),
    "huge": 10**30,
    "imaginary": 1j,
    "empty list": [],
    "list of text": ["1"],
    "list of truth": [True],
    "list of None": [None],
    "list too large for float32": [1e39],
    "ragged": [[1], [1, 2]],
    "pairs of text": [("0", "1")],
    "pairs of floats": [(0.0, 1.0)],
    "pairs far out": [(99, 10**6)],
    "nested too deeply": [[[[[1.0]]]]],
    "array of text": np.asarray(["a", "b"]),
    "array of objects": np.asarray([None, 1], object),
    "array without axes": np.asarray(1.5),
    "complex array": np.ones(2, complex),
    "array of truth": np.ones((2, 2), bool),
    "mapping": {},
    "set": {1},
    "object": object(),
    "function": len,
    "class": int,
}

Takes = Callable[[str, Any], bool]
"""Whether an argument takes a value, by its name in `ODD` and the value."""


def nothing(name: str, value: Any) -> bool:
    """Takes none of them."""
    return False


def these(*names: str) -> Takes:
    """Takes some of them."""
    assert set(names) <= ODD.keys()
    return lambda name, value: name in names


EVERYWHERE: dict[str, Takes] = {
    "progress": these("None", "True"),
    "template_options": these("None", "mapping"),
}
"""By an argument that takes the same wherever it is."""
