"""The report of the study of many neurons at once: its numbers, pictures and what they mean."""

from collections.abc import Mapping
from typing import Any

from experiments import paper
from experiments.inputs import facts, facts_page
from experiments.multi_neuron.results import VARIANTS, Additivity, Results
from experiments.multi_neuron.sets import CHOICES, SIGNS
from experiments.reporting import page_parts, report, statistics
from experiments.reporting.page_parts import number, percent
from experiments.reporting.report import Document, Drawing, Figure, Paragraph, Section, Table

TITLE = "Do the effects of many neurons add up?"
HEAD = (
    ("neurons", ""),
    ("sets", ""),
    ("added, r", "Σ NEG x"),
    ("added, r", "Σ grad x"),
    ("added, R²", "Σ NEG x"),
    ("added, R²", "Σ grad x"),
    ("clamped, r", "Σ NEG x"),
    ("clamped, R²", "Σ NEG x"),
    ("slope", "Σ NEG x"),
    ("outside", "[0, 1]"),
    ("within", "noise"),
    ("median", "|ΔP|"),
    ("median", "KL"),
)
"""What each column shows, in two lines."""
NOTES = (
    "P lies between 0 and 1, a sum does not: for many neurons it may predict a P that cannot "
    "be, and no correction was made for that.",
    "r over sets of several prompts mixes two questions: which prompts are moved at all, and "
    "which sets move them; the median of each prompt's own r is the second alone.",
    "Sets of one prompt and choice are taken from one pool of neurons, so they are not "
    "independent; of a draw that has used up the pool only other signs are new.",
    f"Within the noise: |ΔP| below {statistics.NOISE_DEVIATIONS / 2**0.5:g} standard deviations of "
    "what rounding does to a difference of two P.",
)
"""To keep in mind."""


def cells(results: Results, choice: str, size: int) -> list[str]:
    """A row under `HEAD`."""
    added, clamped = (results.of(choice, variant, size) for variant in VARIANTS)
    neg, gradient = added.predictions["neg"], added.predictions["gradient"]
    held = clamped.predictions["neg"]
    return [
        f"{size:,}",
        str(added.sets),
        number(neg.pearson, ".3f"),
        number(gradient.pearson, ".3f"),
        number(neg.explained, ".3f"),
        number(gradient.explained, ".3f"),
        number(held.pearson, ".3f"),
        number(held.explained, ".3f"),
        number(neg.slope, ".2f"),
        percent(neg.impossible),
        percent(added.within_noise),
        number(added.change, ".1e"),
        number(added.kl, ".1e"),
    ]


def document(
    inputs: facts.Inputs,
    results: Results,
    summary: Mapping[str, Any],
    pictures: Mapping[str, Drawing],
) -> Document:
    """The report."""
    count = f"{len(results.sets['size']):,} sets of {len(results.prompts)} prompts"
    sections = [
        Section("Result", [*page_parts.unfinished(summary["complete"]), *_result(results)]),
        Section("Beside the paper", _paper(results)),
        Section("What it means to shift neurons of several layers", _meaning(summary)),
        Section("How well sums tell", _sums(results, pictures, count)),
        Section("By the size of the shifts", _magnitudes(pictures, count)),
        Section("By the signs within a set", _signs(results)),
        Section("What the shifts do", _effects(pictures, count)),
    ]
    lead, measured = _lead(inputs, results), _measured(results)
    return facts_page.whole_document(
        TITLE, lead, sections, inputs, summary, notes=NOTES, measured=measured
    )


def _lead(inputs: facts.Inputs, results: Results) -> str:
    told = [
        f"{number(found.predictions['neg'].pearson, '.3f')} ({choice}, {found.size:,})"
        for choice in results.choices
        for found in [_largest(results, choice)]
    ]
    return (
        f"Neurons of {inputs.lm.name}, shifted together by up to ±{results.magnitudes[-1]:g}: "
        "how far the sum of what each does alone tells what they do together. Pearson r of the "
        f"sum with the measured change of P(answer), for the largest sets: {', '.join(told)}."
    )


