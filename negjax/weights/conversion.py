"""Weights from files to parameters and back, by one declarative table a family.

A rule moves one tensor of a file (one a layer, where its name holds `{l}`) to one parameter, by an
einops pattern over the model's axes. Every source tensor must be matched once and every parameter
filled; patterns are invertible, so the same table exports.
"""

import collections
import dataclasses
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from negjax.model import meshes
from negjax.model.config import ModelConfig
from negjax.model.streamed import Streamed
from negjax.model.transformer import Transformer
from negjax.process import bars
from negjax.storage.file_parts import Scratch, aligned_empty
from negjax.weights import finite
from negjax.weights.copying import copy_into, workers
from negjax.weights.masked_heads import check_heads
from negjax.weights.rules import Rule
from negjax.weights.streaming import LayerSource
from negjax.weights.tensors import Block, LazyTensor, Tensors

TENSOR = "tensor"
"""What a bar counts."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """A family's whole conversion."""

    rules: tuple[Rule, ...]
    duplicates: tuple[tuple[str, str], ...] = ()
    """(name, original), of one tensor under two names: where the file holds both they are equal,
    where it holds `name` alone, that is `original`."""
    stand_ins: tuple[tuple[str, str], ...] = ()
    """(name, original): `name` is read where the file lacks `original`, and is else of no use.
    Files written get both."""
    ignored: tuple[str, ...] = ()
    """Regular expressions of whole names that are no weights of the language model."""
    other_heads: tuple[str, ...] = ()
    """What names begin with, up to a dot, of heads for other tasks: left aside, which is said."""
    renames: tuple[tuple[str, str], ...] = ()
    """(regular expression, replacement), applied to the file's names first: older spellings."""

    def rename(self, name: str) -> str:
        """The name its rules use for a file's name."""
        for expression, replacement in self.renames:
            name = re.sub(expression, replacement, name)
        return name

    def is_ignored(self, name: str) -> bool:
        """Whether a tensor of this name is left aside."""
        return self.of_another_head(name) or any(
            re.fullmatch(expression, name) for expression in self.ignored
        )

    def of_another_head(self, name: str) -> bool:
        """Whether a tensor of this name is part of a head for another task."""
        return any(name.startswith(f"{start}.") for start in self.other_heads)


def abstract_model(
    config: ModelConfig, dtype: jnp.dtype
) -> tuple[nnx.GraphDef[Transformer], nnx.State[Any, Any]]:
    """Structure of the `Transformer` and its parameters' shapes, without any values."""
    model = nnx.eval_shape(lambda: Transformer(config, rngs=nnx.Rngs(0), dtype=dtype))
    return nnx.split(model)


def parameter_shapes(config: ModelConfig, dtype: jnp.dtype) -> dict[str, tuple[int, ...]]:
    """Shape of each parameter by dotted path; the blocks' start with L."""
    return {path: leaf.shape for path, leaf in _flat(abstract_model(config, dtype)[1])}


