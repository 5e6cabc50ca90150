"""The points and maps of reports in a notebook: the same data and the same script, as a widget."""

import re
from collections.abc import Sequence
from importlib import resources
from typing import Any

import numpy as np

from experiments.reporting import explorers
from experiments.reporting.explorers import Explorer, MapExplorer
from negjax.measurements.chebyshev import Response
from negjax.measurements.linearity import fit_changes, paper_grid

# Of what a report's style says, what its points and maps need; a notebook has colours of its own.
_RULES = (":root", "@media screen", ".live")


def curves_of(
    response: Response,
    prompts: Sequence[str],
    answers: Sequence[Sequence[str]],
    target: int = 0,
    radius: float = 2.0,
    step: float = 0.2,
) -> Explorer:
    """Neurons whose curves were measured, to be pointed at: slope at no shift against NEG.

    Args:
        response: of the probability of one answer a prompt, as `response` returned it.
        prompts, answers: of its probes: `probes.prompts`, `probes.targets`.
        target: number of the answer that was measured.
        radius, step: of the grid that NEG is the slope over.

    Raises:
        ValueError: a response of several tokens, of another output, or of directions, which would
            be shown as probabilities of neurons; a grid outside of its radius.
    """
    if response.tokens is not None:
        raise ValueError(
            f"response is of {response.tokens.shape[1]} tokens, expected one output: measure it "
            "without tokens="
        )
    if response.output != "probability" or response.directions is not None:
        of = "directions" if response.directions is not None else response.output
        raise ValueError(f"response is of {of}, expected the probability under shifts of neurons")
    grid = paper_grid(radius, step)
    slope, _ = fit_changes(grid, response.change(grid))
    count, neurons = response.activation.shape
    prompt = np.repeat(np.arange(count), neurons)
    shown = explorers.chosen(prompt.size)
    places = response.neurons.reshape(-1, 2)[shown]
    coefficients = response.coefficients.reshape(prompt.size, -1)[shown]
    return Explorer(
        axes=("Slope at no shift", "NEG"),
        radius=response.radius,
        prompts=[(text, own[target]) for text, own in zip(prompts, answers, strict=True)],
        prompt=prompt[shown],
        layer=places[:, 0],
        neuron=places[:, 1],
        across=response.derivative(np.zeros(1)).reshape(-1)[shown],
        up=slope.reshape(-1)[shown],
        baseline=response.baseline[prompt[shown]],
        error=response.error.reshape(-1)[shown],
        coefficients=coefficients,
    )


def widget(shown: Explorer | MapExplorer) -> Any:
    """A widget of anywidget, which a notebook draws where it stands last in a cell.

    Raises:
        ImportError: the extra `notebook` is not installed.
    """
    try:
        import anywidget
        import traitlets
    except ImportError as error:
        raise ImportError(
            f"{error.name} is not installed; pip install 'negjax[notebook]'"
        ) from error
    made = type(
        "ExplorerWidget",
        (anywidget.AnyWidget,),
        {"_esm": script(shown), "_css": style(), "given": traitlets.Unicode().tag(sync=True)},
    )
    return made(given=shown.data)


def script(shown: Explorer | MapExplorer) -> str:
    """The module that a notebook runs: it draws into the element that it is given."""
    return f"""{explorers.modules_of([shown])}
export default {{
  render({{ model, el }}) {{
    el.classList.add('live', '{shown.kind}');
    {shown.function}(el, points(JSON.parse(model.get('given'))));
  }},
}};
"""


def style() -> str:
    """The rules of a report's style that are about points and maps."""
    text = (resources.files("experiments.reporting") / "static" / "report.css").read_text("utf-8")
    rules = [rule for rule in re.split(r"\n(?! )", text) if rule.startswith(_RULES)]
    # Whether pages are dark is the notebook's to say.
    return "\n".join(rules).replace("color-scheme: light dark; ", "")
