"""Which tokens end a text: read from a directory's files, and written to them."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

import negjax
from negjax.weights.formats.generation_files import read_end_tokens
from tests.support.block_shapes import tiny


@pytest.mark.parametrize(
    ("generation", "config", "tokenizer", "expected"),
    [
        ({"eos_token_id": [3, 5, 3]}, {"eos_token_id": 1}, 2, (3, 5)),
        ({"eos_token_id": 4}, {}, None, (4,)),
        ({}, {"eos_token_id": 1}, 2, (1,)),
        (None, {"eos_token_id": None}, 2, (2,)),
        # Ids that the model does not embed, and what is no id.
        ({"eos_token_id": [99, -1, True, "3"]}, {}, 2, (2,)),
        (None, {}, None, ()),
    ],
)
def test_the_first_file_that_names_some_says_which(
    tmp_path: Path,
    generation: dict[str, Any] | None,
    config: dict[str, Any],
    tokenizer: int | None,
    expected: tuple[int, ...],
) -> None:
    if generation is not None:
        (tmp_path / "generation_config.json").write_text(json.dumps(generation), "utf-8")
    assert read_end_tokens(tmp_path, config, tokenizer, 24) == expected


def test_a_saved_model_ends_texts_as_before(tmp_path: Path) -> None:
    lm = dataclasses.replace(tiny("gated"), end_tokens=(7, 9))
    streamed = negjax.load(negjax.save_pretrained(lm, tmp_path), weights="streamed")
    assert streamed.end_tokens == (7, 9)
    sets = negjax.neuron_sets(lm.config, [([[0, 1], [1, 3]], 2.0)])
    move = negjax.Intervention(sets)
    # The same text too, its weights fetched layer by layer for every token.
    ours, theirs = (negjax.generate(m, ["w3 w5"], move, max_tokens=4) for m in (streamed, lm))
    assert ours.texts == theirs.texts
    assert abs(ours.log_probability - theirs.log_probability).max() < 2e-6
