"""Linear: multinomial regression on the signs of all neurons' scores, with an elastic net.

Signs, not sizes: a gradient's size varies by orders from prompt to prompt and from neuron to
neuron, signs need no scaling, and codes keep them. Of K labels every neuron has K signs and K × K
weights. Unlike the other probes, which ask each neuron alone, this one weighs neurons against each
other, and the L1 norm leaves most of them out.
"""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from negjax.checks import real_number, shown, whole_number
from negjax.records import readable
from negjax.skills.checks import check_batches, check_gold, check_labels, check_maker, check_scores
from negjax.skills.probes.fitted import ScoreProbe
from negjax.skills.probes.linear_path import SOLVER_BYTES, Batches, Stage, regularisation_path


@readable
@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class LinearProbe(ScoreProbe):
    """Predicts the label with the largest bias + Σ weight · sign(g); of ties, the first.

    `neurons` are those with any weight, the largest norm first. `polarity` is the sign of what a
    neuron's own label's sign does to that label more than to the others, summed over labels.
    """

    weight: np.ndarray
    """[K, K, k], float32: of the label predicted, the label whose score's sign is read, the
    neuron."""
    bias: np.ndarray
    """[K], float32."""
    fraction: float
    """Strength of the penalty, in units of the one that leaves no neuron a weight (with l1 = 1)."""
    loss: float
    """Mean cross-entropy of the training prompts, in nats."""
    violation: float
    """What is left of the optimality (Karush-Kuhn-Tucker) conditions over all N neurons, in units
    of the penalty's strength: at most `Linear.tolerance`, unless the solver stopped before."""

    def _label_votes(self, chosen: np.ndarray) -> np.ndarray:
        result: np.ndarray = np.einsum(
            "bjn,kjn->bkn", np.sign(chosen).astype(np.float32), self.weight
        )
        return result

    def _decide(self, votes: np.ndarray) -> np.ndarray:
        result: np.ndarray = (votes.sum(-1) + self.bias).argmax(1)
        return result


MOST_STAGES = 10_000
"""Of a path: each is a fit."""


@readable
@dataclasses.dataclass(frozen=True, kw_only=True)
class Linear:
    """The regularisation path of an elastic net; validation prompts choose where on it to stop."""

    l1: float = 1.0
    """Share of Σ |W| in the penalty. With 0 every neuron has weights, and all must fit memory."""
    l2: float = 10.0
    """Share of Σ W² / 2."""
    stages: int = 8
    """Strengths of the penalty, geometrically falling."""
    weakest: float = 0.05
    """The last one, in units of the one that leaves no neuron a weight (with l1 = 1)."""
    tolerance: float = 0.01
    """Violation of the optimality conditions to stop at, in units of the strength."""
    budget_bytes: int = SOLVER_BYTES
    """Memory for the signs of the neurons with weights; the path ends where they need more."""

    def __post_init__(self) -> None:
        parts = [real_number(getattr(self, name), name, least=0) for name in ("l1", "l2")]
        if not any(parts):
            raise ValueError(
                f"l1 is {self.l1} and l2 {self.l2}, expected 0 or more, and one of them positive"
            )
        whole_number(self.stages, "stages", 1, MOST_STAGES)
        whole_number(self.budget_bytes, "budget_bytes", 1)
        for name in ("weakest", "tolerance"):
            real_number(getattr(self, name), name, above=0, below=1)

    def fit(
        self,
        scores: ArrayLike,
        gold: ArrayLike,
        valid: tuple[ArrayLike, ArrayLike] | None = None,
    ) -> LinearProbe:
        """Fits to training prompts.

        Args:
            scores: [B, K, L, F] or [B, K, N], of every label of the task.
            gold: [B], the labels' numbers.
            valid: scores and gold of other prompts, which choose the strength (`choose`). Default:
                the weakest.

        Raises:
            ValueError: by name: no prompts, scores that are not finite, shapes that disagree, gold
                out of range, a label without a prompt, neurons that do not fit the budget.
        """
        array = check_scores(scores)
        checked = check_gold(gold, len(array), array.shape[1], every=True)
        path = self.path(lambda: [(array, checked)], array.shape[1])
        if valid is None:
            return path[-1]
        try:
            return choose(path, [valid])
        except ValueError as error:
            raise ValueError(f"valid: {error}") from None

    def path(self, batches: Batches, labels: int) -> list[LinearProbe]:
        """The probes of all strengths, strongest first, from several passes over batches.

        Args:
            batches: makes the training batches anew, in the same order: scores [B, K, N], or what
                `decode_scores` makes of codes, and gold [B].
            labels: K.

        Raises:
            ValueError: as `fit`.
        """
        batches, labels = check_maker(batches), check_labels(labels)
        fractions = self.weakest ** (np.arange(1, self.stages + 1) / self.stages)
        total, found = regularisation_path(
            batches,
            labels,
            fractions.tolist(),
            l1=self.l1,
            l2=self.l2,
            tolerance=self.tolerance,
            budget_bytes=self.budget_bytes,
        )
        return [_probe(stage, total) for stage in found]


def choose(
    path: Sequence[LinearProbe], batches: Iterable[tuple[ArrayLike, ArrayLike]]
) -> LinearProbe:
    """The probe of a path with the best accuracy on batches; of ties, the strongest penalty's.

    Args:
        batches: scores [B, K, N], or what `decode_scores` makes of codes, and gold [B], of prompts
            that are not among the training prompts.

    Raises:
        ValueError: no prompts; scores or gold that the probes cannot take.
    """
    whole = isinstance(path, Sequence) and len(path)
    if not whole or not all(isinstance(probe, LinearProbe) for probe in path):
        raise ValueError(
            f"path is {shown(path)}, expected a list of LinearProbe, one or more: Linear().path(…)"
        )
    right = np.zeros(len(path), np.int64)
    for scores, gold in check_batches(batches):
        array = check_scores(scores, labels=path[0].labels, total=path[0].total)
        checked = check_gold(gold, len(array), path[0].labels)
        right += [int((probe.predict(array) == checked).sum()) for probe in path]
    return path[int(right.argmax())]


def _probe(stage: Stage, total: int) -> LinearProbe:
    weight = stage.weight
    own = np.einsum("kkn->n", weight) - weight.mean(0).sum(0)
    order = np.argsort(-np.sqrt((weight**2).sum((0, 1))), kind="stable")
    return LinearProbe(
        neurons=stage.neurons[order],
        polarity=np.sign(own[order]).astype(np.int8),
        labels=len(stage.bias),
        total=total,
        weight=weight[..., order],
        bias=stage.bias,
        fraction=stage.fraction,
        loss=stage.loss,
        violation=stage.violation,
    )
