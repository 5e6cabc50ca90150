"""What a training run gave: measurements, the model as others load it, and what it recalls."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa

import negjax
from experiments.pretrain_bert.batches import predictions, steps_per_epoch
from experiments.pretrain_bert.corpus import Statement
from experiments.pretrain_bert.job import Job
from experiments.pretrain_bert.recall import Recall, fact_probes, recall_of, single_token_facts
from experiments.pretrain_bert.training import TrainingState, step_flops, trained_model
from experiments.reporting.tables import Column, Table, csv_bytes
from experiments.running import common
from negjax.storage import store
from negjax.storage.store import RunFolder
from negjax.weights.saving import save_pretrained

# Of the weights as exported: half of float32, and what the shipped model has.
EXPORTED = "bfloat16"
FACTS, HELD_OUT = "facts.csv", "held_out.csv"
# Facts that go with the model, to be measured on it.
SHIPPED_FACTS = 1000
# Tokens of the matrix product that steps are compared with.
PRODUCT_TOKENS = 2048


@dataclass(frozen=True, kw_only=True)
class RecalledFacts:
    """Facts with answers of one token, and what the exported model recalls of them."""

    facts: list[Statement]
    recall: Recall


@dataclass(frozen=True, kw_only=True)
class Results:
    """Of a run, finished or not."""

    steps: int
    """Done."""
    complete: bool
    """Whether training has ended, so that there is a model."""
    measured: dict[str, np.ndarray]
    """[steps] each, by the arrays' names."""
    recalled: dict[str, RecalledFacts]
    """`trained`, and `held_out` where there are such; none before the end."""
    speed: dict[str, float]


def analyse(job: Job, folder: RunFolder, steps: int, state: TrainingState | None) -> Results:
    """Reads the measurements and, where training has ended, exports the model and asks it.

    Args:
        steps: done.
        state: the last; None where training has not ended.
    """
    names = sorted(folder.arrays)
    measured = {name: folder.read(name, (slice(0, steps),)) for name in names}
    recalled = {}
    if state is not None:
        lm = export_model(job, folder, state)
        groups = {"trained": job.statements, "held_out": job.held_out}
        for name, statements in groups.items():
            facts = single_token_facts(lm, statements)
            if facts:
                probes = fact_probes(lm, facts)
                recall = recall_of(lm, probes, budget_bytes=common.budget_bytes())
                recalled[name] = RecalledFacts(facts=facts, recall=recall)
        _write_facts(job, folder, recalled)
    return Results(
        steps=steps,
        complete=state is not None,
        measured=measured,
        recalled=recalled,
        speed=_speed(job, measured),
    )


def export_model(job: Job, folder: RunFolder, state: TrainingState) -> negjax.LanguageModel:
    """Writes the model in Hugging Face layout; returns it as `negjax.load` gives it, in float32."""
    lm = trained_model(job.config, state.params, job.tokenizer, name="", dtype=EXPORTED)
    return negjax.load(save_pretrained(lm, folder.path / store.MODEL))


def loss_table(results: Results) -> pa.Table:
    """One row a step."""
    return pa.table({"step": np.arange(results.steps), **results.measured})


def epoch_losses(job: Job, results: Results) -> tuple[float, float]:
    """Mean loss of the first and of the last epoch, or of half the steps where there are fewer."""
    loss = results.measured["loss"]
    window = min(steps_per_epoch(job.texts, job.plan), max(1, len(loss) // 2))
    return float(loss[:window].mean()), float(loss[-window:].mean())


def corpus_facts(job: Job) -> dict[str, Any]:
    """What the run was trained on, in numbers."""
    facts = [s for s in job.statements if s.answer is not None]
    single = int((job.texts.answer_length == 1).sum())
    return {
        "source": job.source,
        "statements": len(job.statements),
        "facts": len(facts),
        "single_token_answers": single / len(facts) if facts else None,
        "held_out": len(job.held_out),
        "by_source": {
            source: sum(s.source == source for s in job.statements)
            for source in sorted({s.source for s in job.statements})
        },
        "tokens_an_epoch": int(job.texts.length.sum()),
        "steps_an_epoch": steps_per_epoch(job.texts, job.plan),
        "vocabulary": len(job.tokenizer),
    }


FACT_COLUMNS = (
    Column("prompt", lambda row: row[0].masked),
    Column("answer", lambda row: row[0].answer),
    Column("source", lambda row: row[0].source),
    # As a text, rounded: the table goes with a model for people to read.
    Column("probability", lambda row: f"{row[1]:.4f}"),
)


def _write_facts(job: Job, folder: RunFolder, recalled: dict[str, RecalledFacts]) -> None:
    generator = np.random.default_rng([job.seed, 4])
    for name, file in (("trained", FACTS), ("held_out", HELD_OUT)):
        if name not in recalled:
            continue
        facts, probability = recalled[name].facts, recalled[name].recall.probability
        chosen = np.sort(generator.permutation(len(facts))[:SHIPPED_FACTS])
        rows = [(facts[number], probability[number]) for number in chosen]
        table = Table(columns=FACT_COLUMNS, rows=rows)
        folder.write_bytes(str(Path(store.MODEL) / file), csv_bytes(table))


def _speed(job: Job, measured: dict[str, np.ndarray]) -> dict[str, float]:
    """Medians over steps, which leave compilation out, beside a plain matrix product."""
    shapes = list(zip(measured["rows"].astype(int), measured["length"].astype(int), strict=True))
    flops = np.asarray([step_flops(job.config, p, s, predictions(s)) for p, s in shapes])
    padded = measured["rows"] * measured["length"]
    seconds, busy = measured["seconds"], measured["cpu_seconds"]
    rate, product = float(np.median(flops / busy)), _product_rate(job)
    return {
        "seconds_a_step": float(np.median(seconds)),
        "cpu_seconds_a_step": float(np.median(busy)),
        "tokens_a_second": float(np.median(padded / seconds)),
        "tokens_a_cpu_second": float(np.median(padded / busy)),
        "padding": float(1 - measured["tokens"].sum() / padded.sum()),
        "gigaflops_a_cpu_second": rate / 1e9,
        "product_gigaflops_a_cpu_second": product / 1e9,
        "share_of_the_product_rate": rate / product,
        "hours": float(seconds.sum() / 3600),
        "cpu_hours": float(busy.sum() / 3600),
    }


def _product_rate(job: Job) -> float:
    """Floating-point operations a CPU-second of a product of the model's size, the best of ten."""
    d, f = job.config.width, job.config.neurons
    left, right = jnp.ones((PRODUCT_TOKENS, d)), jnp.ones((d, f))
    product = jax.jit(lambda a, b: a @ b)
    product(left, right).block_until_ready()
    times = []
    for _ in range(10):
        start = time.process_time()
        for _ in range(10):
            product(left, right).block_until_ready()
        times.append(time.process_time() - start)
    return 10 * 2 * PRODUCT_TOKENS * d * f / min(times)
