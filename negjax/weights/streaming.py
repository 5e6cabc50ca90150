"""Weights that stay in their files until a layer is computed.

A program asks for a layer's parameter by a callback. What lies in the file goes to the device as it
is, blocks of quantised numbers too, and is decoded, laid out and cast there. The next layer, in the
direction of the walk, is read meanwhile: of each tensor two layers are held.
"""

import dataclasses
import functools
import hashlib
import threading
import weakref
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np

from negjax.model.config import ModelConfig
from negjax.storage.file_parts import Scratch
from negjax.weights import finite
from negjax.weights.copying import workers
from negjax.weights.hashing import hashes
from negjax.weights.rules import Rule
from negjax.weights.tensors import LazyTensor, Tensors


@dataclasses.dataclass
class Held:
    """A layer that is read, or being read."""

    data: Future[np.ndarray]
    scratch: Scratch
    """What it is read to."""
    given: list[weakref.ref[np.ndarray]] = dataclasses.field(default_factory=list)
    """What programs were given of it."""

    @property
    def in_use(self) -> bool:
        """Whether a program still reads it."""
        return any(given() is not None for given in self.given)


class Shelf:
    """A rule's tensors, of which those of the layer asked for and of the next are held.

    Args:
        layers: the tensors of each layer: one, or one for each expert, alike in form.
        pool: threads that read.
    """

    def __init__(self, layers: Sequence[Sequence[LazyTensor]], pool: ThreadPoolExecutor) -> None:
        self.layers = layers
        self._pool = pool
        self._lock = threading.Lock()
        self._held: dict[int, Held] = {}
        self._free: list[Scratch] = []
        self._last, self._step = -1, 1
        self.failure: Exception | None = None

    def take(self, layer: int | np.ndarray | jax.Array) -> np.ndarray:
        """What is stored of a layer, [its tensors, ...]: it stays as long as it is referred to."""
        wanted = int(layer)
        with self._lock:
            self._turn(wanted)
            following = wanted + self._step
            self._drop_all_but({wanted, following})
            held = self._start(wanted)
            if 0 <= following < len(self.layers):
                self._start(following)
            try:
                given = held.data.result()[:]
            except Exception as error:
                # The next call reads anew.
                self._drop_all_but(set())
                self.failure = error
                raise
            held.given = [ref for ref in held.given if ref() is not None] + [weakref.ref(given)]
            return given

    def _turn(self, layer: int) -> None:
        """Notes which way the walk goes: as from the last layer to this one, and back at an end."""
        if abs(layer - self._last) == 1:
            self._step = layer - self._last
        if layer == 0:
            self._step = 1
        elif layer == len(self.layers) - 1:
            self._step = -1
        self._last = layer

    def _drop_all_but(self, layers: set[int]) -> None:
        for layer in self._held.keys() - layers:
            held = self._held.pop(layer)
            if not held.data.cancel():
                held.data.exception()
            if not held.in_use:
                self._free.append(held.scratch)

    def _start(self, layer: int) -> Held:
        if layer not in self._held:
            scratch = self._free.pop() if self._free else Scratch()
            read = self._pool.submit(self._read, layer, scratch)
            self._held[layer] = Held(read, scratch)
        return self._held[layer]

    def _read(self, layer: int, scratch: Scratch) -> np.ndarray:
        tensors = self.layers[layer]
        form = tensors[0].form
        room = scratch(form.size * len(tensors)).reshape(len(tensors), form.size)
        for tensor, place in zip(tensors, room, strict=True):
            _read_into(tensor, place)
        return room.view(form.dtype).reshape(len(tensors), *form.shape)


def _read_into(tensor: LazyTensor, place: np.ndarray) -> None:
    """Fills bytes with what is stored of a tensor."""
    stored = tensor.stored(lambda _: place)
    if not np.shares_memory(stored, place):
        place[...] = np.ascontiguousarray(stored).reshape(-1).view(np.uint8)


@dataclasses.dataclass(frozen=True)
class Entry:
    """A parameter that is streamed."""

    rule: Rule
    target: int
    """Which of its rule's."""
    shape: tuple[int, ...]
    """[L, ...]."""


