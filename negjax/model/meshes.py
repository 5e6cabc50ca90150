"""Several devices: a mesh of axes `data` and `model`, and which part of an array each holds.

Parameters are divided along heads, neurons and the vocabulary among the devices of `model` (Shoeybi
et al. 2019, arXiv 1909.08053), prompts among those of `data`. XLA divides the programs accordingly
and adds what devices have to tell each other, so that no measurement knows of it.
"""

import itertools
import math
import re
from typing import Any, NamedTuple, TypeVar

import jax
from flax import nnx
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from negjax.errors import Argument, ArgumentError
from negjax.model.config import ModelConfig

DATA, MODEL = "data", "model"
DIVIDED = "HGFIV"
"""Axes of parameters that are divided: heads, key/value heads, neurons, an expert's neurons, the
vocabulary."""

Tree = TypeVar("Tree")


class MeshShape(NamedTuple):
    """Devices by mesh axis."""

    data: int = 1
    """Among which prompts are divided."""
    model: int = 1
    """Among which parameters are divided."""

    @property
    def devices(self) -> int:
        """All of them."""
        return self.data * self.model

    def __str__(self) -> str:
        return f"{DATA}:{self.data},{MODEL}:{self.model}"


def read_mesh(text: str) -> MeshShape:
    """A mesh from `data:2,model:4`; an axis that is left out has one device.

    Raises:
        ValueError: it is written otherwise.
    """
    parts = re.findall(r"(data|model):([1-9]\d{0,5})(?:,|$)", text)
    whole = ",".join(f"{name}:{size}" for name, size in parts)
    if not parts or whole != text or len({name for name, _ in parts}) < len(parts):
        raise ArgumentError(
            Argument("mesh", text),
            ": expected axes and their sizes from 1 on, such as data:2,model:4",
        )
    return MeshShape(**{name: int(size) for name, size in parts})


def check_divides(config: ModelConfig, shape: MeshShape) -> None:
    """Refuses a mesh that cuts through a head or a neuron.

    Raises:
        ValueError: naming the sizes of the axis `model` that fit.
    """
    heads, neurons = config.heads, config.expert_neurons
    if heads % shape.model or neurons % shape.model:
        most = math.gcd(heads, neurons)
        fit = ", ".join(str(size) for size in range(1, most + 1) if most % size == 0)
        raise ArgumentError(
            Argument("mesh", str(shape)),
            f": {MODEL}:{shape.model} divides {heads} heads and {neurons} neurons unevenly; "
            f"expected one of {MODEL}: {fit}",
        )


def make_mesh(shape: MeshShape, config: ModelConfig) -> Mesh:
    """Devices in a mesh, the first that there are.

    Raises:
        ValueError: there are fewer devices, or the mesh does not fit the model.
    """
    check_divides(config, shape)
    there = jax.device_count()
    if shape.devices > there:
        raise ArgumentError(
            Argument("mesh", str(shape)), f" has {shape.devices} devices, there are {there}"
        )
    devices = list(itertools.islice(jax.devices(), shape.devices))
    auto = (AxisType.Auto, AxisType.Auto)
    return jax.make_mesh(tuple(shape), (DATA, MODEL), auto, devices=devices)


def parameter_sharding(variable: Any, mesh: Mesh) -> NamedSharding:
    """Which part of a parameter each device holds.

    Args:
        variable: with its axes as metadata; the blocks' have one more in front, for the layers.
    """
    axes, shape = variable.get_metadata()["axes"], variable.get_value().shape
    names: list[str | None] = [None] * (len(shape) - len(axes))
    for letter, size in zip(axes, shape[len(names) :], strict=True):
        # Key/value heads that are fewer than the devices, and a vocabulary that they do not divide,
        # are held by each.
        fits = letter in DIVIDED and size % mesh.shape[MODEL] == 0
        names.append(MODEL if fits else None)
    return NamedSharding(mesh, PartitionSpec(*names))


def by_prompt(tree: Tree, mesh: Mesh | None) -> Tree:
    """Arrays [P, …], their prompts divided among the devices of `data` where these divide P."""
    if mesh is None:
        return tree

    def placed(array: jax.Array) -> jax.Array:
        spec = PartitionSpec(None if len(array) % mesh.shape[DATA] else DATA)
        moved: jax.Array = jax.device_put(array, NamedSharding(mesh, spec))
        return moved

    result: Tree = jax.tree.map(placed, tree)
    return result


def prompts_apart(mesh: Mesh | None) -> int:
    """Groups of devices among which prompts are divided."""
    return 1 if mesh is None else int(mesh.shape[DATA])


def held_bytes(params: nnx.State[Any, Any]) -> int:
    """Bytes of parameters on each device."""
    return sum(
        math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(params)
    )
