"""The index of errors in the docs: each row is provoked, and each error provoked has its row."""

import re
from pathlib import Path

import pytest

from tests.support.error_cases import CASES
from tests.support.places import ROOT

INDEX = ROOT / "docs" / "errors.md"


def rows() -> dict[str, tuple[str, ...]]:
    """Class, when and remedy of each message, by its pattern."""
    found = {}
    for line in INDEX.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) == 4 and cells[0].startswith("`"):
            pattern = cells[0].strip("`").strip() if cells[0][:2] != "``" else cells[0][3:-3]
            assert pattern not in found, pattern
            found[pattern] = tuple(cells[1:])
    return found


ROWS = rows()


def test_rows_and_provoked_errors_are_the_same() -> None:
    assert ROWS.keys() == CASES.keys()
    assert len(ROWS) >= 60


@pytest.mark.parametrize("pattern", ROWS)
def test_the_index_says_what_is_raised(
    pattern: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    kind, when, remedy = ROWS[pattern]
    assert when.endswith(".") and remedy.endswith(".")
    with pytest.raises((ValueError, TypeError, OSError)) as found:
        CASES[pattern](tmp_path)
    assert f"`{type(found.value).__name__}`" == kind
    expected = ".*".join(map(re.escape, pattern.split("…")))
    assert re.fullmatch(expected, str(found.value), re.DOTALL), str(found.value)
    # Enough of it is told to be found.
    assert len(re.findall(r"\w\w+", pattern)) > 2
