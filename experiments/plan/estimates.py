"""From steps to bytes and seconds: what the compiler says, what is counted, what rates make of it.

A matrix product takes as long as its arithmetic or its bytes, whichever is more. Elementwise
operations are fused into what is before or after them; on this machine, whose caches and cores are
few, they count as they were measured. Collectives come on top; streaming runs beside the rest.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol

import jax

from experiments.plan.chips import Chip
from experiments.plan.counting import Count, Product, count_program, summed
from experiments.plan.models import bytes_of, without_weights
from experiments.plan.works import Step, Work, vocabulary_blocks
from negjax.model.language_model import LanguageModel
from negjax.model.meshes import MeshShape
from negjax.replay.readout import VOCAB_BLOCK

TAIL_SHARE = 0.3
"""Of the vocabulary that a row of a long sweep reads, where its tail is left out: measured on the
embedded model within ±10 (docs/decisions/006-vocabulary-tails.md). Data decide it."""


class Rates(Protocol):
    """Of a device, a second."""

    @property
    def name(self) -> str:
        """Of the device."""

    @property
    def memory_bytes(self) -> float:
        """That it has."""

    @property
    def host_link(self) -> float:
        """Bytes that come from the host."""

    @property
    def interconnect(self) -> float:
        """Bytes to other devices; 0: there are none."""

    def seconds(self, count: Count) -> float:
        """What a program takes."""

    def product_rate(self) -> tuple[float, str]:
        """Floating-point operations of products, and what they are made of."""


class Published:
    """Rates of a chip's documents."""

    def __init__(self, chip: Chip, rung: str) -> None:
        """For products of a rung of `negjax.process.precisions` that the chip has."""
        self.chip = chip
        self.name = chip.name
        self.rate = chip.product_rate(rung)
        self.memory_bytes = chip.memory.value
        self.host_link = chip.host_link.value
        self.interconnect = chip.interconnect.value

    def seconds(self, count: Count) -> float:
        """The roofline of every product, one after the other."""
        rate, bandwidth = self.rate[0], self.chip.bandwidth.value
        return sum(
            n * max(product.operations / rate, product.moved / bandwidth)
            for product, n in count.products.items()
        )

    def product_rate(self) -> tuple[float, str]:
        """As published."""
        return self.rate


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a work takes of one device."""

    name: str
    operations: float
    """Floating-point ones of matrix products."""
    moved: float
    """Bytes of their operands and results."""
    program_bytes: int
    """That the largest program takes besides the parameters, by XLA's memory analysis."""
    collective_bytes: float
    """That leave the device."""
    streamed_bytes: float
    """Of weights that come from the host; 0 where they are resident."""
    arithmetic_seconds: float
    collective_seconds: float
    streaming_seconds: float

    @property
    def seconds(self) -> float:
        """Streaming runs beside the rest."""
        return max(self.arithmetic_seconds + self.collective_seconds, self.streaming_seconds)


