"""The report of the study of estimators: its tables, pictures and what they mean, in words."""

from collections.abc import Mapping
from typing import Any

from experiments import paper
from experiments.estimators import tables as tables
from experiments.estimators.results import CONVENTIONS
from experiments.estimators.study import THIRDS, Found
from experiments.inputs import facts, facts_page
from experiments.reporting import page_parts, report
from experiments.reporting.page_parts import number, percent
from experiments.reporting.report import (
    Bullets,
    Document,
    Drawing,
    Figure,
    Paragraph,
    Section,
    Table,
)
from negjax.estimators import METHODS

TITLE = "Which estimator tells what a neuron does?"


def document(
    inputs: facts.Inputs, found: Found, summary: Mapping[str, Any], pictures: Mapping[str, Drawing]
) -> Document:
    """The report."""
    results = found.results
    signed, additive = (results.told[c][results.headline] for c in CONVENTIONS)
    count = f"{len(results.curves.neurons['layer']):,}"
    computed = "cg" in signed
    lead = (
        f"Exact slopes (NEG) of {count} neurons of {inputs.lm.name} within ±{results.headline:g}, "
        "and what each estimator makes of them. NeurGrad agrees with r = "
        f"{number(signed['neurgrad'].pearson, '.4f')} under the signed convention"
        + (f", CG with {number(signed['cg'].pearson, '.4f')}" if computed else "")
        + f"; under the additive one {number(additive['neurgrad'].pearson, '.4f')}"
        + (f" and {number(additive['cg'].pearson, '.4f')}." if computed else ".")
    )
    sections = [
        Section("Result", [*page_parts.unfinished(summary["complete"]), *_result(found)]),
        Section("Beside the paper", [_paper(found)]),
        Section("By shift range", _by_range(found, pictures)),
        Section("NEG against each estimate", [_scatter(found, pictures)]),
        Section("Why an estimate is off: curvature and saturation", _ranges(found, pictures)),
        Section("Hidden controllers", _doses(inputs, found, pictures)),
    ]
    notes, measured = _notes(found, summary["site"]), _measured(found)
    return facts_page.whole_document(
        TITLE, lead, sections, inputs, summary, notes=notes, measured=measured
    )


def _result(found: Found) -> list[report.Block]:
    radius = found.results.headline
    blocks: list[report.Block] = [Paragraph(tables.CORRECTION)]
    for convention in CONVENTIONS:
        how = (
            "as the curves were measured"
            if convention == found.measured
            else "from the same curves, mirrored where s(a) = −1, which turns the sign of NEG"
        )
        caption = (
            f"Estimates against NEG within ±{radius:g}, {convention} convention, {how}. r: "
            "Pearson, over all neurons, and the median over prompts of r within a prompt. MAE: "
            f"mean |estimate − NEG|, where the mean |NEG| is {_mean_size(found)}; only for "
            "estimates in NEG's units. Seconds: a prompt, all neurons, compilation left out; the "
            f"ablation's from one layer. {tables.top_note(found)} {tables.noise_note(found)}"
        )
        rows = tables.agreement_rows(found, convention, radius)
        blocks.append(Table(caption, tables.joined(tables.AGREEMENT_HEAD), rows))
    blocks.append(Paragraph(tables.not_slopes(found)))
    return blocks


def _mean_size(found: Found) -> str:
    told = found.results.told[found.measured][found.results.headline]
    return number(told["neurgrad"].mean_size, ".1e")


def _paper(found: Found) -> Table:
    caption = (
        f"As reported by {paper.SOURCE}, {paper.PROMPTS:,} prompts of {paper.NEURONS:,} neurons; "
        f"and here, signed convention, ±{found.results.headline:g}. Models, prompts and machines "
        "differ, so the figures may. IG and LPI here are as they are, not per unit."
    )
    return Table(caption, tables.joined(tables.PAPER_HEAD), tables.paper_rows(found))


def _by_range(found: Found, pictures: Mapping[str, Drawing]) -> list[report.Block]:
    head = ["estimate", *(f"±{radius:g}" for radius in found.results.ranges)]
    blocks: list[report.Block] = [
        Figure(
            pictures["agreement"],
            "Agreement with NEG by shift range, under both conventions. Dotted: estimates that are "
            "not per unit of activation.",
            "Lines of correlation by shift range for every estimator, a column a convention.",
        )
    ]
    for measure, (name, _) in tables.MEASURES.items():
        for convention in CONVENTIONS:
            caption = f"{name}, by shift range, {convention} convention."
            blocks.append(Table(caption, head, tables.range_rows(found, convention, measure)))
    return blocks


