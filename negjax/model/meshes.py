"""Several devices: a mesh of axes `data` and `model`, and which part of an array each holds.

Parameters are divided along heads, neurons and the vocabulary among the devices of `model` (Shoeybi
et al. 2019, arXiv 1909.08053), prompts among those of `data`. XLA divides the programs accordingly
and adds what devices have to tell each other, so that no measurement knows of it.
"""

import itertools
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
from flax import nnx
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec, Sharding

from negjax.errors import Argument, ArgumentError
from negjax.model.config import ModelConfig

DATA, MODEL = "data", "model"
DIVIDED = "HGFIV"
"""Axes of parameters that are divided: heads, key/value heads, neurons, an expert's neurons, the
vocabulary."""

SLAB_BYTES = 1 << 28
"""Of an array that several processes hold, what is brought together at once."""

Tree = TypeVar("Tree")
Result = TypeVar("Result")


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
    """Devices in a mesh: the first of this process, or, where it takes all, those of all processes.

    Raises:
        ValueError: there are fewer devices, or some of another process would be left idle, or the
            mesh does not fit the model.
    """
    check_divides(config, shape)
    own, there = jax.local_device_count(), jax.device_count()
    if shape.devices > there:
        raise ArgumentError(
            Argument("mesh", str(shape)), f" has {shape.devices} devices, there are {there}"
        )
    if own < shape.devices < there:
        raise ArgumentError(
            Argument("mesh", str(shape)),
            f" has {shape.devices} devices, there are {own} of this process and {there} of all; "
            f"expected {own} or fewer, each process then computes alone, or {there}, they then "
            "compute together",
        )
    some = jax.local_devices() if shape.devices <= own else jax.devices()
    devices = list(itertools.islice(some, shape.devices))
    auto = (AxisType.Auto, AxisType.Auto)
    return jax.make_mesh(tuple(shape), (DATA, MODEL), auto, devices=devices)


def is_shared(mesh: Mesh | None) -> bool:
    """Whether devices of several processes are in a mesh."""
    return mesh is not None and len({device.process_index for device in mesh.devices.flat}) > 1


