"""Published rates of accelerators, each with where it is from.

Rates are peaks of dense matrix products; what a program reaches is less. A GPU is one of an SXM or
HGX board, a TPU one chip. Links count in one direction.
"""

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Literal, NamedTuple

from negjax.process.precisions import Hardware

A100 = "NVIDIA A100 Tensor Core GPU datasheet, SXM 80 GB"
H100 = "NVIDIA H100 Tensor Core GPU datasheet, SXM; tensor cores: half of the figure with sparsity"
H200 = "NVIDIA H200 Tensor Core GPU datasheet, SXM; tensor cores: half of the figure with sparsity"
B200 = "NVIDIA Blackwell architecture technical brief, HGX B200 at 1,000 W, dense"
B200_MEMORY = "NVIDIA Blackwell datasheet, HGX B200: 1.44 TB and 64 TB/s for 8"
PCIE = (
    "PCI Express 4.0 and 5.0 with 16 lanes, as the datasheets name them: 64 and 128 GB/s both ways"
)
NVLINK = "the same document: half of NVLink's figure, which is both ways"
TPU_V4 = "cloud.google.com/tpu/docs/v4"
TPU_V5E = "cloud.google.com/tpu/docs/v5e"
TPU_V5P = "cloud.google.com/tpu/docs/v5p"
TPU_V6E = "cloud.google.com/tpu/docs/v6e"
ALL_REDUCE = "the same page: a Pod's all-reduce bandwidth by its chips"
BOTH_WAYS = "the same page: half of the bandwidth both ways"
BOOK = "jax-ml.github.io/scaling-book, part 2: about 16 GB/s, of Trillium 32"


class Figure(NamedTuple):
    """A rate and its source."""

    value: float
    source: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chip:
    """One device. Rates are per second."""

    name: str
    kind: Literal["gpu", "tpu"]
    capability: str | None
    """Compute capability of a GPU."""
    bfloat16: Figure
    """Floating-point operations of matrix products in bfloat16."""
    tf32: Figure | None
    """Of TensorFloat-32; TPUs have none."""
    float32: Figure | None
    """Outside tensor cores; TPUs multiply float32 by several passes in bfloat16."""
    memory: Figure
    """Bytes."""
    bandwidth: Figure
    """Bytes of that memory."""
    host_link: Figure
    """Bytes from the host."""
    interconnect: Figure
    """Bytes to other devices."""

    @property
    def hardware(self) -> Hardware:
        """What its products depend on."""
        return Hardware(self.kind, self.name, self.capability)

    def product_rate(self, rung: str) -> tuple[float, str]:
        """Floating-point operations a second of float32 products, and what they are made of.

        Args:
            rung: of `negjax.process.precisions`, one that the chip has.
        """
        passes = PASSES[rung]
        each = f"{passes} passes a float32 product" if passes > 1 else "one pass a float32 product"
        if rung == "float32" and self.float32 is not None:
            return self.float32.value, "float32 outside the tensor cores"
        if rung.startswith("tf32") and self.tf32 is not None:
            return self.tf32.value / passes, f"TF32, {each}"
        return self.bfloat16.value / passes, f"bfloat16, {each}"


PASSES: Mapping[str, int] = {
    "float32": 6,
    "x6": 6,
    "tf32_x3": 3,
    "x3": 3,
    "tf32": 1,
    "bfloat16": 1,
}
"""Passes through the matrix units that a float32 product takes; float32 on a TPU, whose units
multiply bfloat16 alone. A GPU computes float32 outside its tensor cores."""


def _gpu(
    name: str, capability: str, source: str, rates: tuple[float, float, float], **more: Figure
) -> Chip:
    """Rates in TFLOP/s: bfloat16, TF32, float32."""
    bfloat16, tf32, float32 = (Figure(rate * 1e12, source) for rate in rates)
    return Chip(
        name=name,
        kind="gpu",
        capability=capability,
        bfloat16=bfloat16,
        tf32=tf32,
        float32=float32,
        **more,
    )


def _tpu(name: str, source: str, rate: float, memory: float, **more: Figure) -> Chip:
    return Chip(
        name=name,
        kind="tpu",
        capability=None,
        bfloat16=Figure(rate * 1e12, source),
        tf32=None,
        float32=None,
        memory=Figure(memory, source),
        **more,
    )


CHIPS: Mapping[str, Chip] = {
    chip.name: chip
    for chip in (
        _gpu(
            "a100",
            "8.0",
            A100,
            (312, 156, 19.5),
            memory=Figure(80e9, A100),
            bandwidth=Figure(2.039e12, A100),
            host_link=Figure(32e9, PCIE),
            interconnect=Figure(300e9, NVLINK),
        ),
        _gpu(
            "h100",
            "9.0",
            H100,
            (989.5, 494.5, 67),
            memory=Figure(80e9, H100),
            bandwidth=Figure(3.35e12, H100),
            host_link=Figure(64e9, PCIE),
            interconnect=Figure(450e9, NVLINK),
        ),
        _gpu(
            "h200",
            "9.0",
            H200,
            (989.5, 494.5, 67),
            memory=Figure(141e9, H200),
            bandwidth=Figure(4.8e12, H200),
            host_link=Figure(64e9, PCIE),
            interconnect=Figure(450e9, NVLINK),
        ),
        _gpu(
            "b200",
            "10.0",
            B200,
            (2250, 1100, 80),
            memory=Figure(180e9, B200_MEMORY),
            bandwidth=Figure(8e12, B200_MEMORY),
            host_link=Figure(64e9, PCIE),
            interconnect=Figure(900e9, NVLINK),
        ),
        _tpu(
            "v4",
            TPU_V4,
            275,
            32 * 2**30,
            bandwidth=Figure(1.2e12, TPU_V4),
            host_link=Figure(16e9, BOOK),
            interconnect=Figure(268e9, ALL_REDUCE),
        ),
        _tpu(
            "v5e",
            TPU_V5E,
            197,
            16e9,
            bandwidth=Figure(819e9, TPU_V5E),
            host_link=Figure(16e9, BOOK),
            interconnect=Figure(200e9, BOTH_WAYS),
        ),
        _tpu(
            "v5p",
            TPU_V5P,
            459,
            95e9,
            bandwidth=Figure(2.765e12, TPU_V5P),
            host_link=Figure(16e9, BOOK),
            interconnect=Figure(600e9, BOTH_WAYS),
        ),
        _tpu(
            "v6e",
            TPU_V6E,
            918,
            32e9,
            bandwidth=Figure(1.638e12, TPU_V6E),
            host_link=Figure(32e9, BOOK),
            interconnect=Figure(400e9, BOTH_WAYS),
        ),
    )
}

HERE = "here"
"""The machine that plans, whose rates are measured."""


def named(name: str) -> Chip | None:
    """A chip by its name, in any case; None for the machine at hand.

    Raises:
        ValueError: there is none; the message names the nearest.
    """
    plain = name.lower().removeprefix("nvidia").removeprefix("tpu").strip(" -_")
    if plain == HERE:
        return None
    if plain in CHIPS:
        return CHIPS[plain]
    every = [HERE, *CHIPS]
    near = difflib.get_close_matches(plain, every, n=3, cutoff=0.4)
    meant = f"did you mean {' or '.join(near)}? " if near else ""
    raise ValueError(f"no such chip; {meant}expected one of {', '.join(every)}")
