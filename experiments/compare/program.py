"""The program: reads finished runs, prints their table and writes it where it is wanted."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.compare.report import KINDS, Run, comparison
from experiments.running import common, terminal
from negjax.storage import given_files, run_settings, store
from negjax.storage.whole_files import write_bytes


def main(arguments: Sequence[str]) -> int:
    """Prints the table of the runs named, and writes it if asked; returns the exit status."""
    text = comparison(read_runs(arguments))
    file = common.output_file()
    if file is not None:
        write_bytes(file, text.encode())
    terminal.say(text.rstrip("\n"))
    return 0


def read_runs(folders: Sequence[str]) -> list[Run]:
    """The runs, of one kind and none of them twice.

    Raises:
        ValueError: there are none, or one is no finished run, is of another experiment than the
            first or of one that is not compared, or is named twice.
    """
    if not folders:
        raise ValueError(f"no runs: pass folders of finished runs, of one of {', '.join(KINDS)}")
    runs = [_read_run(Path(folder).expanduser()) for folder in folders]
    for i, run in enumerate(runs):
        if run.kind != runs[0].kind:
            raise ValueError(
                f"{run.folder} is a run of {run.kind}, {runs[0].folder} one of {runs[0].kind}; "
                "pass runs of one experiment"
            )
        if run.folder.resolve() in [other.folder.resolve() for other in runs[:i]]:
            raise ValueError(f"{run.folder} is named twice; pass each run once")
    return runs


def _read_run(folder: Path) -> Run:
    settings = _read_json(folder, run_settings.SETTINGS, "is no folder of a run")
    kind = str(settings["settings"].get("experiment"))
    if kind not in KINDS:
        raise ValueError(f"{folder} is a run of {kind}, expected one of {', '.join(KINDS)}")
    hint = "is not finished; the command that began the run continues it"
    summary = _read_json(folder, store.SUMMARY, hint)
    if not summary["complete"]:
        raise ValueError(f"{folder} {hint}")
    return Run(folder=folder, kind=kind, summary=summary)


def _read_json(folder: Path, name: str, without: str) -> dict[str, Any]:
    file = folder / name
    if not file.is_file():
        raise ValueError(f"{folder} {without}: it has no {name}")
    try:
        return given_files.read_json(file)
    except ValueError as error:
        raise ValueError(f"{file} is damaged: {error}") from None
