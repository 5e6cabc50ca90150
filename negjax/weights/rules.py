"""One tensor of a file, or one a layer, and the parameters that it holds."""

import dataclasses
import itertools
import math
import re
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from einops import rearrange

from negjax.model.config import ModelConfig
from negjax.weights.tensors import Array, Block


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

    def cut(self, part: Block, config: ModelConfig) -> dict[str, tuple[int, int]] | None:
        """Axes of the pattern of which a part of its targets' values is a part, start and stop.

        Args:
            part: of the targets, with axes of layers or experts in front or without.

        Returns:
            None where axes do not say it: of tensors that hold several parameters one after the
            other, or where an axis of the parameter that is cut is made of several.
        """
        if not isinstance(self.pattern, str):
            return None
        groups = _groups(self.pattern.split("->")[1])
        if not isinstance(self.target, str):
            groups = groups[1:]
        sizes, found = self.sizes(self.pattern, config), {}
        for group, ends in zip(groups, part.ranges[-len(groups) :], strict=True):
            if ends == (0, math.prod(sizes[axis] for axis in group)):
                continue
            if len(group) > 1:
                return None
            found[group[0]] = ends
        return found

    def block(self, ranges: Mapping[str, tuple[int, int]], config: ModelConfig) -> Block | None:
        """The part of a source tensor from which a part of its targets is made.

        Args:
            ranges: as `cut` has them.

        Returns:
            None where that is no block: an axis of the file begins with another than the one that
            is cut.
        """
        assert isinstance(self.pattern, str)
        sizes, found = self.sizes(self.pattern, config), []
        for group in _groups(self.pattern.split("->")[0]):
            first, *rest = group
            if set(rest) & ranges.keys():
                return None
            each = math.prod(sizes[axis] for axis in rest)
            start, stop = ranges.get(first, (0, sizes[first]))
            found.append((start * each, stop * each))
        return Block(tuple(found))

    def convert(
        self,
        tensor: Array,
        config: ModelConfig,
        ranges: Mapping[str, tuple[int, int]] = MappingProxyType({}),
    ) -> list[Array]:
        """Values of its targets (a layer's, where it is per layer).

        Args:
            tensor: a source tensor, or what `block` says of one.
            ranges: of the axes that are cut, as `cut` has them.
        """
        lengths = {axis: stop - start for axis, (start, stop) in ranges.items()}
        ends = itertools.accumulate((shape[0] for shape in self.part_shapes(config)), initial=0)
        values = []
        for (start, end), pattern in zip(itertools.pairwise(ends), self._patterns, strict=True):
            whole = self.sizes(pattern, config)
            sizes = {axis: lengths.get(axis, size) for axis, size in whole.items()}
            values.append(rearrange(tensor[start:end], pattern, **sizes))
        stacked = isinstance(self.pattern, str) and not isinstance(self.target, str)
        return list(values[0]) if stacked else values

    def invert(self, values: list[np.ndarray], config: ModelConfig) -> np.ndarray:
        """The source tensor, from the values of its targets."""
        stacked = isinstance(self.pattern, str) and not isinstance(self.target, str)
        parts = []
        for value, pattern in zip(
            [np.stack(values)] if stacked else values, self._patterns, strict=True
        ):
            left, right = pattern.split("->")
            parts.append(rearrange(value, f"{right} -> {left}", **self.sizes(pattern, config)))
        return np.ascontiguousarray(np.concatenate(parts))

    def target_shapes(self, config: ModelConfig) -> list[tuple[int, ...]]:
        """Shapes of its targets' values (a layer's, an expert's)."""
        sides = [pattern.split("->")[1] for pattern in self._patterns]
        shapes = [self._shape(side, config) for side in sides]
        stacked = isinstance(self.pattern, str) and not isinstance(self.target, str)
        return [shapes[0][1:]] * len(self.targets) if stacked else shapes

    @property
    def _patterns(self) -> tuple[str, ...]:
        return (self.pattern,) if isinstance(self.pattern, str) else self.pattern

    def _shape(self, side: str, config: ModelConfig) -> tuple[int, ...]:
        sizes = self.sizes(side, config)
        return tuple(math.prod(sizes[axis] for axis in group) for group in _groups(side))


def _groups(side: str) -> list[list[str]]:
    """Of each axis, the letters that it is made of."""
    return [group.strip("()").split() for group in re.findall(r"\([^)]*\)|[a-z]", side)]


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