class Estimator:
    """Traces, counts and compiles steps of one model; equal ones once."""

    def __init__(
        self, lm: LanguageModel, mesh: MeshShape, rates: Rates, *, streamed: bool, layer_bytes: int
    ) -> None:
        """Of a device of a mesh.

        Args:
            lm: what that device computes.
            streamed: its layers' weights cross the link to the host in every pass over them.
            layer_bytes: of the weights of all its layers.
        """
        self._lm, self._mesh, self._rates = lm, mesh, rates
        self._layer_bytes = layer_bytes if streamed else 0
        # XLA for CPU keeps a float32 copy of narrower weights, which accelerators do not: what a
        # program takes is asked of the same one for float32.
        self._compiled = without_weights(lm.name, lm.config, lm.compute_dtype.name, lm.precision)
        self._counts: dict[str, Count] = {}
        self._bytes: dict[str, int] = {}

    def estimate(self, work: Work) -> Estimate:
        """All that is to be known of a work."""
        whole = self.count(work)
        collective = sum(self._collective(step) * step.times for step in work.steps)
        streamed = sum(step.passes * step.times for step in work.steps) * self._layer_bytes
        between = collective / self._rates.interconnect if collective else 0.0
        return Estimate(
            name=work.name,
            operations=whole.operations,
            moved=whole.moved,
            program_bytes=max(map(self._program_bytes, _largest(work.steps))),
            collective_bytes=collective,
            streamed_bytes=streamed,
            arithmetic_seconds=self._rates.seconds(whole),
            collective_seconds=between,
            streaming_seconds=streamed / self._rates.host_link,
        )

    def count(self, work: Work) -> Count:
        """What all steps of a work do together."""
        return summed(self._count(step) * step.times for step in work.steps)

    def _count(self, step: Step) -> Count:
        """What one run of a step does."""
        key = _key(step, values=True)
        if key not in self._counts:
            found = count_program(_traced(self._lm, step), (self._lm.params, *step.arrays))
            self._counts[key] = self._with_tails(found, step) if found.open_loops else found
        return self._counts[key]

    def _with_tails(self, found: Count, step: Step) -> Count:
        """With what rows read of the vocabulary whose loops go as far as the data say."""
        chunk, config = step.arguments[-1], self._lm.config
        block = VOCAB_BLOCK
        moved = 4 * (chunk * config.width + config.width * block + chunk * block)
        product = Product(batch=1, m=chunk, k=config.width, n=block, moved=moved)
        times = step.rows / chunk * vocabulary_blocks(config.vocab_size) * TAIL_SHARE
        return summed([found, Count(products={product: times})])

    def _program_bytes(self, step: Step) -> int:
        key = _key(step, values=False)
        if key not in self._bytes:
            lm = self._compiled
            found = _traced(lm, step).lower().compile().memory_analysis()
            if found is None:
                raise ValueError("the compiler of this device gives no memory analysis")
            # A program that does not read all weights is not given those it leaves alone.
            given = max(0, found.argument_size_in_bytes - bytes_of(lm.params))
            self._bytes[key] = found.temp_size_in_bytes + found.output_size_in_bytes + given
        return self._bytes[key]

    def _collective(self, step: Step) -> float:
        """Bytes that leave a device in a step.

        Two sums over the axis `model` for every token and layer, of what attention and neurons
        write; one for every vector that is summed over the vocabulary. A sum of n bytes over m
        devices in a ring takes 2 (m - 1) / m · n from each (Thakur et al. 2005).
        """
        m = self._mesh.model
        vector = self._lm.config.width * self._lm.compute_dtype.itemsize
        return 2 * (m - 1) / m * vector * (2 * step.token_layers + step.vectors)


def _traced(lm: LanguageModel, step: Step) -> Any:
    with lm.numerics():
        # Jitted functions have it, which `Program` does not ask of others.
        return step.program.trace(lm.graphdef, lm.params, *step.arguments)  # type: ignore[attr-defined]


def _key(step: Step, *, values: bool) -> str:
    """Tells steps apart, by the values of their arguments or by the shapes alone."""

    def told(x: Any) -> str:
        if not hasattr(x, "shape"):
            return str(x)
        return f"{x.dtype}{x.shape}{hash(x.tobytes()) if values and hasattr(x, 'tobytes') else ''}"

    leaves, structure = jax.tree.flatten(step.arguments)
    return f"{id(step.program)} {structure} {' '.join(map(told, leaves))}"


def _largest(steps: Sequence[Step]) -> list[Step]:
    """Of every program the step with the most entries of arguments."""
    found: dict[int, Step] = {}
    for step in steps:
        size = sum(x.size for x in jax.tree.leaves(step.arguments) if hasattr(x, "size"))
        known = found.get(id(step.program))
        if known is None or size > sum(
            x.size for x in jax.tree.leaves(known.arguments) if hasattr(x, "size")
        ):
            found[id(step.program)] = step
    return list(found.values())
