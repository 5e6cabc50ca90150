"""MCEval8K's prompts and labels as tokens."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from negjax import mceval8k
from negjax.mceval8k.catalogue import LANGUAGES, TASKS
from negjax.model.language_model import LanguageModel
from tests.support.block_shapes import tiny
from tests.support.made_up_mceval8k import write_benchmark
from tests.support.shared_data import MCEVAL8K


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_benchmark(tmp_path_factory.mktemp("benchmark"))


@pytest.mark.parametrize("name", TASKS)
def test_every_label_is_one_token(name: str, made_up: Path, smollm2: LanguageModel) -> None:
    for template in range(mceval8k.template_count(name)):
        task = mceval8k.load(name, made_up, template=template)
        items = list({item.language: item for item in task.test}.values())
        probes = mceval8k.encode_items(smollm2, items, task.labels)
        assert probes.target_ids.shape == (len(items), len(task.labels), 1)
        for row in probes.target_ids[:, :, 0]:
            assert tuple(smollm2.tokenizer.decode([i]) for i in row) == task.labels
        # The head's tokens are the prompt's first ones: they can be run once for all items.
        for item in items:
            head = smollm2.tokenizer(item.head).input_ids
            assert smollm2.tokenizer(item.prompt).input_ids[: len(head)] == head
        # The token that ends a demonstration is the label's.
        shown = smollm2.tokenizer(items[0].prompt + task.labels[1]).input_ids
        assert shown[-1] == probes.target_ids[0, 1, 0]
        alone = mceval8k.encode_items(smollm2, items, task.labels, target_mode="alone")
        assert alone.target_mode == "alone"
        assert (
            tuple(smollm2.tokenizer.decode([i]) for i in alone.target_ids[0, :, 0]) == task.labels
        )


@pytest.mark.shared
def test_published_items_are_encoded_as_they_stand(smollm2: LanguageModel) -> None:
    task = mceval8k.load("m-amazon", MCEVAL8K)
    items = mceval8k.first(task.test, 25, task.labels)
    probes = mceval8k.encode_items(smollm2, items, task.labels)
    assert probes.prompts == tuple(item.prompt for item in items)
    assert {item.language for item in items} == set(LANGUAGES)
    for row, item in enumerate(items):
        real = probes.tokens[row][probes.mask[row]]
        assert smollm2.tokenizer.decode(real) == item.prompt
        assert probes.read[row] == len(real) - 1


def test_labels_of_several_tokens_are_named(made_up: Path, smollm2: LanguageModel) -> None:
    items = mceval8k.load("ner", made_up).test[:2]
    message = r"label 'unmistakably' is \d tokens \['.*\] after '### Answer:'; the model must have"
    with pytest.raises(ValueError, match=message):
        mceval8k.encode_items(smollm2, items, ["a", "unmistakably"])
    with pytest.raises(ValueError, match=r"label 'unmistakably' is \d tokens \['.*\] alone"):
        mceval8k.encode_items(smollm2, items, ["a", "unmistakably"], target_mode="alone")
    with pytest.raises(ValueError, match="targets 'a' and 'a' of prompt 0 are the same tokens"):
        mceval8k.encode_items(smollm2, items, ["a", "b", "a"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"items": []}, "no items: expected at least one"),
        (
            {"target_mode": "first"},
            r"target_mode is 'first', expected one of single, alone",
        ),
    ],
)
def test_what_cannot_be_encoded(
    change: dict[str, Any], message: str, made_up: Path, smollm2: LanguageModel
) -> None:
    task = mceval8k.load("ner", made_up)
    asked = {"items": task.test[:1], "labels": task.labels} | change
    with pytest.raises(ValueError, match=message):
        mceval8k.encode_items(smollm2, **asked)


def test_masked_models_are_refused(made_up: Path) -> None:
    task = mceval8k.load("ner", made_up)
    lm = dataclasses.replace(tiny("bert"), name="some-bert")
    with pytest.raises(ValueError, match=r"some-bert is a masked LM; .* are read by causal LMs"):
        mceval8k.encode_items(lm, task.test[:1], task.labels)
