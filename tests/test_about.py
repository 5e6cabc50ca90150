"""What a report of a fault says of the installation, and what importing negjax takes."""

import os
import subprocess
import sys

import jax
import pytest

import negjax
from negjax import about
from tests.support.places import ROOT


def test_versions_devices_and_settings_are_told() -> None:
    found = list(about.lines({"HF_TOKEN": "told-nobody", "JAX_PLATFORMS": "cpu", "HOME": "/x"}))
    text = "\n".join(found)
    assert found[0].startswith(f"negjax {negjax.__version__} in ")
    assert "device 0: cpu (cpu)" in text and "JAX_PLATFORMS=cpu" in text
    assert "HF_TOKEN=(not shown)" in text and "told-nobody" not in text and "HOME" not in text
    assert f"jax {jax.__version__}" in found


def test_a_package_that_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(about, "PACKAGES", ("jax", "no-such-package"))
    assert "no-such-package is not installed" in list(about.lines({}))


def test_what_takes_long_to_import_is_imported_where_it_is_used() -> None:
    """transformers and zarr took half the time of importing negjax."""
    code = (
        "import sys, negjax; print([name for name in "
        "('transformers', 'zarr', 'matplotlib', 'sklearn', 'torch', 'pandas', 'jinja2', "
        "'huggingface_hub', 'negjax.skills', 'negjax.mceval8k') "
        "if name in sys.modules], {'skills', 'mceval8k'} < set(dir(negjax)))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert ran.stdout.strip() == "[] True"
