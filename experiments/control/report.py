"""The report of the study of control: its numbers, pictures and what they mean, in words."""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.control.results import NEAR, Editing, Results, Steering, Turning
from experiments.control.work import LINES, WAYS, Asked
from experiments.inputs import facts, facts_page
from experiments.reporting import page_parts, report
from experiments.reporting.page_parts import number, percent
from experiments.reporting.report import Block, Document, Drawing, Figure, Paragraph, Section, Table
from negjax.control.steering import PARALLEL, TOLERANCE

TITLE = "Turning the knob: how far shifts of neurons control an answer"

TURNING_HEAD = (
    ("direction", ""),
    ("by", ""),
    ("neurons of", "each sign"),
    ("P", "before"),
    ("P", "after"),
    ("rank", "before"),
    ("rank", "after"),
    ("moved", "as meant"),
    ("answer", "first"),
    ("argmax", "changed"),
    ("KL", ""),
)
"""What each column shows, in two lines."""
STEERING_HEAD = (
    ("wanted", "P"),
    ("within", f"{NEAR:g}"),
    ("shortest", ""),
    ("‖shift‖", ""),
    ("‖shift‖", "/ ‖a‖"),
    ("saved", ""),
    ("KL", "here"),
    ("KL", "elsewhere"),
    *(("missed:", name) for name in LINES),
)
EDITING_HEAD = (
    ("edit", ""),
    ("efficacy", ""),
    ("P(new)", ""),
    ("paraphrase", ""),
    ("neighbour-", "hood"),
    ("score", ""),
    ("perplexity", ""),
    ("KL", "elsewhere"),
    ("‖shift‖", ""),
    ("reached", ""),
)


def turning_cells(found: Turning) -> list[str]:
    """A row under `TURNING_HEAD`."""
    return [
        found.direction,
        found.amount,
        f"{found.count:,}",
        f"{found.before:.3g}",
        f"{found.probability:.3g}",
        f"{found.rank_before:,g}",
        f"{found.rank:,g}",
        percent(found.moved),
        percent(found.first),
        percent(found.other),
        f"{found.kl:.2g}",
    ]


def steering_cells(found: Steering) -> list[str]:
    """A row under `STEERING_HEAD`."""
    return [
        f"{found.wanted:g}",
        percent(found.hit),
        percent(found.shortest),
        f"{found.norm:.3g}",
        f"{found.relative:.3f}",
        percent(found.saved),
        f"{found.kl:.2g}",
        f"{found.unrelated:.2g}",
        *(f"{found.missed[name]:.3f}" for name in LINES),
    ]


def editing_cells(found: Editing) -> list[str]:
    """A row under `EDITING_HEAD`."""
    return [
        found.way,
        percent(found.efficacy.score),
        f"{found.efficacy.probability:.2f}",
        percent(found.paraphrase.score),
        percent(found.neighbourhood.score),
        percent(found.score),
        f"{found.perplexity:.1f}",
        number(found.kl, ".2g"),
        number(found.norm, ".3g"),
        percent(found.reached),
    ]


def document(
    inputs: facts.Inputs,
    asked: Asked,
    results: Results,
    summary: Mapping[str, Any],
    pictures: Mapping[str, Drawing],
) -> Document:
    """The report."""
    parts = [
        ("turning", "The strongest neurons, up and down", _turning),
        ("steering", "The smallest shift to a wanted probability", _steering),
        ("editing", "A shift that stays: editing", _editing),
    ]
    sections = [
        Section(heading, blocks(results, asked, pictures))
        for part, heading, blocks in parts
        if getattr(results, part)
    ]
    warning = page_parts.unfinished(summary["complete"])
    if warning:
        sections.insert(0, Section("Unfinished", warning))
    lead, notes, measured = _lead(inputs, results), _notes(results, summary), _measured(asked)
    return facts_page.whole_document(
        TITLE, lead, sections, inputs, summary, notes=notes, measured=measured
    )