def own_part(sharding: Sharding, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """The smallest block of an array that holds all that this process's devices have of it."""
    every = sharding.addressable_devices_indices_map(shape).values()
    ranges = [
        [part.indices(size)[:2] for part, size in zip(index or (), shape, strict=True)]
        for index in every
    ]
    return tuple(
        slice(min(start for start, _ in axis), max(stop for _, stop in axis))
        for axis in zip(*ranges, strict=True)
    )


def _divided_among(letter: str, size: int, mesh: Mesh) -> str | None:
    """The mesh axis that divides an axis of parameters."""
    # Key/value heads that are fewer than the devices, and a vocabulary that they do not divide,
    # are held by each.
    return MODEL if letter.upper() in DIVIDED and size % mesh.shape[MODEL] == 0 else None


def from_part(
    part: np.ndarray, own: tuple[slice, ...], sharding: Sharding, shape: tuple[int, ...]
) -> jax.Array:
    """An array of which this process has a block in host memory: its devices get theirs of it.

    Args:
        part: the block, and `own` where it lies, `own_part`.
    """

    def of_device(index: tuple[slice, ...] | None) -> np.ndarray:
        moved = (
            slice(at.indices(size)[0] - block.start, at.indices(size)[1] - block.start)
            for at, size, block in zip(index or (), shape, own, strict=True)
        )
        return part[tuple(moved)]

    return jax.make_array_from_callback(shape, sharding, of_device)


def to_host(array: np.ndarray | jax.Array) -> np.ndarray:
    """An array's values in host memory.

    Where several processes hold parts of it these are brought together, so that each must ask.
    """
    if isinstance(array, jax.Array) and not (
        array.is_fully_addressable or array.is_fully_replicated
    ):
        array = multihost_utils.process_allgather(array, tiled=True)
    return np.asarray(array)


def of_first_process(values: np.ndarray, mesh: Mesh | None) -> np.ndarray:
    """What process 0 of a shared mesh has, in all its processes, each of which must ask.

    Args:
        values: of process 0; those of others say the shape and the dtype.
    """
    if not is_shared(mesh):
        return values
    return np.asarray(multihost_utils.broadcast_one_to_all(values))


def said_by_first(answers: Sequence[object], mesh: Mesh | None) -> list[bool]:
    """Whether something holds, as process 0 of a shared mesh says; each must ask."""
    said: list[bool] = of_first_process(np.asarray([bool(x) for x in answers]), mesh).tolist()
    return said


def all_or_none(work: Callable[[], Result], mesh: Mesh | None) -> Result:
    """What `work` returns here. Where it fails in a process of a shared mesh, it fails in all, so
    that none waits for another that went its own way.

    Raises:
        ValueError: it failed in another process, whose own error says why.
    """
    if not is_shared(mesh):
        return work()
    error: Exception | None = None
    try:
        result = work()
    # Whatever it is: it is raised below, when all know of it.
    except Exception as own:
        error = own
    failed = multihost_utils.process_allgather(np.asarray(error is not None))
    if error is not None:
        raise error
    if failed.any():
        raise ValueError(f"process {failed.argmax()} of the mesh failed; its own error says why")
    return result


def by_first(work: Callable[[], Result], mesh: Mesh | None) -> Result | None:
    """The same of what process 0 alone is to do; None in the others."""
    first = not is_shared(mesh) or jax.process_index() == 0
    return all_or_none(lambda: work() if first else None, mesh)


def slabs(array: np.ndarray | jax.Array) -> Iterator[np.ndarray]:
    """An array's values in host memory, part after part along its first axis."""
    if not isinstance(array, jax.Array) or array.is_fully_addressable or not array.ndim:
        yield to_host(array)
        return
    each = max(1, SLAB_BYTES * len(array) // max(1, array.nbytes))
    for start in range(0, len(array), each):
        yield to_host(array[start : start + each])


def given(tree: Tree, mesh: Mesh | None) -> Tree:
    """Arguments of a program; on a shared mesh what one device has is given by value."""
    if not is_shared(mesh):
        return tree

    def by_value(leaf: Any) -> Any:
        own = isinstance(leaf, jax.Array) and leaf.is_fully_addressable
        return np.asarray(leaf) if own else leaf

    result: Tree = jax.tree.map(by_value, tree)
    return result


def parameter_sharding(variable: Any, mesh: Mesh) -> NamedSharding:
    """Which part of a parameter each device holds.

    Args:
        variable: with its axes as metadata; the blocks' have one more in front, for the layers.
    """
    axes, shape = variable.get_metadata()["axes"], variable.get_value().shape
    names: list[str | None] = [None] * (len(shape) - len(axes))
    for letter, size in zip(axes, shape[len(names) :], strict=True):
        names.append(_divided_among(letter, size, mesh))
    return NamedSharding(mesh, PartitionSpec(*names))


def by_prompt(tree: Tree, mesh: Mesh | None) -> Tree:
    """Arrays [P, …], their prompts divided among the devices of `data` where these divide P."""
    if mesh is None:
        return tree

    def placed(array: jax.Array) -> jax.Array:
        spec = PartitionSpec(None if len(array) % mesh.shape[DATA] else DATA)
        sharding = NamedSharding(mesh, spec)
        if is_shared(mesh):
            whole = tuple(slice(0, size) for size in array.shape)
            return from_part(np.asarray(array), whole, sharding, array.shape)
        moved: jax.Array = jax.device_put(array, sharding)
        return moved

    result: Tree = jax.tree.map(placed, tree)
    return result


def rows_apart(rows: jax.Array, axis: int = 1) -> jax.Array:
    """Rows of one prompt, divided among the devices of `data` where these divide their number.

    Inside a program that runs in `LanguageModel.numerics`; prompts that are several are divided
    already.

    Args:
        axis: of the rows; before it stands the one prompt.
    """
    mesh = jax.sharding.get_abstract_mesh()
    groups = 1 if mesh.empty else mesh.shape.get(DATA, 1)
    if groups == 1 or math.prod(rows.shape[:axis]) != 1 or rows.shape[axis] % groups:
        return rows
    spec = PartitionSpec(*[None] * axis, DATA)
    result: jax.Array = jax.lax.with_sharding_constraint(rows, spec)
    return result


def rows_together(rows: jax.Array, axis: int = 1) -> jax.Array:
    """What was made of rows that were apart, on every device again."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or math.prod(rows.shape[:axis]) != 1:
        return rows
    result: jax.Array = jax.lax.with_sharding_constraint(rows, PartitionSpec())
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
