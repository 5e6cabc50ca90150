"""Traces of clean against corrupted prompts, from flags to folder, on a tiny model."""

from pathlib import Path

import numpy as np
import pytest

import negjax
from experiments.running import study
from experiments.trace import program as trace
from experiments.trace.pairs import Pair, pairs_of, roles
from negjax.inputs.encoding import encode
from negjax.storage import store
from tests.support.block_shapes import precision, tiny
from tests.support.pages import Page
from tests.support.processes import ended
from tests.support.reference import full_forward
from tests.support.tiny_runs import arguments, columns, parse, summary, write_inputs

pytestmark = pytest.mark.usefixtures("restored_flags", "well_drawn")

FACTS = [
    ("w3 w12 w5 w4 w7", "w2"),
    ("w3 w9 w8 w4 w7", "w6"),
    ("w3 w9 w5 w4 w7", "w6"),
    ("w7 w9 w10 w11", "w2"),
    ("w3 w4 w5 w4 w6", "w2"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model and a table, as a user has them."""
    path = write_inputs(tmp_path_factory.mktemp("inputs"), gated=tiny("gated"))
    lines = [f"{prompt},{answer}" for prompt, answer in FACTS]
    (path / "facts.csv").write_text("\n".join(["prompt,answer", *lines]))
    return path


def test_pairs_differ_in_one_place_that_does_not_end_them() -> None:
    lm = tiny("gated")
    probes = encode(lm, *map(list, zip(*FACTS, strict=True)))
    # Of two that fit, the one with fewer other tokens; the last prompt ends otherwise.
    assert pairs_of(probes) == [Pair(0, 2, 1, 2), Pair(1, 0, 1, 3), Pair(2, 0, 1, 2)]
    assert roles(Pair(0, 1, 1, 4), 7, 6).tolist() == [0, 1, 2, 3, 4, 4, 5]
    assert roles(Pair(0, 1, 1, 2), 4, 3).tolist() == [0, 3, 4, 5]


def test_effects_are_those_of_whole_forwards(folder: Path, tmp_path: Path) -> None:
    parse(*arguments(folder, tmp_path, "--pairs=0"))
    assert study.run(trace.prepare) == 0
    about, found = summary(tmp_path), columns(tmp_path)
    lm = negjax.load(folder / "gated")
    assert [pair["clean"] for pair in about["pairs"]] == [FACTS[i][0] for i in (0, 1, 2)]
    for number, (clean, corrupted) in enumerate(((0, 2), (1, 0), (2, 0))):
        some = found["pair"] == number
        assert sorted(set(found["token"][some])) == [0, 1, 2, 3, 4]
        probes = encode(
            lm, [FACTS[clean][0], FACTS[corrupted][0]], [FACTS[clean][1], FACTS[corrupted][1]]
        )
        first, second = probes.target_ids[:, 0, 0]
        with precision("float64"):
            logits, inner = full_forward(lm, probes.tokens[0])
            wrong = full_forward(lm, probes.tokens[1])[0][-1]
            difference = [logits[-1][first] - logits[-1][second], wrong[first] - wrong[second]]
            assert about["pairs"][number]["difference"] == pytest.approx(difference, abs=1e-5)
            for token in (0, 2, 4):
                for layer in range(3):
                    shift = np.zeros((3, 20))
                    shift[layer] = inner["product"][layer, token]
                    held = np.zeros((3, 20), bool)
                    held[layer] = True
                    restored = full_forward(
                        lm, probes.tokens[1], site="product", shift=shift, held=held, read=token
                    )[0][-1]
                    effect = restored[first] - restored[second] - difference[1]
                    at = some & (found["token"] == token) & (found["layer"] == layer)
                    assert found["effect"][at] == pytest.approx(effect, abs=1e-5)
    # Nothing is brought back where both prompts are the same.
    assert not found["effect"][found["role"] == "before the subject"].any()
    assert len(Page((tmp_path / store.REPORT).read_text(encoding="utf-8")).images) == 2


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--pairs=9"], "--pairs=9: there are 3; pass fewer, or 0 for all"),
        (["--prompts=1"], "no two of the 1 prompts of facts.csv are alike but for one run of"),
    ],
)
def test_what_cannot_be_traced_is_refused(
    folder: Path,
    tmp_path: Path,
    more: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    parse(*arguments(folder, tmp_path / "run", *more))
    assert ended(lambda _: study.run(trace.prepare)) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"error: {message}")