class LayerSource:
    """The streamed parameters of one model, `negjax.model.streamed.Source`.

    Args:
        tensors: by the names that rules use.
        rules: of what is streamed.
        shapes: of their parameters, [L, ...].
        dtype: of the parameters.
        origin: file or directory, for errors.
    """

    def __init__(
        self,
        tensors: Tensors,
        rules: Sequence[Rule],
        shapes: Mapping[str, tuple[int, ...]],
        config: ModelConfig,
        dtype: jnp.dtype,
        origin: str,
    ) -> None:
        self.config, self.dtype, self.origin = config, jnp.dtype(dtype), origin
        self.entries = {
            target: Entry(rule, number, shapes[target])
            for rule in rules
            for number, target in enumerate(rule.targets)
        }
        self._pool = ThreadPoolExecutor(workers(), thread_name_prefix="weights")
        self._names: dict[Rule, list[list[str]]] = {}
        self._shelves: dict[Rule, Shelf] = {}
        # Several parameters may lie in one tensor, which is read through once.
        self._hashes: dict[Rule, bytes] = {}
        for rule in rules:
            names, each = rule.sources(config), rule.a_layer(config)
            self._names[rule] = [names[at : at + each] for at in range(0, len(names), each)]
            layers = [[tensors[name] for name in layer] for layer in self._names[rule]]
            self._shelves[rule] = Shelf(layers, self._pool)

    def fetched(self, path: str, layer: jax.Array) -> jax.Array:
        """A layer's entry [...] of a parameter, as an operation of the program that is traced."""
        entry = self.entries[path]
        shelf = self._shelves[entry.rule]
        # Files may hold a tensor of some layers in another type than that of others.
        kinds = [(layer[0].form, layer[0].steps) for layer in shelf.layers]
        known = list(dict.fromkeys(kinds))
        programs = [
            functools.partial(self._decoded, entry, shelf, shelf.layers[kinds.index(kind)])
            for kind in known
        ]
        if len(programs) == 1:
            return programs[0](layer)
        numbers = jnp.asarray([known.index(kind) for kind in kinds], jnp.int32)
        result: jax.Array = jax.lax.switch(numbers[layer], programs, layer)
        return result

    def _decoded(
        self, entry: Entry, shelf: Shelf, like: Sequence[LazyTensor], layer: jax.Array
    ) -> jax.Array:
        form = like[0].form
        stored = jax.pure_callback(
            shelf.take,
            jax.ShapeDtypeStruct((len(like), *form.shape), form.dtype),
            layer,
            vmap_method="sequential",
        )

        def value(stored: jax.Array) -> jax.Array:
            found: jax.Array = entry.rule.convert(like[0].values(stored), self.config)[entry.target]
            return found.astype(self.dtype)

        values = value(stored[0])[None] if len(like) == 1 else jax.vmap(value)(stored)
        return values.reshape(entry.shape[1:])

    def failure(self) -> Exception | None:
        """Why the last layer could not be read; asked once."""
        failed = [shelf for shelf in self._shelves.values() if shelf.failure is not None]
        failures = [shelf.failure for shelf in failed]
        for shelf in failed:
            shelf.failure = None
        return next(iter(failures), None)

    def hashed(self, path: str) -> bytes:
        """SHA-256 of what is stored of a parameter: forms, how they are read, and all bytes.

        Raises:
            ValueError: numbers of it are not finite.
        """
        rule = self.entries[path].rule
        if rule not in self._hashes:
            self._hashes[rule] = self._hashed(rule)
        return self._hashes[rule]

    def _hashed(self, rule: Rule) -> bytes:
        digest, scratch, wrong = hashlib.sha256(), Scratch(), list[str]()
        for names, layer in zip(self._names[rule], self._shelves[rule].layers, strict=True):
            for name, tensor in zip(names, layer, strict=True):
                stored = tensor.stored(scratch)
                digest.update(f"{name} {tensor.form} {tensor.steps}\n".encode())
                for piece in hashes([stored], self._pool):
                    digest.update(piece)
                if jnp.issubdtype(stored.dtype, jnp.floating):
                    wrong += finite.not_finite(stored, name)
        finite.refuse(wrong, self.dtype.name, self.origin)
        return digest.digest()
