"""What the study of control reports, computed from the measurements that its folder holds."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from experiments.control.edits import KINDS
from experiments.control.tables import TURNED, editing_table, steering_table, turning_table
from experiments.control.work import DIRECTIONS, LINES, WAYS, Asked, Group
from negjax.control import Success, overall, success
from negjax.control.steering import PARALLEL
from negjax.storage.store import RunFolder

NEAR = 1e-3
"""Distance in P within which the wanted probability counts as hit, if its log-odds are met too."""


@dataclasses.dataclass(frozen=True)
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


@dataclasses.dataclass(frozen=True)
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


@dataclasses.dataclass(frozen=True)
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
    kl: float | None
    """Median of the mean over unrelated prompts, nats."""
    norm: float | None
    """Median."""
    reached: float | None
    """Share that reached the wanted probability."""
    shortest: float | None
    """Share of those made as short as they can be that are parallel to the gradient."""


@dataclasses.dataclass(frozen=True)
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


def analyse(folder: RunFolder, work: Sequence[Group], asked: Asked, prompts: int) -> Results:
    """Statistics of the groups that are finished."""
    done: dict[str, list[int]] = {part: [] for part in asked.parts}
    for group in work:
        if group.name in folder.finished:
            done[group.part] += group.rows
    probability = np.full(prompts, np.nan)
    for part, name in (("steering", "before"), ("turning", "baseline")):
        if done.get(part):
            probability[done[part]] = folder.read(name)[done[part]]
    turned, steered, edited = (done.get(part, []) for part in ("turning", "steering", "editing"))
    return Results(
        done,
        probability,
        _turning(folder, asked, turned) if turned else [],
        _steering(folder, asked, steered) if steered else [],
        _editing(folder, asked, edited) if edited else [],
        {
            **({"turning": turning_table(folder, asked, turned)} if turned else {}),
            **({"steering": steering_table(folder, asked, steered)} if steered else {}),
            **({"editing": editing_table(folder, asked, edited)} if edited else {}),
        },
    )


def _turning(folder: RunFolder, asked: Asked, done: list[int]) -> list[Turning]:
    before, rank_before, top = (
        folder.read(name)[done] for name in ("baseline", "rank", "top_token")
    )
    found = [folder.read(name)[done] for name in TURNED]
    rows = []
    for d, direction in enumerate(DIRECTIONS):
        for a, (name, amount) in enumerate(asked.amounts):
            for k, count in enumerate(asked.counts.tolist()):
                p, rank, own_top, kl = (values[:, d, a, k] for values in found)
                rows.append(
                    Turning(
                        direction,
                        f"{name} {amount:g}",
                        count,
                        float(np.median(before)),
                        float(np.median(p)),
                        float(np.median(rank_before)),
                        float(np.median(rank)),
                        float((p > before if direction == "enhance" else p < before).mean()),
                        float((rank == 1).mean()),
                        float((own_top != top).mean()),
                        float(np.median(kl)),
                    )
                )
    return rows


def _steering(folder: RunFolder, asked: Asked, done: list[int]) -> list[Steering]:
    names = [
        "steered",
        "cosine",
        "norm",
        "straight_norm",
        "turns",
        "kl",
        "unrelated_mean",
        "unrelated_most",
        "reached",
        "line",
    ]
    found = {name: folder.read(name)[done] for name in names}
    size = folder.read("size")[done]
    rows = []
    for w, wanted in enumerate(asked.wanted.tolist()):
        own = {name: values[:, w] for name, values in found.items()}
        straight = np.isfinite(own["straight_norm"]) & (own["straight_norm"] > 0)
        saved = 1 - own["norm"][straight] / own["straight_norm"][straight]
        reached = own["reached"] > 0
        rows.append(
            Steering(
                wanted,
                len(done),
                float((reached & (np.abs(own["steered"] - wanted) < NEAR)).mean()),
                float((reached & (own["cosine"] >= PARALLEL)).mean()),
                float(np.median(own["norm"])),
                float(np.median(own["norm"] / size)),
                float(np.median(saved)) if saved.size else None,
                float(np.median(own["turns"])),
                float(np.median(own["kl"])),
                float(np.median(own["unrelated_mean"])),
                float(np.median(own["unrelated_most"])),
                {
                    line: float(np.median(np.abs(own["line"][:, i] - wanted)))
                    for i, line in enumerate(LINES)
                },
            )
        )
    return rows


def _editing(folder: RunFolder, asked: Asked, done: list[int]) -> list[Editing]:
    plain_new, plain_own = folder.read("plain_new")[done], folder.read("plain_own")[done]
    new, own = folder.read("edited_new")[done], folder.read("edited_own")[done]
    rows = [_measures("none", asked, done, plain_new, plain_own, folder.read("plain_perplexity"))]
    for number, name in enumerate(asked.ways):
        row = _measures(
            name, asked, done, new[:, number], own[:, number], folder.read("perplexity")[:, number]
        )
        cosine = folder.read("edit_cosine")[done, number]
        reached = folder.read("edit_reached")[done, number]
        rows.append(
            dataclasses.replace(
                row,
                kl=float(np.median(folder.read("edit_kl")[done, number])),
                norm=float(np.median(folder.read("edit_norm")[done, number])),
                reached=float(reached.mean()),
                shortest=float((cosine >= PARALLEL).mean()) if WAYS[name].turned else None,
            )
        )
    return rows


def _measures(
    way: str,
    asked: Asked,
    done: list[int],
    new: np.ndarray,
    own: np.ndarray,
    perplexity: np.ndarray,
) -> Editing:
    """Of probabilities [facts, rows]."""
    # Paraphrases that any of the ways was taught are left out for all of them.
    taught = max((WAYS[name].paraphrases for name in asked.ways), default=0)
    parts: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
    for row, number in enumerate(done):
        seen = 0
        for column, kind in enumerate(asked.facts[number].kinds):
            seen += kind == "paraphrase"
            if kind == "paraphrase" and seen <= taught:
                continue
            parts[kind].append((new[row, column], own[row, column]))
    edited, reworded, neighbours = (np.asarray(parts[kind]).reshape(-1, 2) for kind in KINDS)
    efficacy, paraphrase = success(*edited.T), success(*reworded.T)
    neighbourhood = success(*neighbours.T[::-1])
    return Editing(
        way,
        len(done),
        efficacy,
        paraphrase,
        neighbourhood,
        overall(efficacy.score, paraphrase.score, neighbourhood.score),
        float(np.median(perplexity[done])),
        None,
        None,
        None,
        None,
    )
