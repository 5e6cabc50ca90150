"""How a run's results are written: what was measured first, then what shows it.

A picture that cannot be drawn is named, on stderr, in the report and in summary.json, and the rest
goes on: nothing that was measured is lost to how it is shown.
"""

import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from experiments.reporting import report
from experiments.reporting.figures import Picture
from experiments.reporting.markdown import markdown_page
from experiments.reporting.report import Failure
from experiments.reporting.tables import Table, arrow_table, csv_bytes
from experiments.running import common, pages, terminal
from negjax.storage import store
from negjax.storage.store import RunFolder
from negjax.storage.whole_files import finite_json, write_bytes


def write_results(
    folder: RunFolder, tables: Mapping[str, pa.Table], summary: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Writes tables and summary.json into a run's folder; returns the summary as it was written.

    Args:
        tables: by the names of their files.

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
    return finite


def write_report(
    folder: RunFolder, document: report.Document, summary: Mapping[str, Any]
) -> report.Drawn:
    """Draws a report's pictures and writes them, its tables and its page into a run's folder.

    Args:
        summary: as it was written; pictures that could not be drawn are added to it.

    Returns:
        The pictures.

    Raises:
        OSError: as of `write_results`.
    """
    for table in (block for block in document.blocks if isinstance(block, Table) and block.name):
        text, columns = _files(table)
        folder.write_bytes(text, csv_bytes(table))
        folder.write_table(columns, arrow_table(table))
    drawn = {drawing.name: _drawn(folder, drawing) for drawing in document.drawings}
    failed = {name: found.reason for name, found in drawn.items() if isinstance(found, Failure)}
    if failed:
        folder.write_json(store.SUMMARY, {**summary, "figures_not_drawn": failed})
    folder.write_bytes(store.REPORT, report.html_page(document, drawn, _files).encode())
    return drawn


def write_page(file: Path, name: str, document: report.Document, drawn: report.Drawn) -> None:
    """Writes a report as a part of a Markdown page, its pictures into a folder beside that.

    Args:
        name: of the part.
        drawn: the document's pictures.
    """
    folder = file.with_name(f"{file.stem}_figures")
    links: dict[str, str | Failure] = {}
    for figure, picture in drawn.items():
        if isinstance(picture, Failure):
            links[figure] = picture
            continue
        folder.mkdir(exist_ok=True)
        write_bytes(folder / f"{figure}.svg", picture.svg)
        links[figure] = f"{quote(folder.name)}/{figure}.svg"
    note = f"Written {time.strftime('%Y-%m-%d')} by the command at the end of this part."
    pages.write_part(file, name, markdown_page(document, links, note))


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


def _files(shown: report.Drawing | Table) -> tuple[str, str]:
    """What a picture (SVG, PNG) or a table (CSV, Parquet) is in the run's folder."""
    if isinstance(shown, Table):
        return f"{store.TABLES}/{shown.name}.csv", f"{store.TABLES}/{shown.name}.parquet"
    return f"{store.FIGURES}/{shown.name}.svg", f"{store.FIGURES}/{shown.name}.png"
