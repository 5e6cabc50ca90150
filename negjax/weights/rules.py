"""One tensor of a file, or one a layer, and the parameters that it holds."""

import dataclasses
import itertools
import math
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from einops import rearrange

from negjax.model.config import ModelConfig
from negjax.weights import patterns
from negjax.weights.tensors import Array, Block, Rearranged


class Piece(NamedTuple):
    """A block of a rule's tensor, and what is made of it."""

    block: Block
    arranged: Rearranged
    stacked: bool
    """Whether the values of several targets are made, along a first axis."""

    def convert(self, values: Array) -> list[Array]:
        """Values of targets, or parts of them, of what the block holds."""
        made = self.arranged(values)
        return list(made) if self.stacked else [made]


@dataclasses.dataclass(frozen=True)
class Rule:
    """One source tensor and where it goes.

    Axes of `pattern`, lower case of the library's letters: v, d, f, h, g, c, t (learned positions),
    e (token types), o (a second width, D), x (experts), i (neurons of one). Left: the file's axes;
    right: the parameter's. With several targets the right side starts with n, the number of
    targets, and is unstacked over it; or each target has a pattern of its own, and they follow each
    other along the file's first axis.
    """

    source: str
    """Name in the file; `{l}` stands for the layer, `{x}` for the expert."""
    target: str | tuple[str, ...]
    """Dotted path of the parameter, or paths where one tensor holds several."""
    pattern: str | tuple[str, ...]
    first_layer: int = 0
    """Layers before it have no such tensor, and do not use the parameter."""

    @property
    def targets(self) -> tuple[str, ...]:
        """Paths of its parameters."""
        return (self.target,) if isinstance(self.target, str) else self.target

    @property
    def per_layer(self) -> bool:
        """Whether there is one source tensor a layer."""
        return "{l}" in self.source

    @property
    def by_expert(self) -> bool:
        """Whether there is one source tensor an expert."""
        return "{x}" in self.source

    def sources(self, config: ModelConfig) -> list[str]:
        """Names of all its source tensors, by layer, and in a layer by expert."""
        if not self.per_layer:
            return [self.source]
        return [
            self.source.replace("{l}", str(layer)).replace("{x}", str(expert))
            for layer in range(self.first_layer, config.layers)
            for expert in range(self.a_layer(config))
        ]

    def a_layer(self, config: ModelConfig) -> int:
        """How many source tensors a layer has."""
        return config.experts if self.by_expert else 1

    def numbered_sources(self, config: ModelConfig) -> list[tuple[int, str]]:
        """`sources`, each with the number of its entry in a parameter of all layers."""
        return list(enumerate(self.sources(config), self.first_layer * self.a_layer(config)))

    def stacked_sources(self, config: ModelConfig) -> list[tuple[str, str, int | None]]:
        """Each of `sources`, with the name of the tensor that holds those of all experts, if there
        are any, and its number among them."""
        whole = dataclasses.replace(self, source=self.source.replace(".{x}", ""))
        if whole == self:
            return [(source, source, None) for source in self.sources(config)]
        names = iter(self.sources(config))
        return [
            (next(names), stacked, expert)
            for stacked in whole.sources(config)
            for expert in range(config.experts)
        ]

    def sizes(self, pattern: str, config: ModelConfig) -> dict[str, int]:
        """Sizes of the axes that a pattern of it names."""
        named = set(re.findall(r"[a-z]", pattern))
        every = axis_sizes(config) | {"n": len(self.targets)}
        return {axis: every[axis] for axis in sorted(named)}

    def part_shapes(self, config: ModelConfig) -> list[tuple[int, ...]]:
        """Shapes of what follows each other along the first axis of a source tensor."""
        sides = (pattern.split("->")[0] for pattern in self._patterns)
        return [self._shape(side, config) for side in sides]

    def source_shape(self, config: ModelConfig) -> tuple[int, ...]:
        """Shape each source tensor must have."""
        parts = self.part_shapes(config)
        return (sum(shape[0] for shape in parts), *parts[0][1:])

    def pieces(
        self, config: ModelConfig, parts: Sequence[Block] | None = None
    ) -> list[Piece] | None:
        """Blocks of a source tensor of which its targets' values, or parts of them, are made.

        Args:
            parts: of each target, with axes of layers or experts in front or without; None: all.

        Returns:
            None where parts are not made of blocks: an axis is cut within what is one of its
            entries in the file.
        """
        if not self._stacked:
            own = [None] * len(self.targets) if parts is None else parts
            ends = itertools.accumulate((shape[0] for shape in self.part_shapes(config)), initial=0)
            found = [
                self._piece(pattern, part, config, first=first)
                for pattern, part, first in zip(self._patterns, own, ends, strict=False)
            ]
        else:
            (pattern,) = self._patterns
            # Of stacked targets, all parts are alike.
            part = None if parts is None else parts[0]
            found = [self._piece(pattern, part, config)]
            if found == [None]:
                found = [
                    self._piece(pattern, part, config, number=number)
                    for number in range(len(self.targets))
                ]
        whole = [piece for piece in found if piece is not None]
        return whole if len(whole) == len(found) else None

    def _piece(
        self,
        pattern: str,
        part: Block | None,
        config: ModelConfig,
        *,
        first: int = 0,
        number: int | None = None,
    ) -> Piece | None:
        """Where a part of the values that a pattern makes comes from.

        Args:
            first: where in the source tensor the pattern's entries begin.
            number: of stacked targets, the one alone that is made.
        """
        sizes = self.sizes(pattern, config)
        left, right = map(patterns.groups, pattern.split("->"))
        right = right[1:] if self._stacked else right
        ends = [(0, math.prod(sizes[axis] for axis in group)) for group in right]
        ends = ends if part is None else list(part.ranges[-len(right) :])
        alone = {} if number is None else {"n": (number, number + 1)}
        found = patterns.source_of(left, right, ends, sizes, alone, first)
        if found is None:
            return None
        ranges, lengths = found
        return Piece(Block(ranges), Rearranged(pattern, tuple(lengths.items())), self._stacked)

    def convert(self, tensor: Array, config: ModelConfig) -> list[Array]:
        """Values of its targets (a layer's, where it is per layer), from a source tensor."""
        pieces = self.pieces(config)
        assert pieces is not None
        return [value for piece in pieces for value in piece.convert(piece.block(tensor))]

    def invert(self, values: list[np.ndarray], config: ModelConfig) -> np.ndarray:
        """The source tensor, from the values of its targets."""
        parts = []
        for value, pattern in zip(
            [np.stack(values)] if self._stacked else values, self._patterns, strict=True
        ):
            left, right = pattern.split("->")
            parts.append(rearrange(value, f"{right} -> {left}", **self.sizes(pattern, config)))
        return np.ascontiguousarray(np.concatenate(parts))

    def target_shapes(self, config: ModelConfig) -> list[tuple[int, ...]]:
        """Shapes of its targets' values (a layer's, an expert's)."""
        sides = [pattern.split("->")[1] for pattern in self._patterns]
        shapes = [self._shape(side, config) for side in sides]
        return [shapes[0][1:]] * len(self.targets) if self._stacked else shapes

    @property
    def _stacked(self) -> bool:
        """Whether one pattern makes several targets."""
        return isinstance(self.pattern, str) and not isinstance(self.target, str)

    @property
    def _patterns(self) -> tuple[str, ...]:
        return (self.pattern,) if isinstance(self.pattern, str) else self.pattern

    def _shape(self, side: str, config: ModelConfig) -> tuple[int, ...]:
        sizes = self.sizes(side, config)
        return tuple(math.prod(sizes[axis] for axis in group) for group in patterns.groups(side))


def axis_sizes(config: ModelConfig) -> dict[str, int]:
    """Sizes of the axes that patterns name."""
    return {
        "v": config.vocab_size,
        "d": config.width,
        "o": config.width,
        "f": config.neurons,
        "h": config.heads,
        "g": config.kv_heads,
        "c": config.head_width,
        "t": config.context_length + config.position_offset,
        "e": config.token_types,
        "x": config.experts,
        "i": config.expert_neurons,
    }