def _headings(head: Sequence[tuple[str, str]]) -> list[str]:
    return [" ".join(name).strip().replace("- ", "") for name in head]


def _lead(inputs: facts.Inputs, results: Results) -> str:
    said = []
    if results.steering:
        total = sum(s.prompts for s in results.steering)
        hit = sum(s.hit * s.prompts for s in results.steering) / total
        said.append(
            f"Of {total:,} (fact, probability) pairs, {percent(hit)} were steered to within "
            f"{NEAR:g} of the wanted probability, and of its log-odds, by one shift at the read "
            "position."
        )
    if results.editing:
        best = max(results.editing[1:], key=lambda e: e.score)
        said.append(
            f"Folded into the biases, the best of {len(results.editing) - 1} ways to edit "
            f"({best.way}) has efficacy {percent(best.efficacy.score)}, paraphrase success "
            f"{percent(best.paraphrase.score)}, neighbourhood score "
            f"{percent(best.neighbourhood.score)}."
        )
    if not said:
        said.append(f"Neurons of {inputs.lm.name}, turned up and down together.")
    return " ".join(said)


def _turning(results: Results, asked: Asked, pictures: Mapping[str, Drawing]) -> list[Block]:
    return [
        Paragraph(
            "To enhance, the neurons of largest NeurGrad are strengthened, a → a + x·s(a), and "
            "those of smallest weakened by as much; to suppress, the other way round. x is an "
            "absolute amount (volume) or a multiple of |a| (ratio). All are shifted at once."
        ),
        Table(
            "Over prompts, for the largest and the smallest count. P, and rank of the answer's "
            "first token among all tokens (1: the most probable): medians. Moved as meant: share "
            "of the prompts whose P rose (enhance) or fell (suppress). First: share whose answer "
            "no token beats. Argmax changed: share whose most probable token is another one. KL: "
            "median, of the next token's distribution from the unperturbed one, nats.",
            _headings(TURNING_HEAD),
            [
                turning_cells(found)
                for found in results.turning
                if found.count in (asked.counts.min(), asked.counts.max())
            ],
        ),
        Figure(
            pictures["turning"],
            "Median P(answer) and median KL by the number of neurons of each sign, by amount.",
            "Curves of P and of KL against the number of neurons turned.",
        ),
    ]


def _steering(results: Results, asked: Asked, pictures: Mapping[str, Drawing]) -> list[Block]:
    lines = {name: sum(s.missed[name] for s in results.steering) for name in LINES}
    best = min(lines, key=lambda name: lines[name])
    return [
        Paragraph(
            "Every neuron may be shifted, a → a + δ, at the read position; wanted is the shift of "
            "least L2 norm that gives P(answer) a wanted value. The search starts along the "
            "gradient, corrects the length by replays, and turns to the gradient at the shifted "
            "point as long as that makes the shift shorter. Shortest: shifts whose cosine with the "
            f"gradient there is at least {PARALLEL:g}, the first-order condition; that no shorter "
            "shift lies elsewhere is not verified."
        ),
        Table(
            "Over prompts; medians but for the shares. Saved: 1 − norm over that of the shift "
            "along the gradient at 0, where it got there. KL here: of the prompt's own next token; "
            "elsewhere: mean over facts of other relations with the same shift. Missed: |P − "
            "wanted| after the shift along the gradient at 0 whose length a line in P, log P or "
            "log-odds predicts.",
            _headings(STEERING_HEAD),
            [steering_cells(found) for found in results.steering],
        ),
        Paragraph(
            f"The line that misses least, over all wanted probabilities, is that in {best}. The "
            "search works in log-odds, whose line cannot ask for a P outside (0, 1)."
        ),
        Figure(
            pictures["steering"],
            "Medians and quartiles over prompts, by wanted P. a: distance to it where a line along "
            "the gradient at 0 predicts it. b: norm of the shift over that of the activations, "
            "along the gradient at 0 and as short as it was made. c: KL at the prompt and, mean "
            "over unrelated prompts, elsewhere.",
            "Three panels of medians with quartile bars against the wanted probability.",
        ),
    ]


