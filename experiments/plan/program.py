"""The program: its flags, the plan, and where it is written."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from experiments.plan import chips, models, report, validation, works
from experiments.plan.chips import Chip
from experiments.plan.estimates import Estimator, Published, Rates
from experiments.plan.here import Here
from experiments.plan.report import Plan
from experiments.plan.works import Work
from experiments.running import common, messages, pages, provenance, terminal
from experiments.running.settings import define, setting
from negjax.model import meshes
from negjax.model.config import ModelConfig
from negjax.model.meshes import MeshShape
from negjax.process import precisions
from negjax.storage.whole_files import finite_json, write_json
from negjax.weights import residence

UNREAD = ("site", "seed", "overwrite")
"""Flags of all experiments that decide nothing here: no numbers are drawn, none are computed."""
UNREAD_BY_VALIDATION = (
    *("model", "dtype", "precision", "assume_harmless", "budget_mib", "chip", "mesh", "weights"),
    *("prompt_count", "prompt_tokens", "neurons_a_prompt", "shift_count", "node_count"),
    *("few_shot_tokens", "shared_tokens"),
)


ROWS = 16
"""Prompts whose tokens are the rows with which elementwise operations are measured."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What is planned."""

    chip: str = setting(
        chips.HERE, f"Device: {', '.join(chips.CHIPS)}, or here: this machine, measured first."
    )
    prompt_count: int = setting(1000, "Prompts of NeurGrad and of linearity.", least=1)
    prompt_tokens: int = setting(32, "Tokens of such a prompt.", least=2)
    neurons_a_prompt: int = setting(1000, "Neurons whose linearity is measured.", least=1)
    shift_count: int = setting(100, "Shifts of each on a grid, the paper's: ±10 by 0.2.", least=1)
    node_count: int = setting(12, "Replays of each through `negjax.response`.", least=4)
    few_shot_tokens: int = setting(440, "Tokens of a prompt of MCEval8K.", least=2)
    shared_tokens: int = setting(350, "First of them that a task's prompts share.", least=0)
    validate: bool = setting(
        False, "Predict and measure NeurGrad, a sweep and NEG of three models on this machine."
    )
    part: str = setting("plan", "Name of the plan's part of --page.")


FLAGS = define(Settings)


def main() -> int:
    """Plans, prints the table, writes it as JSON and Markdown; returns the exit status.

    Raises:
        ValueError, OSError: a flag is wrong, or means nothing here; there is no such model.
    """
    settings = FLAGS.read()
    common.refuse_unread("plan", UNREAD, "which computes nothing of the model")
    page = pages.page_file(settings.part)
    if settings.validate:
        common.refuse_unread("plan --validate", UNREAD_BY_VALIDATION, "whose work is fixed")
        found = validation.validate()
        printed, lines = validation.printed(found), validation.page(found)
        figures: dict[str, Any] = {"models": [dataclasses.asdict(row) for row in found]}
    else:
        plan = make_plan(settings)
        printed, lines, figures = report.printed(plan), report.page(plan), report.recorded(plan)
    folder = common.output_folder("plan")
    folder.mkdir(parents=True, exist_ok=True)
    figures |= {"environment": provenance.environment(), "command": provenance.command()}
    write_json(folder / "plan.json", finite_json(figures))
    terminal.say("\n".join([*printed, "", *_files(folder, page)]))
    if page is not None:
        pages.write_part(page, settings.part, "\n".join(lines))
    return 0


def _files(folder: Path, page: Path | None) -> list[str]:
    files = [f"all figures: {folder / 'plan.json'}"]
    return files if page is None else [*files, f"page: {page}"]


def make_plan(settings: Settings) -> Plan:
    """The plan that the flags ask for."""
    with messages.of_flag(FLAGS["chip"]):
        chip = chips.named(settings.chip)
    with messages.of_flag(common.MESH):
        given = common.MESH.value not in (None, residence.AUTO)
        mesh = meshes.read_mesh(common.MESH.value) if given else MeshShape()
        if chip is None and mesh.devices > 1:
            raise ValueError(f"this machine is one device; name a chip with --{FLAGS['chip'].name}")
    with common.of_model():
        config = models.read_config(common.model_name(), common.assumed_harmless())
    dtype, rung = _numbers(chip)
    # Shapes and operations are the same at every precision, and not every one compiles here.
    compiled_at = precisions.RUNGS["float32" if chip else rung]
    _check(settings, config)
    with messages.of_flag(common.MESH):
        share = models.share_of(config, mesh)
    lm = models.without_weights(common.model_name(), share, dtype, compiled_at)
    rates = _rates(chip, share, rung, settings)
    layer_bytes = models.bytes_of(lm.params["blocks"])
    parameter_bytes = models.bytes_of(lm.params)
    streamed = _streamed(parameter_bytes, rates)
    estimator = Estimator(lm, mesh, rates, streamed=streamed, layer_bytes=layer_bytes)
    each = layer_bytes // share.layers
    # Streamed: one layer computes while the next one comes.
    held = parameter_bytes - layer_bytes + 2 * each if streamed else parameter_bytes
    estimates = [estimator.estimate(work) for work in _works(settings, lm, config, mesh, chip)]
    rate, kind = rates.product_rate()
    whole = models.without_weights("", config, dtype, compiled_at)
    return Plan(
        model=common.model_name(),
        parameters=whole.parameter_count,
        dtype=dtype,
        precision=precisions.RUNGS[rung],
        device=rates.name,
        mesh=mesh,
        chip=chip,
        weights="streamed" if streamed else "resident",
        parameter_bytes=parameter_bytes,
        held_bytes=held,
        layer_bytes=each,
        product_rate=rate,
        product_kind=kind,
        memory_bytes=rates.memory_bytes,
        host_link=rates.host_link,
        # Each of a layer's weights is multiplied and added once a token.
        covering_tokens=lm.dtype.itemsize / rates.host_link * rate / 2,
        tokens=settings.prompt_tokens,
        estimates=estimates,
    )