def _scatter(found: Found, pictures: Mapping[str, Drawing]) -> Figure:
    return Figure(
        pictures["estimates"],
        f"NEG within ±{found.results.headline:g}, {found.measured} convention, against each "
        "estimate, on axes that are linear about 0 and logarithmic beyond. Estimates in other "
        "units are scaled to NEG's median size. Dashed: equality. Color: neurons a hexagon.",
        "A panel for each estimate: hexagons along the diagonal for good ones, along both "
        "diagonals for those that miss the sign.",
    )


def _ranges(found: Found, pictures: Mapping[str, Drawing]) -> list[report.Block]:
    check, radius = found.ranges.check, found.ranges.radius
    kinds = found.ratios[found.results.ranges[-1]]
    head = ["estimate", *(f"r, {name}" for name in THIRDS), *(f"Spearman, {n}" for n in THIRDS)]
    return [
        Paragraph(
            "Along one neuron, ΔP = f'x + ½f''x² + …; with f'' from a jvp of the jvp, the curve "
            f"should leave its tangent by {check.tolerance:.0%} at |x| = 2·{check.tolerance:g}·"
            "|f'|/|f''|: the predicted linear range. The measured one is the largest |x| up to "
            "which, on both sides, the exact curve is within that share of its tangent, plus what "
            "rounding alone explains. For a parabola they are equal; whatever comes after f'' "
            "bends one of the two sides sooner, so that the prediction tends to be too wide."
        ),
        Table(
            f"Predicted against measured linear range of {check.checked:,} of {check.neurons:,} "
            f"neurons. Left out: {check.beyond:,} with a predicted range beyond ±{radius:g} "
            f"({check.beyond_and_straight:,} of them straight throughout), {check.too_small:,} "
            "whose bend rounding would hide. Range holds: share with a measured range at least as "
            "wide as the predicted one; at twice the tolerance: the same for a curve that may be "
            "off its tangent by twice as much.",
            tables.joined(tables.CHECK_HEAD),
            [tables.check_row(found)],
        ),
        Figure(
            pictures["ranges"],
            "a: predicted and measured linear range of the same neurons; line: equal; dashed: a "
            "factor of 2. b: distribution of their ratio. c: NEG over the slope at 0, of the "
            "neurons above the noise: flattened below 0.8, steepened above 1.25, turned below 0.",
            "Hexagons below the diagonal, a cumulative curve, and bars by shift range.",
        ),
        Paragraph(
            "Curvature alone does not move NEG: over shifts ±x the even part of a curve cancels in "
            "Σ x ΔP(x), so f'' makes r fall and leaves the slope. What parts NEG from the slope at "
            "0 is odd: P that saturates on both sides, or rises on both. Within "
            f"±{radius:g}, {percent(kinds['flattened'])} of the neurons above the noise have "
            f"flattened, {percent(kinds['turned'])} have turned back, "
            f"{percent(kinds['steepened'])} have steepened, "
            f"{percent(kinds['straight'])} are straight."
        ),
        Table(
            f"Agreement with NEG within ±{radius:g} ({found.measured}) in each third of the "
            "neurons, by predicted linear range: an estimate that is local is poor where the curve "
            "bends soon.",
            head,
            tables.third_rows(found),
        ),
        Figure(
            pictures["tangents"],
            f"The curves within ±{radius:g} on which the slope at 0 (dashed) is furthest from NEG. "
            "Dots: interventions that were run.",
            "Four curves that leave their tangent.",
        ),
    ]