def _largest(results: Results, choice: str, variant: str = "added") -> Additivity:
    return results.of(choice, variant, max(results.sizes_of(choice)))


def _result(results: Results) -> list[report.Block]:
    blocks: list[report.Block] = [
        Paragraph(
            "Each set's neurons were shifted together in one pass, and the change ΔP of the "
            "answer's probability compared with two predictions: Σ NEG x, where each neuron's NEG "
            "was measured alone by exact interventions, and Σ gradient x, where the gradient is "
            "that of P along the convention's direction (NeurGrad under the signed convention, CG "
            "under the additive one)."
        )
    ]
    for choice in results.choices:
        caption = (
            f"Neurons {CHOICES[choice]}. r: Pearson, over all sets of all prompts. R²: share of "
            "the variance of ΔP that the prediction explains, 1 − SSE/SST; below 0 the mean of "
            "all ΔP would tell more. Slope: of ΔP on Σ NEG x through the origin, shifts added; "
            "below 1 the sets do less than the sum. Outside [0, 1]: predictions of a P that "
            "cannot be. Within noise: sets whose |ΔP| rounding alone explains."
        )
        rows = [cells(results, choice, size) for size in results.sizes_of(choice)]
        blocks.append(Table(caption, [" ".join(name).strip() for name in HEAD], rows))
    return blocks


def _paper(results: Results) -> list[report.Block]:
    rows = []
    cases = [(choice, m) for choice in results.choices for m in (None, *results.magnitudes)]
    for choice, magnitude in cases:
        found = results.of(choice, "added", max(results.sizes_of(choice)), magnitude)
        rows.append(
            [
                f"{choice}, {found.size:,} neurons",
                "all" if magnitude is None else f"±{magnitude:g}",
                number(found.predictions["neg"].pearson, ".3f"),
                number(found.predictions["neg"].prompt_pearson, ".3f"),
                number(found.predictions["gradient"].pearson, ".3f"),
                number(found.predictions["gradient"].prompt_pearson, ".3f"),
            ]
        )
    caption = (
        f"{paper.SOURCE} report r ≥ {paper.TOGETHER_PEARSON:g} between predicted and measured "
        f"changes for {paper.TOGETHER:,} neurons shifted together within ±{paper.RADIUS:g}. Here, "
        "shifts added, for all sizes of the shifts and for each: r over all sets of all prompts, "
        "and the median over prompts of each one's r. Models, prompts, and how neurons and shifts "
        "are chosen differ, so the figures may."
    )
    head = ["", "shifts", "Σ NEG x: r", "median of prompts", "Σ gradient x: r", "median of prompts"]
    return [Table(caption, head, rows)]


def _meaning(summary: Mapping[str, Any]) -> list[report.Block]:
    signed = summary["convention"] == "signed"
    rule = (
        "x·s(a), where s(a) = ±1 is the sign of the unperturbed activation: if shifts below turn "
        "an activation's sign, its own shift keeps the direction that strengthened it before"
        if signed
        else "x"
    )
    return [
        Paragraph(
            "A shift in one layer changes the activations of all layers above it. So “shift "
            "neuron i by x” has two meanings once other neurons below it are shifted too, and "
            "both were measured."
        ),
        report.Facts(
            [
                (
                    "added",
                    f"The shift adds to whatever the activation has become, plus {rule}. This is "
                    "what hooks that add to activations do.",
                ),
                (
                    "clamped",
                    "The activation is set to its unperturbed value plus the shift, whatever the "
                    "layers below did. Neurons of a set then no longer react to each other.",
                ),
            ]
        ),
        Paragraph(
            "For neurons of one layer the two are the same: nothing in a layer reacts to its own "
            "neurons. For several layers, the first-order prediction of an added set is the plain "
            "sum of the neurons' effects, because each neuron's NEG and gradient include what it "
            "does through the neurons above it. Clamping cuts those of these paths that lead "
            "through other neurons of the set, while the sum still counts them: a clamped set can "
            "miss its prediction even where everything is linear."
        ),
    ]