def _editing(results: Results, asked: Asked, pictures: Mapping[str, Drawing]) -> list[Block]:
    return [
        Paragraph(
            "A shift that is the same for every input and at every position is a bias of the "
            "down-projections, so the edited model can be saved. Its smallest form is searched "
            "over forwards of the edited model, until the mean log-odds of the new answer reach "
            f"those of P = {asked.edit_probability:g}. The measures are those of ROME's "
            "CounterFact (Meng et al., NeurIPS 2022, arXiv 2202.05262); its fluency is another, "
            "here it is the perplexity of plain sentences."
        ),
        Table(
            "Over facts. Efficacy: share of the edited prompts with P(new) > P(old); paraphrase: "
            "the same of other wordings, of which none was part of an edit; neighbourhood: share "
            "of the prompts about other subjects with P(own answer) > P(new). Score: their "
            "harmonic mean. Perplexity, KL and norm: medians.",
            _headings(EDITING_HEAD),
            [editing_cells(found) for found in results.editing],
        ),
        Figure(
            pictures["editing"],
            "The same measures; perplexity of plain sentences over the unedited model's, and KL at "
            "unrelated prompts.",
            "Bars of efficacy, paraphrase and neighbourhood scores for each way to edit.",
        ),
        report.Bullets([f"{name}: {WAYS[name].meaning}." for name in asked.ways]),
        Paragraph(_verdict(results.editing)),
    ]


def _verdict(editing: Sequence[Editing]) -> str:
    """How far a plain activation shift gets, from the numbers alone."""
    plain, edited = editing[0], editing[1:]
    reached = max(edited, key=lambda e: e.paraphrase.score)
    kept = max(edited, key=lambda e: e.neighbourhood.score)
    return (
        f"Without an edit, {percent(plain.paraphrase.score)} of the paraphrases prefer the new "
        f"answer and {percent(plain.neighbourhood.score)} of the neighbours their own. Of the "
        f"edits, “{reached.way}” carries over best, to {percent(reached.paraphrase.score)} of the "
        f"paraphrases, and leaves {percent(reached.neighbourhood.score)} of the neighbours their "
        f"answer; “{kept.way}” leaves most, {percent(kept.neighbourhood.score)}, and carries over "
        f"to {percent(kept.paraphrase.score)}. A shift that does not depend on the input has no "
        "way to tell the edited subject from another, except by how the layers above react to it."
    )


def _notes(results: Results, summary: Mapping[str, Any]) -> list[str]:
    notes = []
    if results.steering:
        notes.append(
            f"Reached means within {TOLERANCE:g} of the wanted log-odds. A probability that was "
            "not reached is not proven unreachable: no ray from ever better points, each along "
            "the gradient and part of the ray before, led there."
        )
    if results.editing:
        edits = summary["edits"]
        notes.append(
            f"{edits['facts']} facts of {edits['source']} were edited, one at a time, each from "
            f"the unedited model; {len(edits['left_out'])} were left out because this model cannot "
            "be asked them. So few give no more than an impression."
        )
    return notes


def _measured(asked: Asked) -> list[tuple[str, str]]:
    rows = []
    if "turning" in asked.parts:
        amounts = ", ".join(f"{name} {amount:g}" for name, amount in asked.amounts)
        counts = ", ".join(f"{count:,}" for count in asked.counts)
        rows.append(("Turned", f"{counts} neurons of each sign, by {amounts}"))
    if "steering" in asked.parts:
        rows.append(("Steered to", ", ".join(f"{p:g}" for p in asked.wanted)))
    if "editing" in asked.parts:
        rows.append(("Edited to", f"P(new) = {asked.edit_probability:g}"))
    return rows
