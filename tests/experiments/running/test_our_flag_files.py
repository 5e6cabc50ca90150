"""Flag files that come with the package, named from another folder than the repository."""

from pathlib import Path

import pytest

from experiments.running import command_line


@pytest.mark.parametrize("name", ["quickstart.flags", "experiments/flagfiles/quickstart.flags"])
def test_our_flag_files_are_found_from_anywhere(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = command_line.FLAG_FILES / "quickstart.flags"
    lines = [line for line in own.read_text().splitlines() if line.startswith("--")]
    monkeypatch.chdir(tmp_path)
    assert command_line.expanded([f"--flagfile={name}"]) == lines
    assert command_line.expanded(["--flagfile", name]) == lines
    # What lies there comes first.
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("--nodes=6\n")
    assert command_line.expanded([f"--flagfile={name}"]) == ["--nodes=6"]


def test_another_folder_is_not_ours(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="quickstart"):
        command_line.expanded([f"--flagfile={tmp_path / 'quickstart.flags'}"])
