"""What provokes the errors of results in a user's hands, by the pattern in the index."""

from pathlib import Path

import numpy as np

import negjax
from negjax.storage import store
from tests.support.mistakes import Provoke, run_folder


def too_large(_: Path) -> None:
    negjax.NeurGrad(
        site="up",
        output="logit",
        probability=np.zeros((1, 1)),
        activation=np.broadcast_to(0.0, (1, 100, 100_000)),
        computed=np.broadcast_to(0.0, (1, 1, 100, 100_000)),
    ).to_arrow()


def damaged_settings(folder: Path) -> None:
    run_folder(folder, {}).close()
    (folder / "run" / store.SETTINGS).write_text("{")
    negjax.open_run(folder / "run")


def other_layout(folder: Path) -> None:
    (folder / store.SETTINGS).write_text('{"format": 0, "settings": {}}')
    negjax.open_run(folder)


def no_such_table(folder: Path) -> None:
    run_folder(folder, {}).close()
    negjax.open_run(folder / "run").table("facts.parquet")


CASES: dict[str, Provoke] = {
    "a table of … would have … rows, expected … at most; …": too_large,
    "… is no folder of a run: it has no settings.json; pass …": negjax.open_run,
    "… is damaged; pass another folder, or measure the run anew": damaged_settings,
    "… was written in layout …, and layout … is read; pass …": other_layout,
    "name is …, expected one of the run's tables: …": no_such_table,
}
