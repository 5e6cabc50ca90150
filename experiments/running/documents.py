"""How a run's results are written: what was measured first, then what shows it.

A picture that cannot be drawn is named, on stderr, in the report and in summary.json, and the rest
goes on: nothing that was measured is lost to how it is shown.
"""

import traceback
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

from experiments.reporting import report
from experiments.reporting.figures import Picture
from experiments.reporting.report import Failure
from experiments.running import common, terminal
from negjax.storage import store
from negjax.storage.store import RunFolder
from negjax.storage.whole_files import finite_json


def write(
    folder: RunFolder,
    tables: Mapping[str, pa.Table],
    summary: Mapping[str, Any],
    document: Callable[[], report.Document],
) -> None:
    """Writes tables, summary.json, pictures and the report into a run's folder, in that order.

    Args:
        tables: by the names of their files.
        document: makes the report, once tables and summary are safe.

    Raises:
        OSError: the disk is full or failed; what was written before is kept.
    """
    for name, table in tables.items():
        folder.write_table(name, table)
    finite = finite_json(summary)
    folder.write_json(store.SUMMARY, finite)
    if "not_finite" in finite:
        terminal.note(
            f"null in {store.SUMMARY}, being no numbers: {'; '.join(finite['not_finite'])}"
        )
    made = document()
    drawn = {drawing.name: _drawn(folder, drawing) for drawing in made.drawings}
    failed = {name: found.reason for name, found in drawn.items() if isinstance(found, Failure)}
    if failed:
        folder.write_json(store.SUMMARY, finite_json({**summary, "figures_not_drawn": failed}))
    page = report.html_page(made, drawn)
    folder.write_bytes(store.REPORT, page.encode())


def _drawn(folder: RunFolder, drawing: report.Drawing) -> Picture | Failure:
    try:
        picture = drawing.draw()
    # Whatever a drawing library raises: the measurements are not to be lost to it.
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        say_failed(drawing.name, reason, error)
        # Of an interrupted run that went on: an older picture would pass for today's.
        for file in _files(drawing):
            (folder.path / file).unlink(missing_ok=True)
        return Failure(reason)
    for file, data in zip(_files(drawing), (picture.svg, picture.png), strict=True):
        folder.write_bytes(file, data)
    return picture


def say_failed(name: str, reason: str, error: Exception) -> None:
    """Names a figure that could not be drawn, on stderr."""
    if common.wants_traceback():
        traceback.print_exception(error)
    terminal.note(f"figure {name!r} could not be drawn and is left out: {reason}")


def _files(drawing: report.Drawing) -> tuple[str, str]:
    """A picture's files in the run's folder, as SVG and as PNG."""
    return f"{store.FIGURES}/{drawing.name}.svg", f"{store.FIGURES}/{drawing.name}.png"
