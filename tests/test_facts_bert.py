"""The shipped masked LM: what it recalls, and that its card and its facts say so."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

import negjax
from experiments.estimators import program as estimators
from experiments.linearity import program as linearity
from experiments.multi_neuron import program as multi_neuron
from experiments.pretrain_bert import corpus
from experiments.pretrain_bert import program as pretrain_bert
from experiments.pretrain_bert.job import read_job
from experiments.pretrain_bert.recall import fact_probes, recall_of, single_token_facts
from experiments.running import common
from negjax.model.language_model import LanguageModel
from negjax.weights import loading
from tests.support.places import ROOT
from tests.support.shared_data import MCEVAL8K


@pytest.fixture(scope="module")
def facts_bert() -> LanguageModel:
    return negjax.load("facts-bert")


@pytest.fixture(autouse=True)
def restored_flags() -> Iterator[None]:
    with flagsaver.flagsaver():
        yield


def parse(*given: str) -> None:
    flags.FLAGS(["experiment", *given])


def shipped_facts(file: str) -> list[dict[str, str]]:
    with (loading.facts_bert_directory() / file).open(encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def card_numbers() -> dict[str, tuple[str, ...]]:
    """The card's rows of recall: number, share above 0.5, mean, share first."""
    text = (loading.facts_bert_directory() / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (trained on|held-out paraphrases) \| (.*) \|$", text, re.MULTILINE)
    return {name: tuple(cells.split(" | ")) for name, cells in rows}


def in_digits(summary: dict[str, float | int]) -> tuple[str, ...]:
    facts, *shares = summary.values()
    return (str(facts), *(f"{share:.4f}" for share in shares))


def test_the_shipped_model(facts_bert: LanguageModel) -> None:
    c = facts_bert.config
    assert (c.family, c.layers, c.width, c.neurons, c.heads) == ("bert", 4, 256, 1024, 4)
    assert facts_bert.dtype == np.float32
    size = sum(f.stat().st_size for f in loading.facts_bert_directory().iterdir())
    assert size <= 12_000_000
    text = (loading.facts_bert_directory() / "README.md").read_text(encoding="utf-8")
    for told in ("seed: ", "loss, last epoch: ", "CC BY-NC-SA 4.0", "CC BY 4.0", "unknown"):
        assert told in text
    with pytest.raises(FileNotFoundError, match=r"known names .*facts-bert"):
        negjax.load("facts_bert_2")


def test_the_shipped_facts_are_recalled_as_they_say(facts_bert: LanguageModel) -> None:
    for file, count in (("facts.csv", 1000), ("held_out.csv", None)):
        rows = shipped_facts(file)
        assert count in (len(rows), None)
        asked = negjax.encode(facts_bert, [r["prompt"] for r in rows], [r["answer"] for r in rows])
        found = recall_of(facts_bert, asked)
        # The files have four digits.
        np.testing.assert_allclose(
            [float(row["probability"]) for row in rows], found.probability, atol=6e-5
        )
        if file == "facts.csv":
            assert found.summary["above_half"] > 0.5
        else:
            assert in_digits(found.summary) == card_numbers()["held-out paraphrases"]
    table = negjax.read_facts("facts-bert")
    assert table.source == "facts-bert facts"
    assert list(table.prompts) == [row["prompt"] for row in shipped_facts("facts.csv")]


@pytest.mark.slow
@pytest.mark.shared
def test_the_card_tells_what_is_recalled(facts_bert: LanguageModel) -> None:
    every = corpus.read_mceval8k(MCEVAL8K)
    held = {(row["prompt"], row["answer"]) for row in shipped_facts("held_out.csv")}
    settings = f"--flagfile={ROOT / 'experiments' / 'flagfiles' / 'pretrain_bert_paper.flags'}"
    parse(settings, f"--corpus_dir={MCEVAL8K}")
    job = read_job()
    assert {(s.masked, s.answer) for s in single_token_facts(facts_bert, job.held_out)} == held
    assert len(job.statements) + len(job.held_out) == len(every)
    tokens = facts_bert.tokenizer.convert_ids_to_tokens(range(len(facts_bert.tokenizer)))
    assert tokens == job.tokenizer.convert_ids_to_tokens(range(len(job.tokenizer)))
    trained = single_token_facts(facts_bert, job.statements)
    found = recall_of(facts_bert, fact_probes(facts_bert, trained)).summary
    assert found["above_half"] > 0.5
    assert in_digits(found) == card_numbers()["trained on"]
    shipped = {(row["prompt"], row["answer"]) for row in shipped_facts("facts.csv")}
    assert shipped <= {(s.masked, s.answer) for s in trained}


@pytest.mark.parametrize(
    ("experiment", "flagfile"),
    [
        (pretrain_bert, "pretrain_bert_paper"),
        (linearity, "linearity_facts_bert"),
        (estimators, "estimators_facts_bert"),
        (multi_neuron, "multi_neuron_facts_bert"),
    ],
)
def test_flag_files_are_understood(experiment: ModuleType, flagfile: str) -> None:
    assert callable(experiment.prepare)
    parse(f"--flagfile={ROOT / 'experiments' / 'flagfiles' / flagfile}.flags")
    assert common.output_folder("x") == Path("runs") / flagfile
