"""What an installation holds besides modules, by the settings that setuptools reads."""

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
DATA = SETTINGS["setuptools"]["package-data"]


@pytest.mark.parametrize("package", ["negjax", "experiments"])
def test_whatever_lies_in_a_package_is_shipped(package: str) -> None:
    folder = ROOT / package
    shipped = {file for pattern in DATA[package] for file in folder.glob(pattern)}
    there = {file for file in folder.rglob("*") if file.is_file()}
    assert {file for file in there if file.suffix not in (".py", ".pyc")} == shipped


def test_the_types_of_the_library_are_there_for_others_and_checked_strictly() -> None:
    assert "py.typed" in DATA["negjax"]
    assert (ROOT / "negjax" / "py.typed").read_bytes() == b""
    (strict,) = [some for some in SETTINGS["mypy"]["overrides"] if some["module"] == "negjax.*"]
    assert strict["disallow_any_generics"] and strict["warn_return_any"]
