"""Types of arrays that say their axes: `Float[Array, "P R D"]`, letters as in docs/concepts.md.

Letters stand for the same size throughout a call. They are checked by `make test-shapes` and cost
nothing otherwise. A letter alone is written with a blank before it, for those who read annotations
as Python.
"""

import jax
import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

__all__ = ["Array", "Bool", "Either", "Float", "Int", "Numpy", "Shaped"]

Array = jax.Array
Numpy = np.ndarray
Either = jax.Array | np.ndarray
"""On the device, or not."""
