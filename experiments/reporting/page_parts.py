"""Parts of a report that every experiment has, and numbers as readers see them."""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.reporting import report
from experiments.reporting.escaping import MOST, for_terminal

LONGEST_PROMPT = 160
"""Characters that the terminal shows of a prompt."""

SITES = {
    "act": "act: after the activation function, the input of the down-projection",
    "up": "up: the up-projection's output, before it is multiplied by the activated gate",
    "product": "product: activated gate times up-projection, the input of the down-projection",
}


UNFINISHED = report.Paragraph(
    "This run was interrupted: the numbers are those of the part that was finished.", warning=True
)


def run_section(summary: Mapping[str, Any], rows: Sequence[tuple[str, str]]) -> report.Section:
    """The section that says what the numbers are about: `rows` between model and machine."""
    model, machine, seconds = (summary[name] for name in ("model", "environment", "seconds"))
    told = [
        ("Model", f"{model['name']} ({model['family']}, {model['parameters']:,} parameters)"),
        ("Fingerprint", f"SHA-256 of the weights {model['fingerprint']}"),
        ("Neurons", f"{model['layers']} layers of {model['neurons_a_layer']:,}"),
        ("Arithmetic", f"{model['dtype']}, matrix products at precision {model['precision']}"),
        *_assumed(model),
        *rows,
        *machine_rows(machine),
        (
            "Time",
            f"{seconds['load']:.0f} s to load, {sum(seconds['measure'].values()):.0f} s to measure",
        ),
        ("Peak memory", f"{summary['peak_memory_bytes'] / 1e9:.2f} GB"),
    ]
    return report.Section("What was measured", [report.Facts(told)])


def machine_rows(machine: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What computed: versions and hardware, as in a summary's `environment`."""
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    devices = ", ".join(machine["devices"])
    return [
        ("Versions", f"negjax {machine['negjax']}, {packages}, Python {machine['python']}"),
        ("Machine", f"{machine['system']}, {machine['cpus']} CPUs, {devices}"),
    ]


def _assumed(model: Mapping[str, Any]) -> list[tuple[str, str]]:
    names = ", ".join(model["assume_harmless"])
    told = f"{names}: settings of the model's file, unknown to negjax, that were left aside"
    return [("Assumed harmless", told)] if names else []


def reproduce(summary: Mapping[str, Any]) -> report.Section:
    """The section that gives the command."""
    return report.Section("To run it again", [report.Code(summary["command"])])


def asked_in_short(prompt: str, answer: str) -> str:
    """A prompt and its answer for a line of the terminal."""
    return f"“{for_terminal(prompt, LONGEST_PROMPT)}” → “{for_terminal(answer, MOST)}”"
