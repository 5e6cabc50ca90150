"""Predicted against measured, on this machine: three models, three works."""

import dataclasses
import functools
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from tqdm import tqdm

import negjax
from experiments.plan import models, works
from experiments.plan.estimates import Estimator
from experiments.plan.here import Here
from experiments.plan.works import Work
from experiments.reporting.escaping import code_span
from experiments.reporting.tables import Column, Table, markdown_lines, terminal_lines
from experiments.running import provenance
from negjax.execution.batching import DEFAULT_BUDGET_BYTES
from negjax.model.config import ModelConfig
from negjax.model.language_model import LanguageModel
from negjax.model.meshes import MeshShape
from negjax.model.transformer import Transformer
from negjax.process import bars
from negjax.weights import loading
from negjax.weights.families import family_of

WITHIN = 0.25
"""Largest difference of a prediction from what was measured, in shares of that."""
RUNS = 2
"""Of each work, in turn with its rates, which are measured first and last: the fastest of each
counts, as a machine's pace varies."""
PROMPTS, TOKENS = 16, 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """A model, and the sizes of what is measured of it."""

    name: str
    neurons: int
    """Of the sweep."""
    shifts: int
    """An even number of them."""
    layers: tuple[int, ...]
    """Whose neurons' NEG is measured."""
    config: ModelConfig | None = None
    """Of random weights; None: the embedded model."""


def llama_like(width: int, layers: int, neurons: int, heads: int, kv_heads: int) -> ModelConfig:
    """The config of a Llama of some sizes, with Llama 2's vocabulary."""
    sizes = {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "intermediate_size": neurons,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
    }
    same = {"vocab_size": 32000, "max_position_embeddings": 2048, "rms_norm_eps": 1e-5}
    return family_of("llama", "a random model").config_from_hf(
        {"model_type": "llama", "hidden_act": "silu", **sizes, **same}, "a random model"
    )


