"""Copies in another order, in another dtype."""

import jax
import ml_dtypes
import numpy as np
import pytest

from negjax.weights import copying
from negjax.weights.copying import copy_into


@pytest.mark.parametrize("piece", [1 << 21, 64, 1000])
@pytest.mark.parametrize("stored", [np.float32, np.float16, ml_dtypes.bfloat16, np.float64])
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (2, 1, 0)])
def test_copies_are_what_numpy_makes(
    axes: tuple[int, ...], dtype: type, stored: type, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "PIECE", piece)
    values: np.ndarray = (
        np.random.default_rng(0).normal(size=(13, 4, 9)).astype(stored).transpose(axes)
    )
    expected: np.ndarray = np.empty(values.shape, dtype)
    expected[...] = values
    found = np.empty((2, *values.shape), dtype)
    copy_into(found[1], values)
    np.testing.assert_array_equal(found[1], expected)


def test_overflow_is_an_infinity() -> None:
    found = np.empty(2, np.float32)
    copy_into(found, np.asarray([1e300, 1.0]))
    assert np.isinf(found[0]) and found[1] == 1


def test_copies_need_no_backend_for_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where JAX_PLATFORMS names an accelerator alone."""

    def none(backend: str) -> list[object]:
        raise RuntimeError(f"Unknown backend {backend}")

    monkeypatch.setattr(copying, "PIECE", 64)
    with monkeypatch.context() as without:
        without.setattr(jax, "local_devices", none)
        without.setattr(jax, "device_put", none)
        values = np.arange(600.0).reshape(20, 30).T
        found = np.empty(values.shape, np.float32)
        copy_into(found, values)
    np.testing.assert_array_equal(found, values)