def to_parameters(
    tensors: Tensors,
    table: Table,
    config: ModelConfig,
    dtype: jnp.dtype,
    *,
    origin: str,
    streamed: bool = False,
    mesh: jax.sharding.Mesh | None = None,
) -> nnx.State[Any, Any]:
    """Parameters of the `Transformer` for `config`, from a file's tensors.

    Tensors are read into their place, a few at once; each parameter goes to the device whole. A
    device that computes in the host's memory takes it as it is.

    Args:
        tensors: by the names the table's rules use, after its renames.
        dtype: of the parameters.
        origin: file or directory, for errors.
        streamed: layers' matrices are not read: they stay where they are until they are used.
        mesh: devices that the parameters are divided among; of them a process reads what its own
            hold.

    Raises:
        ValueError: tensors are missing, left over or misshapen, hold numbers that are not finite in
            `dtype`, or a second copy of a tensor differs from the first; the message lists them.
    """
    tensors = _completed(_renamed(tensors, table, origin), table)
    if config.mlm_head:
        parts = ("head.dense", "head.bias")
        head = [rule.source for rule in table.rules if str(rule.target).startswith(parts)]
        check_heads(tensors, head, list(filter(table.of_another_head, tensors)), origin)
    _check_names_and_shapes(tensors, table, config, origin)
    _check_duplicates(tensors, table, origin)
    state = abstract_model(config, dtype)[1]
    variables = {_dotted(key): leaf for key, leaf in nnx.to_flat_state(state)}
    leaves = dict(_flat(state))
    _check_targets(table, leaves)
    shapes = {name: leaf.shape for name, leaf in leaves.items()}
    apart = [rule for rule in table.rules if streamed and _is_matrix(rule, config)]
    source = LayerSource(tensors, apart, shapes, config, dtype, origin)
    values: dict[str, Any] = {
        name: Streamed(shapes[name], jnp.dtype(dtype), name, source) for name in source.entries
    }
    held = [rule for rule in table.rules if rule not in apart]
    shardings = {
        name: None if mesh is None else meshes.parameter_sharding(variables[name], mesh)
        for name in shapes
        if name not in values
    }
    own = _own_blocks(held, shapes, shardings if meshes.is_shared(mesh) else {}, config)
    places = {name: aligned_empty(block.shape, jnp.dtype(dtype)) for name, block in own.items()}
    scratch = collections.defaultdict[int, Scratch](Scratch)

    def fill(task: tuple[Rule, int, str]) -> list[str]:
        rule, number, source = task
        wrong = []
        room = scratch[threading.get_ident()]
        parts = [own[target] for target in rule.targets]
        read = _read_parts(tensors[source], rule, parts, config, room)
        for target, value in zip(rule.targets, read, strict=True):
            part = _part(rule, places[target], number, value.shape)
            copy_into(part[0] if rule.per_layer else part, value)
            # While it is still in the processor's cache.
            wrong += finite.not_finite(part, source)
        return wrong

    tasks = []
    for rule in held:
        for target in rule.targets:
            # What is not used is as if it were not there.
            places[target][: rule.first_layer] = 1
        tasks += [
            (rule, *numbered) for numbered in _held_sources(rule, own[rule.targets[0]], config)
        ]
    wrong: list[str] = []
    with bars.counted(len(tasks), TENSOR) as bar, ThreadPoolExecutor(workers()) as pool:
        for found in pool.map(fill, tasks):
            wrong += found
            bar.count(1, TENSOR)
    finite.refuse(wrong, jnp.dtype(dtype).name, origin)
    for name in list(places):
        sharding, place = shardings[name], places.pop(name)
        if sharding is not None and meshes.is_shared(mesh):
            values[name] = meshes.from_part(place, own[name].index, sharding, shapes[name])
        else:
            values[name] = jax.device_put(place, sharding, may_alias=True)
    return nnx.from_flat_state(
        [(key, leaf.replace(values[_dotted(key)])) for key, leaf in nnx.to_flat_state(state)]
    )


