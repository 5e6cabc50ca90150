"""What tests of the study of skills share: a user's model and benchmark, flags, accuracies."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from absl import flags
from pyarrow import parquet
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from experiments.reporting import templates
from experiments.reporting.report import Document
from experiments.running import study
from experiments.skill_studies import study as skills_study
from experiments.skill_studies.jobs import Results
from negjax.process.quiet import transformers
from negjax.storage import store
from negjax.storage.whole_files import finite_json
from negjax.weights.saving import save_pretrained
from tests.support.block_shapes import tiny
from tests.support.made_up_mceval8k import write_task

TASKS = ("ner", "mnli")
# Of made-up parts; the disjoint ones of 16 items a label, by what the split gives.
TRAIN, VALID, TEST = 12, 4, 8


def bytes_tokenizer() -> transformers.PreTrainedTokenizerFast:
    """A token a byte."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def write_inputs(path: Path) -> Path:
    """A model that reads bytes, and a benchmark of two tasks, as a user has them."""
    lm = tiny("gated", vocab_size=256, context_length=2048)
    save_pretrained(dataclasses.replace(lm, tokenizer=bytes_tokenizer()), path / "model")
    for name in TASKS:
        write_task(path / "benchmark", name, 8)
    return path


def arguments(inputs: Path, output: Path, *more: str) -> list[str]:
    """Flags of a run."""
    return [
        f"--model={inputs / 'model'}",
        f"--root={inputs / 'benchmark'}",
        f"--tasks={','.join(TASKS)}",
        f"--features={inputs / 'features'}",
        f"--output={output}",
        f"--train={TRAIN}",
        f"--valid={VALID}",
        f"--test={TEST}",
        "--trees=3",
        *more,
    ]


def parse(inputs: Path, output: Path, *more: str) -> None:
    """Takes flags as a command line does."""
    flags.FLAGS(["skills", *arguments(inputs, output, *more)])


def shown(report: ModuleType, results: Results) -> tuple[Mapping[str, Any], Document]:
    """What a study's module `report` makes of results: its part of summary.json, and a page."""
    made = skills_study.findings_of(report.findings(results), results, tiny("gated"))
    template = study.template(report.__name__.split(".")[1])
    return finite_json(made.summary), templates.document(
        template, made.report(made.summary).contents
    )


def rows_of(output: Path) -> list[dict[str, Any]]:
    """A run's accuracies."""
    return parquet.read_table(output / store.ACCURACIES).to_pylist()
