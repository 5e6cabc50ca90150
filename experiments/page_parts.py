"""Parts of a report that every experiment has, and numbers as readers see them."""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments import common
from negjax import report

CONVENTIONS = {
    "signed": "signed: shift x moves a to a + x·s(a), where s(a) = 1 if a > 0 and −1 otherwise",
    "additive": "additive: shift x moves a to a + x",
}
SITES = {
    "act": "act: after the activation function, the input of the down-projection",
    "up": "up: the up-projection's output, before it is multiplied by the activated gate",
    "product": "product: activated gate times up-projection, the input of the down-projection",
}
SHIPPED = "negjax facts"
"""What `read_facts` calls the shipped table."""


def whole_page(
    title: str,
    lead: str,
    sections: Sequence[report.Section],
    inputs: common.Inputs,
    summary: Mapping[str, Any],
    *,
    notes: Sequence[str],
    measured: Sequence[tuple[str, str]],
) -> str:
    """A report as HTML: an experiment's own sections, and after them those that all have.

    Args:
        notes: of the experiment, to keep in mind; those on the choice of prompts come first.
        measured: what the numbers are about, beside model and prompts.
    """
    return report.page(
        title,
        lead,
        [
            *sections,
            report.Section(
                "To keep in mind", [report.Bullets([*selection_notes(summary), *notes])]
            ),
            what_was_measured(inputs, summary, measured),
            reproduce(summary),
        ],
    )


def what_was_measured(
    inputs: common.Inputs, summary: Mapping[str, Any], more: Sequence[tuple[str, str]]
) -> report.Section:
    """The section that says what the numbers are about."""
    prompts = summary["prompts"]
    return run_section(
        summary,
        [
            ("Prompts", f"{prompts['asked']:,} of {prompts['source']}{_left_out(summary)}"),
            ("Site", SITES[inputs.site]),
            ("Shifts", CONVENTIONS[summary["convention"]]),
            *more,
        ],
    )


def run_section(summary: Mapping[str, Any], rows: Sequence[tuple[str, str]]) -> report.Section:
    """The section that says what the numbers are about: `rows` between model and machine."""
    model, machine, seconds = (summary[name] for name in ("model", "environment", "seconds"))
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    told = [
        ("Model", f"{model['name']} ({model['family']}, {model['parameters']:,} parameters)"),
        ("Fingerprint", f"SHA-256 of the weights {model['fingerprint']}"),
        ("Neurons", f"{model['layers']} layers of {model['neurons_a_layer']:,}"),
        ("Arithmetic", f"{model['dtype']}, matrix products at precision {model['precision']}"),
        *rows,
        ("Versions", f"negjax {machine['negjax']}, {packages}, Python {machine['python']}"),
        (
            "Machine",
            f"{machine['system']}, {machine['cpus']} CPUs, {', '.join(machine['devices'])}",
        ),
        (
            "Time",
            f"{seconds['load']:.0f} s to load, {sum(seconds['measure'].values()):.0f} s to measure",
        ),
        ("Peak memory", f"{summary['peak_memory_bytes'] / 1e9:.2f} GB"),
    ]
    return report.Section("What was measured", [report.Facts(told)])


def reproduce(summary: Mapping[str, Any]) -> report.Section:
    """The section that gives the command."""
    return report.Section("To run it again", [report.Code(summary["command"])])


def selection_notes(summary: Mapping[str, Any]) -> list[str]:
    """What to know about the prompts."""
    notes = []
    if summary["prompts"]["source"] == SHIPPED:
        notes.append(
            "The shipped facts were chosen so that the embedded model gives most of their answers "
            "a real probability. Prompts whose answer a model does not know may behave otherwise."
        )
    left_out = summary["prompts"]["left_out"]
    if left_out:
        notes.append(
            f"{len(left_out)} prompts of the table were left out because this model cannot be "
            f"asked them; the first: {left_out[0]['reason']}"
        )
    return notes


def unfinished(complete: bool) -> list[report.Paragraph]:
    """A warning, where there is reason for one."""
    if complete:
        return []
    text = "This run was interrupted: the numbers are those of the part that was finished."
    return [report.Paragraph(text, warning=True)]


def percent(share: float | None) -> str:
    """A share for readers."""
    return "—" if share is None else f"{share:.1%}"


def number(value: float | None, form: str) -> str:
    """A number for readers."""
    return "—" if value is None else format(value, form)


def _left_out(summary: Mapping[str, Any]) -> str:
    left_out = summary["prompts"]["left_out"]
    return f"; {len(left_out)} left out" if left_out else ""
