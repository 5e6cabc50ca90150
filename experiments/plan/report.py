"""What a plan says, in the terminal and on a page."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from experiments.plan.chips import Chip
from experiments.plan.estimates import Estimate
from experiments.reporting.escaping import code_span
from experiments.reporting.tables import Column, Table, markdown_lines, terminal_lines
from experiments.running import provenance
from negjax.model.meshes import MeshShape

UNITS = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """A finished plan."""

    model: str
    parameters: int
    dtype: str
    precision: str
    device: str
    mesh: MeshShape
    chip: Chip | None
    """None: this machine."""
    weights: str
    """`resident` or `streamed`."""
    parameter_bytes: int
    """That a device has of them, wherever they lie."""
    held_bytes: int
    """That stay in its memory."""
    layer_bytes: int
    """Of one layer."""
    product_rate: float
    product_kind: str
    memory_bytes: float
    host_link: float
    covering_tokens: float
    """Tokens, or rows, whose arithmetic in a layer takes as long as its weights take to come."""
    tokens: int
    """Of a prompt."""
    estimates: Sequence[Estimate]

    @property
    def peak_bytes(self) -> int:
        """Of a device: what stays, and the largest program."""
        return self.held_bytes + max(found.program_bytes for found in self.estimates)

    @property
    def fits(self) -> bool:
        """Whether that is less than the device has."""
        return self.peak_bytes <= self.memory_bytes

    @property
    def seconds(self) -> float:
        """Of all works."""
        return sum(found.seconds for found in self.estimates)


def amount(value: float, unit: str) -> str:
    """A number with three digits and its unit; a dash for none."""
    if not value:
        return "–"
    factor, letter = next((pair for pair in UNITS if value >= pair[0]), (1.0, ""))
    digits = max(0, 2 - int(math.log10(value / factor)))
    return f"{value / factor:.{digits}f} {letter}{unit}"


def duration(seconds: float) -> str:
    """Seconds, minutes, hours or days; a dash for none."""
    if not seconds:
        return "–"
    for least, factor, unit in ((2 * 86400, 86400, "days"), (7200, 3600, "h"), (120, 60, "min")):
        if seconds >= least:
            return f"{seconds / factor:.3g} {unit}"
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"


def works_table(plan: Plan) -> Table:
    """A row a work; of one device."""
    return Table(
        columns=[
            Column("work", lambda e: e.name),
            Column("arithmetic", lambda e: amount(e.operations, "FLOP")),
            Column("bytes moved", lambda e: amount(e.moved, "B")),
            Column("peak memory", lambda e: amount(plan.held_bytes + e.program_bytes, "B")),
            Column("collectives", lambda e: amount(e.collective_bytes, "B")),
            Column("streaming", lambda e: duration(e.streaming_seconds)),
            Column("time", lambda e: duration(e.seconds)),
        ],
        rows=plan.estimates,
    )


def heading(plan: Plan) -> list[str]:
    """Lines above the table."""
    several = plan.mesh.devices > 1
    devices = f"{plan.mesh.devices} × {plan.device}" if several else plan.device
    mesh = f", {plan.mesh}" if several else ""
    held = amount(plan.parameter_bytes, "B")
    where = "all in its memory"
    if plan.weights == "streamed":
        where = f"{amount(plan.held_bytes, 'B')} in its memory, the layers streamed"
    verdict = "fits" if plan.fits else "does not fit"
    return [
        f"{plan.model}: {plan.parameters:,} parameters, {plan.dtype}, on {devices}{mesh}",
        f"a device has {held} of parameters, {where}; peak {amount(plan.peak_bytes, 'B')} "
        f"of {amount(plan.memory_bytes, 'B')}: {verdict}",
        f"products: {amount(plan.product_rate, 'FLOP/s')} ({plan.product_kind}; "
        f"precision {plan.precision})",
    ]


def notes(plan: Plan) -> list[str]:
    """Lines below the table: what figures rest on."""
    lines = [
        "arithmetic, bytes, memory and time are those of one device; programs compiled by XLA for "
        f"{provenance.environment()['devices'][0].partition(':')[0]}"
    ]
    if plan.mesh.devices > 1:
        lines.append(
            "derived, not compiled on a mesh: a device's share is compiled as a model with so many "
            "times fewer heads, neurons and tokens of the vocabulary; collectives are counted by "
            "two sums a token and layer and not overlapped"
        )
    link = amount(plan.host_link, "B/s")
    lines.append(
        f"a layer of {amount(plan.layer_bytes, 'B')} comes in "
        f"{duration(plan.layer_bytes / plan.host_link)} at {link}; its arithmetic takes as long "
        f"for {math.ceil(plan.covering_tokens):,} tokens or rows, "
        f"{math.ceil(plan.covering_tokens / plan.tokens):,} prompts of {plan.tokens}"
    )
    return lines


def printed(plan: Plan) -> list[str]:
    """What the terminal shows."""
    return [*heading(plan), "", *terminal_lines(works_table(plan)), "", *notes(plan)]


def page(plan: Plan) -> list[str]:
    """The same as Markdown, and where the rates are from."""
    lines = [*(f"- {line}" for line in heading(plan)), "", *markdown_lines(works_table(plan)), ""]
    lines += [f"- {line}" for line in notes(plan)]
    if plan.chip is not None:
        lines += ["", *markdown_lines(rates_table(plan.chip))]
    return [*lines, "", f"Planned with {code_span(provenance.command())}."]


def rates_table(chip: Chip) -> Table:
    """A chip's rates with their sources."""
    figures = [
        ("bfloat16", chip.bfloat16, "FLOP/s"),
        ("TF32", chip.tf32, "FLOP/s"),
        ("float32", chip.float32, "FLOP/s"),
        ("memory", chip.memory, "B"),
        ("its bandwidth", chip.bandwidth, "B/s"),
        ("link to the host", chip.host_link, "B/s"),
        ("links to other devices", chip.interconnect, "B/s"),
    ]
    return Table(
        columns=[
            Column(f"rate of {chip.name}", lambda row: row[0]),
            Column("published", lambda row: amount(row[1].value, row[2])),
            Column("source", lambda row: row[1].source),
        ],
        rows=[row for row in figures if row[1] is not None],
    )


def recorded(plan: Plan) -> dict[str, Any]:
    """All figures, for the file."""
    found = dataclasses.asdict(plan)
    found |= {"peak_bytes": plan.peak_bytes, "fits": plan.fits}
    found["estimates"] = [dataclasses.asdict(e) | {"seconds": e.seconds} for e in plan.estimates]
    return found