def _doses(
    inputs: facts.Inputs, found: Found, pictures: Mapping[str, Drawing]
) -> list[report.Block]:
    if not found.doses:
        return [Paragraph("No layer was dosed before the run was interrupted.", warning=True)]
    limits = found.thresholds
    swept = f"{sum(doses.layer.size for doses in found.doses):,}"
    blocks: list[report.Block] = [
        Paragraph(
            "Every neuron of the dosed layers was shifted so far that its write is d times as long "
            "as the residual stream at the read position in its layer, in both directions "
            f"({swept} neurons; the unit of Liu, 2026, arXiv 2606.19831). An effect is large if it "
            f"is among the top {1 - limits.large:.2%} of its prompt: |ΔP| of the answer at the "
            "stronger of the two signs (and above the noise), or KL from the unperturbed "
            f"distribution over all tokens. NeurGrad is small if it is among the lowest "
            f"{limits.small:.0%} in size. Hidden controllers have both effects large and NeurGrad "
            "small. By chance: how many would be hidden if NeurGrad had nothing to do with it. "
            "Ties go to the lower neuron number."
        ),
        Paragraph(
            "Two causes are to be told apart. NeurGrad is per unit of activation, and a neuron "
            "whose write is short (at site up: whose gate is nearly closed) has a small one, and "
            "needs a large shift to make up a dose: NeurGrad × dose, the change to expect of the "
            "dose on a line, shows such a neuron. Where that is small too, the line itself is "
            "wrong: the write lies off what the output reads at first, and matters once it is long."
        ),
        Table(
            "By dose. Collapsed: KL(P₀‖P) is at least log V − H(P₀), so that P tells the next "
            "token of the unperturbed model no better than the uniform distribution does; or the "
            f"entropy of P has gone {limits.flat:.0%} of the way from H(P₀) to log V. Small × dose "
            "too: hidden controllers whose NeurGrad × dose is among the smallest as well.",
            tables.joined(tables.DOSE_HEAD),
            tables.dose_rows(found.statistics),
        ),
        Figure(
            pictures["doses"],
            "a: neurons with another token on top, and with a collapsed output. b: neurons of "
            "large |ΔP| by tenths of |NeurGrad|; dashed: if it said nothing. c: hidden controllers "
            "by layer. d: median rank of the hidden controllers among all dosed neurons, for each "
            "attribution. Colors of b to d: the dose.",
            "Shares by dose, large effects by gradient, hidden controllers by layer, and how high "
            "each attribution ranks them.",
        ),
        Table(
            "Rank of the hidden controllers by the size of each attribution among all dosed "
            "neurons of their prompt (100%: the largest): the median, and the share of them in the "
            "top tenth. NeurGrad's is low by definition; an attribution finds them if its is high.",
            [
                "attribution",
                *(
                    f"±{s.dose:g}, {part}"
                    for s in found.statistics
                    for part in ("median", "in top 10%")
                ),
            ],
            tables.shown_rows(found.statistics),
        ),
        Bullets([tables.verdict(s) for s in found.statistics]),
    ]
    for doses, entries in zip(found.doses, found.hidden, strict=True):
        prompt, target = inputs.probes.prompts[doses.prompt], inputs.probes.targets[doses.prompt][0]
        blocks.append(
            Table(
                f"“{prompt}” → “{target}”: the hidden controllers of largest |ΔP|, each at the "
                "dose where it is largest. Ranks: by size, among all dosed neurons. Collapse dose: "
                "the smallest of the same sign at which the output has collapsed.",
                tables.HIDDEN_HEAD,
                tables.hidden_rows(entries),
            )
        )
    return blocks


def _notes(found: Found, site: str) -> list[str]:
    notes = []
    if site == "up" and "relp" in found.asked.methods:
        notes.append(
            "RelP shares a gated product half and half, so that at site up it gives a neuron half "
            "of what the product gets: per unit it is about half a slope, by its own rules."
        )
    notes += [
        "Under the signed convention a per-unit form is divided by |a|, under the additive one by "
        "a. CG × a per unit would be NeurGrad, or CG: it has no form of its own. The ablation is "
        "turned round, P(a) − P(0), and per unit told only where it is above the rounding noise.",
        "A prompt's neurons share its P, and large slopes come from prompts with P far from 0 and "
        "1: r over all neurons is led by those, r within a prompt is not.",
        "All ranges are read off one series through the widest, which averages rounding away.",
        "Collapse is judged by the next token alone; whether a continuation falls apart later is "
        "not looked at. Doses in between those swept are not known.",
        "Quantiles are taken among the neurons of the dosed layers of one prompt: with "
        "--dosed_every above 1 they are a sample of the network.",
    ]
    if found.silent:
        notes.append(f"{found.silent} neurons of the dosed layers write nothing and have no dose.")
    return notes


def _measured(found: Found) -> list[tuple[str, str]]:
    asked = found.asked
    rows = [(tables.LABELS[name], METHODS[name].citation) for name in asked.methods]
    doses = ", ".join(f"±{dose:g}" for dose in asked.doses)
    layers = f"{len(found.doses)} prompts, {found.dosed_layers} layers in all"
    return [*rows, ("IG steps", str(asked.ig_steps)), ("Doses", f"{doses}; {layers}")]