def _streamed(parameter_bytes: int, rates: Rates) -> bool:
    """Whether layers' weights cross the host's link in every pass over them."""
    place, there = common.WEIGHTS.value, rates.memory_bytes
    if place != "auto":
        return bool(place == "streamed")
    return there is not None and parameter_bytes + common.budget_bytes() > there


def _check(settings: Settings, config: ModelConfig) -> None:
    every = config.layers * config.neurons
    with messages.of_flag(FLAGS["neurons_a_prompt"]):
        if settings.neurons_a_prompt > every:
            raise ValueError(f"the model has {every:,} neurons")
    for name in ("prompt_tokens", "few_shot_tokens"):
        with messages.of_flag(FLAGS[name]):
            if getattr(settings, name) > config.context_length:
                raise ValueError(f"the model's context is {config.context_length:,} tokens")
    with messages.of_flag(FLAGS["shared_tokens"]):
        if settings.shared_tokens >= settings.few_shot_tokens - 1:
            raise ValueError(
                f"a prompt of {settings.few_shot_tokens} tokens has two of its own at least; "
                f"expected at most {settings.few_shot_tokens - 2}"
            )


def _numbers(chip: Chip | None) -> tuple[str, str]:
    """Types of weights and the rung of products, as the flags say."""
    dtype, precision = common.DTYPE, common.PRECISION
    with messages.of_flag(dtype):
        if dtype.value == "float64":
            raise ValueError("plans are of float32 and bfloat16 weights")
    hardware = precisions.hardware_here() if chip is None else chip.hardware
    return dtype.value, precisions.chosen_rung(precision.value, hardware, dtype.value)


def _rates(chip: Chip | None, share: ModelConfig, rung: str, settings: Settings) -> Rates:
    if chip is None:
        rows = ROWS * settings.prompt_tokens
        return Here(precisions.RUNGS[rung], rows, share.width, share.neurons)
    return Published(chip, rung)


def _works(
    settings: Settings, lm: Any, config: ModelConfig, mesh: MeshShape, chip: Chip | None
) -> list[Work]:
    """What one device of the mesh does of each work."""
    s, budget = settings, common.budget_bytes()
    at_once = works.AT_HAND if chip is None else works.ACCELERATOR
    prompts = -(-s.prompt_count // mesh.data)
    neurons = -(-config.neurons // mesh.data)

    def sweep(shifts: int, noise: bool) -> list[works.Step]:
        layers = works.spread_evenly(config.layers, s.neurons_a_prompt, shifts)
        more = works.noise_layers(config.layers) if noise else layers[:0]
        rows = np.concatenate([layers, more])
        return works.sweep(lm, prompts, s.prompt_tokens, rows, budget, at_once)

    asked = f"{s.prompt_count:,} × {s.neurons_a_prompt:,}"
    return [
        Work(
            name=f"NeurGrad, {s.prompt_count:,} prompts",
            steps=works.neurgrad(lm, prompts, s.prompt_tokens, budget, at_once),
        ),
        Work(
            name=f"linearity, {asked}, {s.shift_count} shifts",
            steps=sweep(s.shift_count, noise=False),
        ),
        Work(name=f"the same through {s.node_count} nodes", steps=sweep(s.node_count, noise=True)),
        Work(
            name="exact NEG of every neuron, 1 prompt",
            steps=works.neg_of_all(lm, s.prompt_tokens, neurons, budget, at_once),
        ),
        Work(
            name="features of MCEval8K, 22 tasks",
            steps=works.features_of_mceval8k(
                lm, s.few_shot_tokens, s.shared_tokens, mesh.data, budget, at_once
            ),
        ),
    ]