def _sums(results: Results, pictures: Mapping[str, Drawing], count: str) -> list[report.Block]:
    return [
        Figure(
            pictures["additivity"],
            f"Predicted against measured ΔP of {count}, by number of neurons: Pearson r (a, b) and "
            "the share of variance explained (c, d; cut off at −1), for shifts added to what the "
            "activations have become (a, c) and for clamped activations (b, d). Dashed: "
            "predicted by gradients. Diamond: the paper's figure.",
            "Curves of r and of the explained share against the number of neurons, by choice.",
        ),
        Figure(
            pictures["sums"],
            "Σ NEG x against measured ΔP, shifts added, sets of all choices, on axes that are "
            "linear about 0 and logarithmic beyond. Dashed: equality. Color: sets a hexagon. Level "
            "bands below 0 are prompts whose P has fallen to nearly nothing.",
            "Hexagons along the diagonal for few neurons, bent away from it for many.",
        ),
    ]


def _magnitudes(pictures: Mapping[str, Drawing], count: str) -> list[report.Block]:
    return [
        Figure(
            pictures["magnitudes"],
            f"Σ NEG x against measured ΔP of {count}, shifts added, by the size of every shift: "
            "Pearson r above, share of variance explained below (cut off at −1); a column for "
            "each way of choosing.",
            "Curves of r and of the explained share against the number of neurons, by magnitude.",
        )
    ]


def _signs(results: Results) -> list[report.Block]:
    rows = []
    for choice in results.choices:
        sizes = results.sizes_of(choice)
        for size in dict.fromkeys([sizes[0], sizes[len(sizes) // 2], sizes[-1]]):
            for signs in results.signs:
                found = results.of(choice, "added", size, signs=signs)
                neg = found.predictions["neg"]
                rows.append(
                    [
                        f"{choice}, {size:,} neurons",
                        signs,
                        str(found.sets),
                        number(neg.pearson, ".3f"),
                        number(neg.explained, ".3f"),
                        number(neg.slope, ".2f"),
                        number(found.change, ".1e"),
                        number(found.kl, ".1e"),
                    ]
                )
    caption = (
        "Σ NEG x against measured ΔP, shifts added, by the signs within a set. "
        + " ".join(f"{name.capitalize()}: {SIGNS[name]}." for name in results.signs)
        + " With one sign, what the neurons have in common adds up; with random signs much of it "
        "cancels, so that sums are small and curvature is what is left."
    )
    head = ["", "signs", "sets", "r", "R²", "slope", "median |ΔP|", "median KL"]
    return [Table(caption, head, rows)]


def _effects(pictures: Mapping[str, Drawing], count: str) -> list[report.Block]:
    return [
        Figure(
            pictures["effects"],
            f"What {count} do, by number of neurons: median |ΔP|, median KL divergence of the "
            "perturbed next-token distribution from the unperturbed one (over all tokens), share "
            "of the sets under which the likeliest token stays, and median change of the "
            "distribution's entropy. Dashed: clamped.",
            "Curves of the size of effects growing with the number of neurons.",
        )
    ]


def _measured(results: Results) -> list[tuple[str, str]]:
    quantiles = statistics.quantiles(results.probability, (0.05, 0.5, 0.95)) or {}
    told = ", ".join(f"{value:.3g}" for value in quantiles.values())
    return [
        ("P(answer)", f"5%, median, 95% of the prompts: {told}"),
        ("Neurons alone", f"NEG of {results.neurons:,} neurons"),
        ("Sets", f"{len(results.sets['size']):,}, each added and clamped"),
        ("Shifts of a set", ", ".join(f"±{m:g}" for m in results.magnitudes)),
    ]
