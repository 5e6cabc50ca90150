"""How the cost of negjax grows: one size after the other, all others held, on random Llamas."""

import dataclasses
import functools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from tqdm import tqdm

import negjax
from experiments.bench.probes import blank_probes
from negjax.execution.batching import split_probes
from negjax.execution.running import needed_bytes
from negjax.measurements.gradient_runs import gradient_program
from negjax.model import meshes
from negjax.model.config import ModelConfig
from negjax.model.language_model import LanguageModel
from negjax.model.transformer import Transformer
from negjax.process import bars
from negjax.weights.families import family_of

VOCABULARY, HEAD_WIDTH = 8192, 64
RUNS = 3
"""Of each work after its first, of which the fastest counts."""
RADIUS = 2.0
"""Largest shift of a sweep."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sizes:
    """Of a model and of what is measured of it."""

    prompts: int = 1
    tokens: int = 32
    """Of a prompt."""
    neurons: int = 64
    """Of a sweep."""
    shifts: int = 8
    """Of each neuron: an even number."""
    labels: int = 1
    """Targets of a prompt."""
    layers: int = 4
    width: int = 512
    """D; feed-forward networks have 4 · D neurons."""
    devices: int = 1
    """Among which heads, neurons and the vocabulary are divided."""


class Axis(NamedTuple):
    """A size that grows."""

    name: str
    work: Literal["neurgrad", "sweep"]
    sizes: tuple[Sizes, ...]
    """Those measured, the smallest first."""
    size: Callable[[Sizes, LanguageModel], int]
    """By which the cost is judged."""


def _axis(
    name: str, work: Literal["neurgrad", "sweep"], values: Sequence[int], base: Sizes
) -> Axis:
    """An axis whose name is that of the field which grows."""
    sizes = tuple(dataclasses.replace(base, **{name: value}) for value in values)
    return Axis(name, work, sizes, lambda sizes, _: int(getattr(sizes, name)))


AXES = (
    _axis("prompts", "neurgrad", (8, 16, 32, 64), Sizes()),
    _axis("tokens", "neurgrad", (512, 1024, 2048, 4096, 8192), Sizes()),
    _axis("labels", "neurgrad", (4, 8, 16, 32), Sizes(prompts=8)),
    _axis("layers", "neurgrad", (4, 8, 16, 32), Sizes(prompts=8)),
    Axis(
        "parameters",
        "neurgrad",
        tuple(Sizes(prompts=8, layers=16, width=width) for width in (256, 512, 1024, 2048)),
        lambda _, lm: lm.parameter_count,
    ),
    _axis("neurons", "sweep", (64, 128, 256, 512), Sizes()),
    _axis("shifts", "sweep", (8, 16, 32, 64), Sizes()),
    _axis("devices", "neurgrad", (1, 2, 4, 8), Sizes(prompts=8, width=1024)),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Point:
    """What one size costs."""

    axis: str
    work: str
    size: int
    seconds: float
    """Of a call, once it is compiled."""
    compile_seconds: float
    """That a first call takes beyond a later one, but for what varies from call to call."""
    held_bytes: int | None
    """Of the program besides the weights, as the compiler says; None of a sweep, whose budget
    decides it."""


@bars.without_bars()
def measure(axes: Sequence[Axis], points: int) -> list[Point]:
    """Measures axes.

    Args:
        points: of each axis, its first ones.
    """
    work = [(axis, sizes) for axis in axes for sizes in axis.sizes[:points]]
    # How many devices a processor is taken for is said once a process.
    apart = {axis.name for axis in axes if len({sizes.devices for sizes in axis.sizes}) > 1}
    return [
        _in_its_own_process(axis, sizes) if axis.name in apart else measured(axis, sizes)
        for axis, sizes in tqdm(work, unit="size", disable=None)
    ]


def _in_its_own_process(axis: Axis, sizes: Sizes) -> Point:
    command = [sys.executable, "-m", "experiments.bench.scaling_child", axis.name]
    done = subprocess.run(
        [*command, json.dumps(dataclasses.asdict(sizes))], capture_output=True, text=True
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:]
        raise ValueError(f"{sizes.devices} devices could not be measured: {' '.join(last)}")
    return Point(**json.loads(done.stdout.splitlines()[-1]))


def measured(axis: Axis, sizes: Sizes) -> Point:
    """What one size costs."""
    lm = random_model(sizes)
    probes = _probes(sizes)
    held = None
    if axis.work == "neurgrad":
        split = split_probes(lm.config, probes, np.arange(sizes.prompts))
        site = lm.config.site(None)
        held = needed_bytes(lm, gradient_program, split, site, "probability", False, None)
        jax.clear_caches()

    neurons = negjax.random_neurons(lm.config, sizes.neurons, 1, 0)[0]
    shifts = negjax.paper_grid(RADIUS, 2 * RADIUS / sizes.shifts)

    def call() -> float:
        start = time.perf_counter()
        if axis.work == "neurgrad":
            negjax.neurgrad(lm, probes)
        else:
            negjax.sweep(lm, probes, neurons, shifts, target=0)
        return time.perf_counter() - start

    first = call()
    seconds = min(call() for _ in range(RUNS))
    return Point(
        axis=axis.name,
        work=axis.work,
        size=axis.size(sizes, lm),
        seconds=seconds,
        compile_seconds=max(first - seconds, 0.0),
        held_bytes=held,
    )


def random_model(sizes: Sizes) -> LanguageModel:
    """A Llama of random weights in float32."""
    config = _config(sizes)
    graphdef, params = nnx.split(Transformer(config, rngs=nnx.Rngs(0), dtype=jnp.dtype("float32")))
    mesh = None
    if sizes.devices > 1:
        mesh = meshes.make_mesh(meshes.MeshShape(model=sizes.devices), config)
        params = jax.tree.map(
            functools.partial(_placed, mesh), params, is_leaf=lambda x: isinstance(x, nnx.Variable)
        )
    return LanguageModel(
        name="a random Llama",
        config=config,
        graphdef=graphdef,
        params=params,
        tokenizer=None,
        fingerprint="",
        mesh=mesh,
    )


def _placed(mesh: Mesh, variable: Any) -> Any:
    sharding = meshes.parameter_sharding(variable, mesh)
    return variable.replace(jax.device_put(variable.get_value(), sharding))


def _config(sizes: Sizes) -> ModelConfig:
    described = {
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": sizes.width,
        "num_hidden_layers": sizes.layers,
        "intermediate_size": 4 * sizes.width,
        "num_attention_heads": max(1, sizes.width // HEAD_WIDTH),
        "vocab_size": VOCABULARY,
        "max_position_embeddings": sizes.tokens,
        "rms_norm_eps": 1e-5,
    }
    return family_of("llama", "a random model").config_from_hf(described, "a random model")


def _probes(sizes: Sizes) -> negjax.Probes:
    """Prompts that have not even their first token in common."""
    shape = (sizes.prompts, sizes.tokens)
    tokens = np.random.default_rng(0).integers(0, VOCABULARY, shape).astype(np.int32)
    tokens[:, 0] = np.arange(sizes.prompts)
    targets = np.broadcast_to(np.arange(sizes.labels), (sizes.prompts, sizes.labels))
    return blank_probes(tokens, np.ones(shape, bool), targets)
