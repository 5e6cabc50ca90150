"""What tests of experiments share: a user's folder of models and facts, flags, a run's results."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from absl import flags
from pyarrow import parquet

from experiments.reporting import figures
from experiments.reporting.figures import Picture
from negjax.model.language_model import LanguageModel
from negjax.storage import store
from negjax.weights.saving import save_pretrained
from tests.support.pages import PNG

PROMPTS = [f"w{i} w{i + 1} w{i + 2}" for i in range(2, 14)]
ANSWERS = [f"w{i}" for i in range(5, 17)]


def undraw(patch: pytest.MonkeyPatch) -> None:
    """Lets figures be built, but not rendered."""
    patch.setattr(figures, "rendered", lambda figure: Picture(b"<svg/>", PNG))


def write_inputs(path: Path, facts: int = 12, **models: LanguageModel) -> Path:
    """A folder of models by name, and of facts.csv, with prompts for masked models too."""
    for name, lm in models.items():
        save_pretrained(lm, path / name)
    pairs = list(zip(PROMPTS, ANSWERS, strict=True))[:facts]
    lines = [f"{prompt},{answer},{prompt} [MASK] w2" for prompt, answer in pairs]
    (path / "facts.csv").write_text("\n".join(["prompt,answer,masked", *lines]))
    return path


def arguments(folder: Path, output: Path, *more: str) -> list[str]:
    """Flags of a run of the model `gated`, and more, which may name another."""
    return [
        f"--model={folder / 'gated'}",
        f"--probes={folder / 'facts.csv'}",
        f"--output={output}",
        "--compilation_cache=none",
        *more,
    ]


def parse(*given: str) -> None:
    """Takes flags as a command line does."""
    flags.FLAGS(["experiment", *given])


def summary(output: Path) -> dict[str, Any]:
    """A run's summary.json."""
    found = json.loads((output / store.SUMMARY).read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def columns(output: Path, name: str = store.NEURONS) -> dict[str, np.ndarray]:
    """Columns of one of a run's tables."""
    table = parquet.read_table(output / name)
    return {column: table.column(column).to_numpy() for column in table.column_names}