CASES = (
    Case(name=loading.EMBEDDED, neurons=50, shifts=100, layers=(14, 15)),
    Case(
        name="random, 0.3 B",
        neurons=100,
        shifts=20,
        layers=(20, 21),
        config=llama_like(1024, 24, 2816, 16, 4),
    ),
    Case(
        name="random, 1.1 B",
        neurons=50,
        shifts=20,
        layers=(20,),
        config=llama_like(2048, 22, 5632, 32, 4),
    ),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compared:
    """A work of a model."""

    model: str
    parameters: int
    work: str
    operations: float
    predicted: float
    """Seconds."""
    measured: float
    """Seconds."""

    @property
    def ratio(self) -> float:
        """Predicted by measured."""
        return self.predicted / self.measured

    @property
    def holds(self) -> bool:
        """Whether the two are as near as is wanted."""
        return abs(self.ratio - 1) <= WITHIN


def random_model(name: str, config: ModelConfig) -> LanguageModel:
    """A model of random weights in float32."""
    graphdef, params = nnx.split(Transformer(config, rngs=nnx.Rngs(0), dtype=jnp.dtype("float32")))
    lm = models.without_weights(name, config, "float32", "highest")
    return dataclasses.replace(lm, graphdef=graphdef, params=params)


@bars.without_bars()
def validate() -> list[Compared]:
    """Predicts and measures all works of all cases."""
    found: list[Compared] = []
    for case in tqdm(CASES, unit="model", disable=None):
        found += _compare(case)
        jax.clear_caches()
    return found


def _compare(case: Case) -> Iterable[Compared]:
    lm = (
        negjax.load(case.name, precision="float32")
        if case.config is None
        else random_model(case.name, case.config)
    )
    config, budget = lm.config, DEFAULT_BUDGET_BYTES
    many, single = (models.probes_of(config, count, TOKENS) for count in (PROMPTS, 1))
    # Alike in length, not in what they say.
    tokens = np.random.default_rng(0).integers(3, config.vocab_size, many.tokens.shape)
    many = dataclasses.replace(many, tokens=tokens)
    single = dataclasses.replace(single, tokens=tokens[:1])
    rows = works.spread_evenly(config.layers, case.neurons, 1)
    index = np.arange(case.neurons) % config.neurons
    shifts = negjax.paper_grid(10.0, 20.0 / case.shifts)
    of_layers = np.stack(
        [
            np.repeat(case.layers, config.neurons),
            np.tile(np.arange(config.neurons), len(case.layers)),
        ],
        axis=-1,
    )
    abstract = models.without_weights(case.name, config, "float32", "highest")
    measured: list[tuple[Work, Callable[[], Any]]] = [
        (
            Work(
                name=f"NeurGrad, {PROMPTS} prompts of {TOKENS} tokens",
                steps=works.neurgrad(abstract, PROMPTS, TOKENS, budget),
            ),
            functools.partial(negjax.neurgrad, lm, many),
        ),
        (
            Work(
                name=f"sweep, {case.neurons} neurons × {case.shifts} shifts",
                steps=works.sweep(abstract, 1, TOKENS, np.repeat(rows, case.shifts), budget),
            ),
            functools.partial(negjax.sweep, lm, single, np.stack([rows, index], -1), shifts),
        ),
        (
            Work(
                name=f"NEG of {len(of_layers):,} neurons, {len(case.layers)} "
                f"layer{'s' * (len(case.layers) > 1)}",
                steps=works.neg_of_layers(abstract, TOKENS, case.layers, config.neurons, budget),
            ),
            functools.partial(negjax.neg, lm, single, of_layers),
        ),
    ]
    rates = Here("highest", PROMPTS * TOKENS, config.width, config.neurons)
    estimator = Estimator(abstract, MeshShape(), rates, streamed=False, layer_bytes=0)
    counts = [estimator.count(work) for work, _ in measured]
    taken = [np.inf] * len(measured)
    for _, run in measured:
        # Compiles.
        run()
    for turn in range(RUNS + 1):
        for count in counts:
            rates.seconds(count)
        if turn:
            rates.measure_again()
        if turn < RUNS:
            taken = [
                min(before, _timed(run)) for before, (_, run) in zip(taken, measured, strict=True)
            ]
    return [
        Compared(
            model=case.name,
            parameters=lm.parameter_count,
            work=work.name,
            operations=count.operations,
            predicted=rates.seconds(count),
            measured=seconds,
        )
        for (work, _), count, seconds in zip(measured, counts, taken, strict=True)
    ]


def _timed(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def compared_table(found: Sequence[Compared]) -> Table:
    """A row a work."""
    return Table(
        columns=[
            Column("model", lambda row: row.model),
            Column("work", lambda row: row.work),
            Column("TFLOP", lambda row: row.operations / 1e12, ".3g"),
            Column("predicted, s", lambda row: row.predicted, ".3g"),
            Column("measured, s", lambda row: row.measured, ".3g"),
            Column("predicted / measured", lambda row: row.ratio, ".2f"),
        ],
        rows=found,
    )


def verdict(found: Sequence[Compared]) -> str:
    """How many predictions are as near as is wanted."""
    held = sum(row.holds for row in found)
    return f"{held} of {len(found)} predictions within {WITHIN:.0%} of what was measured"


def printed(found: Sequence[Compared]) -> list[str]:
    """What the terminal shows."""
    return [*terminal_lines(compared_table(found)), "", verdict(found)]


def page(found: Sequence[Compared]) -> list[str]:
    """The same as Markdown."""
    machine = provenance.environment()
    return [
        f"Measured {time.strftime('%Y-%m-%d')} with {code_span(provenance.command())}: float32, "
        f"{machine['cpus']} cores, JAX {machine['packages']['jax']}.",
        "",
        *markdown_lines(compared_table(found)),
        "",
        f"{verdict(found)}.",
    ]
