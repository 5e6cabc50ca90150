"""The map of every neuron, from flags to folder, on a tiny model."""

from pathlib import Path

import numpy as np
import pytest

import negjax
from experiments.neg_map import program as neg_map
from experiments.running import study
from negjax.inputs.encoding import encode
from negjax.storage import store
from tests.support.block_shapes import tiny
from tests.support.pages import Page
from tests.support.tiny_runs import arguments, columns, parse, summary, write_inputs

pytestmark = pytest.mark.usefixtures("restored_flags", "well_drawn")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model and a table, as a user has them."""
    path = tmp_path_factory.mktemp("inputs")
    return write_inputs(path, gated=tiny("gated"))


def test_every_neuron_is_mapped(folder: Path, tmp_path: Path) -> None:
    parse(*arguments(folder, tmp_path, "--prompt=w3 w4", "--answer=w5"))
    assert study.run(neg_map.prepare) == 0
    found, about = columns(tmp_path), summary(tmp_path)
    lm = negjax.load(folder / "gated")
    probes = encode(lm, ["w3 w4"], ["w5"])
    grid = negjax.paper_grid(2.0, 0.2)
    fit = negjax.linear_fit(negjax.sweep(lm, probes, negjax.all_neurons(lm.config), grid))
    size = np.abs(fit.slope[0]).max()
    assert np.abs(found["neg"] - fit.slope[0]).max() < 1e-2 * size
    assert np.median(np.abs(found["neg"] - fit.slope[0])) < 1e-6 * size
    assert np.median(np.abs(found["pearson"] - fit.pearson[0])) < 1e-4
    assert about["maps"][0]["layers"] == [0, 1, 2]
    top = about["maps"][0]["strongest"][0]
    at = np.argmax(np.abs(found["neg"]))
    assert (top["layer"], top["neuron"]) == (found["layer"][at], found["neuron"][at])
    assert len(Page((tmp_path / store.REPORT).read_text(encoding="utf-8")).images) == 2


def test_some_layers_of_some_prompts_are_mapped(folder: Path, tmp_path: Path) -> None:
    parse(
        *arguments(folder, tmp_path, "--prompts=2", "--every=2", "--neg_radius=1", "--neg_pairs=2")
    )
    assert study.run(neg_map.prepare) == 0
    found = columns(tmp_path)
    assert sorted(set(found["layer"])) == [0, 2]
    assert len(found["layer"]) == 2 * 2 * 20
    about = summary(tmp_path)
    assert (about["radius"], len(about["shifts"])) == (1, 4)
    assert about["shifts"][3] == -about["shifts"][0] < 1


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--neg_radius=0"], r"--neg_radius=0"),
        (["--neg_step=3"], r"step.*3.*radius.*2"),
        (["--neg_pairs=11"], r"pairs=11: the grid has 10"),
        (["--prompt=w3"], r"--prompt and --answer belong together"),
        (["--prompt=w3", "--answer=w4 w5"], r"target 'w4 w5' of row 0 is 2 tokens"),
    ],
)
def test_bad_maps_are_refused(folder: Path, tmp_path: Path, more: list[str], message: str) -> None:
    parse(*arguments(folder, tmp_path / "run"), *more)
    with pytest.raises(ValueError, match=message):
        study.run(neg_map.prepare)
