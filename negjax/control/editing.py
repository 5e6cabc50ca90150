"""Editing: a persistent change of what a model answers, made of one shift of its activations.

The shift is the same for every input and at every position, which is what a bias can hold
(`negjax.control.folding`). Editors of the literature change weights, so that what is added depends
on the input: ROME (Meng et al., NeurIPS 2022, arXiv 2202.05262) one layer's down-projection.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from negjax.checks import whole_number
from negjax.control import search
from negjax.control.arguments import allowed_shifts, check_probability
from negjax.control.folding import fold, folded_forwards, folded_site, with_bias
from negjax.control.odds import to_log_odds, to_probability
from negjax.control.rays import FIRST_LOOK
from negjax.control.scores import target_probabilities
from negjax.control.steering import PARALLEL, TOLERANCE, TURNS, SmallestShift
from negjax.execution.batching import DEFAULT_BUDGET_BYTES
from negjax.inputs.probes import Probes, check_asked
from negjax.model.language_model import LanguageModel
from negjax.process import bars
from negjax.process.bars import with_bar
from negjax.records import readable


@readable
@dataclasses.dataclass(frozen=True, kw_only=True)
class Edited(SmallestShift):
    """A model with an edit folded in, and what the edit did to the facts it was made for.

    `reached` is said of the edited model, whose biases are rounded to the weights' dtype.
    """

    lm: LanguageModel
    """The edited model, with biases in its feed-forward layers."""
    before: np.ndarray
    """[B], P(target) of each fact in the model as it was."""
    probability: np.ndarray
    """[B], P(target) in the edited model."""


@with_bar
@bars.counted(None, search.LOOK)
def edit(
    lm: LanguageModel,
    facts: Probes,
    probability: float = 0.5,
    *,
    site: str | None = None,
    neurons: np.ndarray | None = None,
    layers: Sequence[int] | None = None,
    preserve: Probes | None = None,
    turns: int = TURNS,
    budget_bytes: int = DEFAULT_BUDGET_BYTES,
    progress: bool | None = None,
) -> Edited:
    """The model with the smallest input-independent shift (L2) that makes targets probable.

    Moves the mean over the facts of the target's log-odds; the search is that of `steer`, over
    forwards of the edited model.

    Args:
        facts: B prompts with one target each, the answer that the model shall give.
        probability: wanted P(target), between 0 and 1, of the mean log-odds.
        site: `act` or `product`, the down-projection's input; None for whichever the model has.
        neurons: [N, 2], (layer, index) of those that may be shifted; a set. Default: all.
        layers: instead, the layers whose neurons may be shifted.
        preserve: prompts with one target each whose log-odds the shift must not change to first
            order: it stays orthogonal to their gradients.
        turns: most directions tried to make the shift shorter; 0 keeps the first that is found,
            along the gradient at 0 where that leads to the probability.
        budget_bytes: memory for one batch, besides the weights and the result.
        progress: whether a bar shows how far it is; None: to people, after two seconds.

    Raises:
        ValueError: a probability outside (0, 1), facts that are not encoded or have several targets
            a prompt, bad site, neurons or layers, negative turns, `up`, or a family whose saved
            form has no bias to hold the edit; by name.
    """
    check_asked(lm, facts, "facts")
    chosen = folded_site(lm.config, site)
    wanted = float(check_probability(probability, 1)[0])
    turns = whole_number(turns, "turns", 0)
    whole_number(budget_bytes, "budget_bytes", 1)
    if preserve is not None:
        check_asked(lm, preserve, "preserve")
    for name, probes in (("facts", facts), ("preserve", preserve)):
        if probes is not None and probes.target_count != 1:
            raise ValueError(f"{name} have {probes.target_count} targets a prompt, expected one")
    allowed = allowed_shifts(lm.config, neurons, layers)
    biased = with_bias(lm)
    rows = FIRST_LOOK.size
    if preserve is not None:
        kept = folded_forwards(biased, preserve, rows=1, budget_bytes=budget_bytes)
        allowed = _orthogonal_to(allowed(kept.each_slope().astype(np.float64)), allowed)
    forwards = folded_forwards(biased, facts, rows=rows, budget_bytes=budget_bytes)
    found = search.minimal_shifts(
        forwards,
        to_log_odds(np.asarray([wanted])),
        (lm.config.layers, lm.config.neurons),
        allowed,
        tolerance=TOLERANCE,
        turns=turns,
        cosine=PARALLEL,
    )
    shift = found.shift[0].astype(lm.compute_dtype)
    edited = fold(biased, shift, f"{lm.name}, edited")
    # The weights' dtype rounds the biases: what counts is the model that comes out.
    none = np.zeros_like(shift)[None]
    level = dataclasses.replace(forwards, lm=edited).along(none, none, np.zeros((1, rows)))[0, 0]
    return Edited(
        site=chosen,
        wanted=wanted,
        shift=shift,
        reached=bool(abs(level - to_log_odds(np.asarray(wanted))) <= TOLERANCE),
        cosine=float(found.cosine[0]),
        path=tuple((p.norm, float(to_probability(np.asarray(p.level)))) for p in found.paths[0]),
        lm=edited,
        before=target_probabilities(lm, facts, budget_bytes=budget_bytes)[:, 0],
        probability=target_probabilities(edited, facts, budget_bytes=budget_bytes)[:, 0],
    )


def _orthogonal_to(
    gradients: np.ndarray, allowed: Callable[[np.ndarray], np.ndarray]
) -> Callable[[np.ndarray], np.ndarray]:
    """Projection of [P, L, F] on the allowed shifts that are orthogonal to gradients [U, L, F]."""
    flat = gradients.reshape(len(gradients), -1)
    # Right singular vectors: an orthonormal basis of what the gradients span, however alike.
    _, sizes, basis = np.linalg.svd(flat, full_matrices=False)
    basis = basis[sizes > 1e-6 * sizes.max()]

    def project(shift: np.ndarray) -> np.ndarray:
        own = allowed(shift).reshape(len(shift), -1)
        result: np.ndarray = (own - (own @ basis.T) @ basis).reshape(shift.shape)
        return result

    return project