def _own_blocks(
    rules: Iterable[Rule],
    shapes: Mapping[str, tuple[int, ...]],
    shardings: Mapping[str, jax.sharding.Sharding | None],
    config: ModelConfig,
) -> dict[str, Block]:
    """Which part of each parameter is read, of experts' rows whole experts; without a sharding all
    of it."""
    found = {}
    for rule in rules:
        for name in rule.targets:
            sharding = shardings.get(name)
            if sharding is None:
                found[name] = Block(tuple((0, size) for size in shapes[name]))
                continue
            part = meshes.own_part(sharding, shapes[name])
            ranges = [(axis.start, axis.stop) for axis in part]
            if _is_row_of_experts(rule, ranges, config):
                each = config.expert_neurons
                start, stop = ranges[1]
                ranges[1] = (start // each * each, -(-stop // each) * each)
            found[name] = Block(tuple(ranges))
    return found


def _is_row_of_experts(rule: Rule, ranges: Sequence[object], config: ModelConfig) -> bool:
    """Whether tensors of single experts follow each other along the parameter's second axis, in
    place of one of their own."""
    return rule.by_expert and len(ranges) == 1 + len(rule.target_shapes(config)[0])


def _held_sources(rule: Rule, block: Block, config: ModelConfig) -> list[tuple[int, str]]:
    """A rule's tensors of which a block of its parameter is made, each with its number there."""
    sources = rule.numbered_sources(config)
    if not _is_row_of_experts(rule, block.ranges, config):
        return sources
    first, stop = (end // config.expert_neurons for end in block.ranges[1])
    found = []
    for number, source in sources:
        layer, expert = divmod(number, config.experts)
        if first <= expert < stop:
            found.append((layer * (stop - first) + expert - first, source))
    return found


def _read_parts(
    tensor: LazyTensor, rule: Rule, parts: Sequence[Block], config: ModelConfig, room: Scratch
) -> Iterator[np.ndarray]:
    """Parts of the values of a rule's targets (a layer's, an expert's), from its tensor.

    Each is good until the next one is asked for.
    """
    shapes = rule.target_shapes(config)
    own = [Block(part.ranges[-len(shape) :]) for part, shape in zip(parts, shapes, strict=True)]
    whole = all(part.shape == shape for part, shape in zip(own, shapes, strict=True))
    if whole or _is_row_of_experts(rule, parts[0].ranges, config):
        yield from rule.convert(tensor.read(room), config)
        return
    pieces = rule.pieces(config, own)
    read = [tensor.part(piece.block) for piece in pieces or ()]
    if pieces is None or sum(part.form.size for part in read) > tensor.form.size:
        values = rule.convert(tensor.read(room), config)
        yield from (part(value) for part, value in zip(own, values, strict=True))
        return
    for piece, part in zip(pieces, read, strict=True):
        yield from piece.convert(part.read(room))


def _is_matrix(rule: Rule, config: ModelConfig) -> bool:
    """Whether a rule's tensors are matrices of layers, which a model consists of but for little."""
    return rule.per_layer and len(rule.source_shape(config)) > 1


def to_tensors(
    params: nnx.State[Any, Any], table: Table, config: ModelConfig
) -> dict[str, np.ndarray]:
    """The inverse of `to_parameters`: tensors by their names in a file, in the weights' dtype."""
    leaves = dict(_flat(params))
    _check_targets(table, leaves)
    tensors = {}
    for rule in table.rules:
        arrays = [meshes.to_host(leaves[target]) for target in rule.targets]
        shapes = rule.target_shapes(config)
        for number, source in rule.numbered_sources(config):
            parts = zip(arrays, shapes, strict=True)
            values = [_part(rule, array, number, shape).reshape(shape) for array, shape in parts]
            tensors[source] = rule.invert(values, config)
    return tensors | {name: tensors[original] for name, original in table.stand_ins}


def _part(rule: Rule, array: np.ndarray, number: int, shape: tuple[int, ...]) -> np.ndarray:
    """The entry of a parameter that comes from its rule's tensor of a number, as a view [1, …]."""
    return array.reshape(-1, *shape)[number : number + 1] if rule.per_layer else array


def _dotted(key: Iterable[object]) -> str:
    return ".".join(map(str, key))


def _flat(state: nnx.State[Any, Any]) -> list[tuple[str, Any]]:
    """Arrays, or their shapes, by dotted path."""
    return [(_dotted(key), leaf.get_value()) for key, leaf in nnx.to_flat_state(state)]


def _renamed(tensors: Tensors, table: Table, origin: str) -> Tensors:
    renamed: dict[str, LazyTensor] = {}
    for name, tensor in tensors.items():
        new = table.rename(name)
        if new in renamed:
            raise ValueError(f"{origin}: tensor {new!r} is there twice, once as {name!r}")
        renamed[new] = tensor
    return renamed


def _completed(tensors: Tensors, table: Table) -> Tensors:
    """The file's tensors, and those that it has under another name only."""
    copies = {
        original: tensors[name]
        for name, original in (*table.duplicates, *table.stand_ins)
        if name in tensors and original not in tensors
    }
    return {**tensors, **copies}


def _check_names_and_shapes(
    tensors: Tensors, table: Table, config: ModelConfig, origin: str
) -> None:
    expected = {
        source: rule.source_shape(config) for rule in table.rules for source in rule.sources(config)
    }
    copies = {name for name, _ in (*table.duplicates, *table.stand_ins)}
    missing = [name for name in expected if name not in tensors]
    left_over = [
        name
        for name in tensors
        if name not in expected and name not in copies and not table.is_ignored(name)
    ]
    misshapen = [
        f"{name} has shape {list(tensors[name].shape)}, the config means {list(shape)}"
        for name, shape in expected.items()
        if name in tensors and tensors[name].shape != shape
    ]
    problems = (("missing", missing), ("left over", left_over), ("misshapen", misshapen))
    if any(names for _, names in problems):
        raise ValueError(
            f"{origin}: the tensors do not fit the config of family {config.family!r}:\n"
            + "\n".join(finite.listed(kind, names) for kind, names in problems if names)
        )


def _check_duplicates(tensors: Tensors, table: Table, origin: str) -> None:
    for name, original in table.duplicates:
        if name in tensors and not np.array_equal(tensors[name].read(), tensors[original].read()):
            raise ValueError(
                f"{origin}: the config ties {name!r} to {original!r}, but the two differ; set "
                "tie_word_embeddings to false if both are meant, or remove the one that is not"
            )


def _check_targets(table: Table, leaves: Mapping[str, object]) -> None:
    targets = [target for rule in table.rules for target in rule.targets]
    if sorted(targets) != sorted(leaves):
        wrong = sorted(set(targets) ^ set(leaves)) or "some parameter twice"
        raise ValueError(f"weight table and parameters differ: {wrong}")
