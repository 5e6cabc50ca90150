"""What the study of control reports, computed from the measurements that its folder holds."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from experiments.control.continuations import Written
from experiments.control.edits import KINDS
from experiments.control.settings import DIRECTIONS, LINES, PARTS, WAYS, Settings
from experiments.control.tables import TIDY, TURNED, every_text
from experiments.control.work import Group, Plan
from experiments.inputs import facts
from negjax.control import Success, overall, success
from negjax.control.steering import PARALLEL
from negjax.storage.store import RunFolder

NEAR = 1e-3
"""Distance in P within which the wanted probability counts as hit, if its log-odds are met too."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Turning:
    """Neurons turned by one amount, of one count; over prompts."""

    direction: str
    amount: str
    """`volume` or `ratio`, and how much."""
    count: int
    """Of each polarity."""
    before: float
    """Median P without a shift."""
    probability: float
    """Median."""
    rank_before: float
    """Median rank of the answer's first token without a shift; 1 is the most probable."""
    rank: float
    """Median."""
    moved: float
    """Share of the prompts whose P went the way it should."""
    first: float
    """Share of the prompts whose answer no token beats."""
    other: float
    """Share of the prompts whose most probable token has become another."""
    kl: float
    """Median, nats."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Steering:
    """Prompts steered to one probability."""

    wanted: float
    prompts: int
    hit: float
    """Share that ended within `NEAR` of it."""
    shortest: float
    """Share whose shift is parallel to the gradient there."""
    norm: float
    """Median L2 norm."""
    relative: float
    """Median of norm over norm of the prompt's activations."""
    saved: float | None
    """Median of 1 − norm over that of the shift along the first gradient, where that got there."""
    turns: float
    """Median number of directions after the first."""
    kl: float
    """Median at the prompt, nats."""
    unrelated: float
    """Median of the mean over unrelated prompts, nats."""
    unrelated_most: float
    """Median of the largest over unrelated prompts."""
    missed: dict[str, float]
    """Median |P − wanted| where each line predicts the wanted P."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Editing:
    """Facts edited in one way, or not at all; over facts."""

    way: str
    facts: int
    efficacy: Success
    """P(new) against P(old), of the edited prompts."""
    paraphrase: Success
    """The same, of paraphrases that no edit here was made with."""
    neighbourhood: Success
    """P(own answer) against P(new), of prompts about other subjects."""
    score: float
    """ROME's: the harmonic mean of the three."""
    perplexity: float
    """Median, of plain sentences."""
    kl: float | None = None
    """Median of the mean over unrelated prompts, nats."""
    norm: float | None = None
    """Median."""
    reached: float | None = None
    """Share that reached the wanted probability."""
    shortest: float | None = None
    """Share of those made as short as they can be that are parallel to the gradient."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Results:
    """Everything the report shows."""

    prompts: dict[str, list[int]]
    """Finished prompts or facts, by part."""
    probability: np.ndarray
    """[B], P(answer) unperturbed; NaN where nothing is finished."""
    turning: list[Turning]
    steering: list[Steering]
    editing: list[Editing]
    """The unedited model first."""
    tables: dict[str, pa.Table]
    """Every measurement, tidy."""
    texts: list[Written]
    """That the model wrote after prompts that were steered or edited."""


def analyse(folder: RunFolder, work: Sequence[Group], plan: Plan, inputs: facts.Inputs) -> Results:
    """Statistics of finished work."""
    done: dict[str, list[int]] = {part: [] for part in plan.settings.parts}
    for group in work:
        done[group.part] += group.rows
    probability = np.full(len(inputs.probes), np.nan)
    for part, name in (("steering", "before"), ("turning", "baseline")):
        if done.get(part):
            probability[done[part]] = folder.read(name)[done[part]]
    turned, steered, edited = (done.get(part, []) for part in PARTS)
    return Results(
        prompts=done,
        probability=probability,
        turning=_turning(folder, plan.settings, turned) if turned else [],
        steering=_steering(folder, plan.settings, steered) if steered else [],
        editing=_editing(folder, plan, edited) if edited else [],
        tables={part: TIDY[part](folder, plan, done[part]) for part in PARTS if done.get(part)},
        texts=every_text(inputs, folder, plan, done),
    )


def _turning(folder: RunFolder, settings: Settings, done: list[int]) -> list[Turning]:
    before, rank_before, top_before = (
        folder.read(name)[done] for name in ("baseline", "rank", "top_token")
    )
    turned = [folder.read(name)[done] for name in TURNED]
    rows = []
    for d, direction in enumerate(DIRECTIONS):
        for a, (name, amount) in enumerate(settings.amounts):
            for k, count in enumerate(settings.counts):
                p, rank, top, kl = (values[:, d, a, k] for values in turned)
                row = Turning(
                    direction=direction,
                    amount=f"{name} {amount:g}",
                    count=count,
                    before=_median(before),
                    probability=_median(p),
                    rank_before=_median(rank_before),
                    rank=_median(rank),
                    moved=float((p > before if direction == "enhance" else p < before).mean()),
                    first=float((rank == 1).mean()),
                    other=float((top != top_before).mean()),
                    kl=_median(kl),
                )
                rows.append(row)
    return rows


def _steering(folder: RunFolder, settings: Settings, done: list[int]) -> list[Steering]:
    names = (
        *("steered", "cosine", "norm", "straight_norm", "turns", "kl"),
        *("unrelated_mean", "unrelated_most", "reached", "line"),
    )
    arrays = {name: folder.read(name)[done] for name in names}
    size = folder.read("size")[done]
    rows = []
    for w, wanted in enumerate(settings.wanted):
        of = {name: values[:, w] for name, values in arrays.items()}
        straight = np.isfinite(of["straight_norm"]) & (of["straight_norm"] > 0)
        saved = 1 - of["norm"][straight] / of["straight_norm"][straight]
        reached = of["reached"] > 0
        missed = np.median(np.abs(of["line"] - wanted), axis=0)
        row = Steering(
            wanted=wanted,
            prompts=len(done),
            hit=float((reached & (np.abs(of["steered"] - wanted) < NEAR)).mean()),
            shortest=float((reached & (of["cosine"] >= PARALLEL)).mean()),
            norm=_median(of["norm"]),
            relative=_median(of["norm"] / size),
            saved=_median(saved) if saved.size else None,
            turns=_median(of["turns"]),
            kl=_median(of["kl"]),
            unrelated=_median(of["unrelated_mean"]),
            unrelated_most=_median(of["unrelated_most"]),
            missed=dict(zip(LINES, missed.tolist(), strict=True)),
        )
        rows.append(row)
    return rows


def _editing(folder: RunFolder, plan: Plan, done: list[int]) -> list[Editing]:
    names = (
        *("plain_new", "plain_own", "plain_perplexity", "edited_new", "edited_own", "perplexity"),
        *("edit_kl", "edit_norm", "edit_cosine", "edit_reached"),
    )
    of = {name: folder.read(name)[done] for name in names}
    rows = [_measures("none", plan, done, of["plain_new"], of["plain_own"], of["plain_perplexity"])]
    for number, name in enumerate(plan.settings.ways):
        new, own, perplexity, kl, norm, cosine, reached = (of[n][:, number] for n in names[3:])
        row = dataclasses.replace(
            _measures(name, plan, done, new, own, perplexity),
            kl=_median(kl),
            norm=_median(norm),
            reached=float(reached.mean()),
            shortest=float((cosine >= PARALLEL).mean()) if WAYS[name].turned else None,
        )
        rows.append(row)
    return rows


def _measures(
    way: str,
    plan: Plan,
    done: list[int],
    new: np.ndarray,
    own: np.ndarray,
    perplexity: np.ndarray,
) -> Editing:
    """Of probabilities [facts, rows] and perplexities [facts]."""
    # Paraphrases that any of the ways was taught are left out for all of them.
    taught = max((WAYS[name].paraphrases for name in plan.settings.ways), default=0)
    parts: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
    for row, number in enumerate(done):
        seen = 0
        for column, kind in enumerate(plan.facts[number].kinds):
            seen += kind == "paraphrase"
            if kind == "paraphrase" and seen <= taught:
                continue
            parts[kind].append((new[row, column], own[row, column]))
    edited, reworded, neighbours = (np.asarray(parts[kind]).reshape(-1, 2) for kind in KINDS)
    efficacy, paraphrase = success(*edited.T), success(*reworded.T)
    neighbourhood = success(*neighbours.T[::-1])
    return Editing(
        way=way,
        facts=len(done),
        efficacy=efficacy,
        paraphrase=paraphrase,
        neighbourhood=neighbourhood,
        score=overall(efficacy.score, paraphrase.score, neighbourhood.score),
        perplexity=_median(perplexity),
    )


def _median(values: np.ndarray) -> float:
    return float(np.median(values))
