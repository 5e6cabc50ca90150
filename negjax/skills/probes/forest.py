"""Tree: a random forest over every neuron, grown by scikit-learn, kept and walked as arrays.

Features of scores: for two labels whether the first one's score is larger, else the label with the
largest (of ties the first); of activations, themselves. Source: Zhao, Jiang, Yoshinaga, Neuron
Empirical Gradient, ACL 2025, arXiv 2412.18053.
"""

import dataclasses
import types
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from negjax.checks import as_array, described, whole_number
from negjax.records import readable
from negjax.skills.checks import (
    check_activations,
    check_codes,
    check_count,
    check_gold,
    check_labels,
    check_scores,
    labels_of,
)
from negjax.skills.probes.codes import check_score_array, decode_scores
from negjax.skills.probes.fitted import FittedProbe

LEAF = -1
MOST = types.MappingProxyType(
    {"trees": 1_000_000, "depth": 2**31 - 1, "seed": 2**32 - 1, "jobs": 1_000}
)
"""Of a forest's settings: what scikit-learn takes, and what may end."""
FEATURE_DTYPES = (np.uint8, np.float32)


@readable
@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ForestProbe(FittedProbe):
    """The mean of the trees' shares of labels in the leaf they lead to; of ties, the first label.

    `neurons` are those that some tree asks, the most important (by impurity) first; a forest gives
    them no polarity. Trees' nodes stand in one list, the trees one after the other.
    """

    of_scores: bool
    """Whether it was fitted to scores' features; else to activations."""
    roots: np.ndarray
    """[trees], the first node of each tree."""
    asked: np.ndarray
    """[nodes], which of `neurons` a node asks; `LEAF` for a leaf."""
    threshold: np.ndarray
    """[nodes], float64: up to it the answer leads to the left."""
    left: np.ndarray
    """[nodes], the node there; a leaf leads to itself."""
    right: np.ndarray
    """[nodes]."""
    share: np.ndarray
    """[nodes, K], float64, of the labels among the training prompts of a node."""
    importance: np.ndarray
    """[k], of `neurons`, summing to 1: the mean decrease of impurity."""

    def votes(self, values: ArrayLike, trees: int | None = None) -> np.ndarray:
        """Each tree's shares of labels in the leaf that it leads to.

        Args:
            values: scores [B, K, L, F] or [B, K, N], or activations [B, L, F] or [B, N]: of the
                kind that the forest was fitted to.
            trees: how many of the trees to ask; the first ones are those of a smaller forest.

        Returns:
            [B, K, trees], float64.

        Raises:
            ValueError: values of another shape, of other labels or neurons, or not finite; more
                trees than there are.
        """
        if self.of_scores:
            scores = check_scores(values, labels=self.labels, total=self.total)
            return self.feature_votes(score_features(scores[..., self.neurons]), trees)
        chosen = check_activations(values, total=self.total)[:, self.neurons]
        return self.feature_votes(chosen, trees)

    def predict(self, values: ArrayLike, trees: int | None = None) -> np.ndarray:
        """The predicted labels [B]; arguments and errors are those of `votes`."""
        return _decide(self.votes(values, trees))

    def predict_codes(self, codes: ArrayLike, trees: int | None = None) -> np.ndarray:
        """The predicted labels [B] of codes [B, N] (`negjax.skills.probes.codes`)."""
        chosen = decode_scores(check_codes(codes, self.total)[:, self.neurons], self.labels)
        return _decide(self.feature_votes(score_features(np.asarray(chosen)), trees))

    def feature_votes(self, features: np.ndarray, trees: int | None = None) -> np.ndarray:
        """`votes` of the features [B, k] of `neurons`."""
        most = len(self.roots)
        count = check_count("trees", most if trees is None else trees, most, "trees")
        node_bt = np.broadcast_to(self.roots[:count], (len(features), count))
        while (inner := self.asked[node_bt] != LEAF).any():
            asked_bt = np.where(inner, self.asked[node_bt], 0)
            answer_bt = np.take_along_axis(features, asked_bt, axis=1)
            # What scikit-learn compares: features as float32, thresholds as float64.
            smaller = answer_bt.astype(np.float32) <= self.threshold[node_bt]
            node_bt = np.where(smaller, self.left[node_bt], self.right[node_bt])
        result: np.ndarray = self.share[node_bt].transpose(0, 2, 1)
        return result


@readable
@dataclasses.dataclass(frozen=True, kw_only=True)
class Tree:
    """A random forest of scikit-learn's, of scores or of activations."""

    trees: int = 100
    depth: int | None = None
    """Of the deepest node below the root; None: until every leaf holds one label."""
    seed: int = 42
    jobs: int = 2
    """Threads that grow trees; the forest does not depend on it."""

    def fit(self, scores: ArrayLike, gold: ArrayLike) -> ForestProbe:
        """Fits to training prompts' scores.

        Args:
            scores: [B, K, L, F] or [B, K, N], of every label of the task.
            gold: [B], the labels' numbers.

        Raises:
            ValueError: by name: no prompts, scores that are not finite, shapes that disagree, gold
                out of range, a label without a prompt, no trees, no depth.
        """
        array = check_scores(scores)
        return self.fit_features(score_features(array), gold, array.shape[1])

    def fit_activations(
        self, activations: ArrayLike, gold: ArrayLike, labels: int | None = None
    ) -> ForestProbe:
        """Fits to training prompts' activations, [B, L, F] or [B, N], of a task of K labels.

        Without `labels`, K is that of `gold`.
        """
        number = labels_of(gold, labels)
        return self._grow(check_activations(activations), gold, number, of_scores=False)

    def fit_features(self, features: np.ndarray, gold: ArrayLike, labels: int) -> ForestProbe:
        """Fits to what `score_features` makes, [B, N].

        Of uint8 features there is a copy while trees grow, in float32; features that are float32
        already are there once.
        """
        array = as_array(features)
        if array.ndim != 2 or array.dtype not in FEATURE_DTYPES or not array.size:
            raise ValueError(
                f"features are {described(features)}, expected [B, N] in uint8 or float32: what "
                "score_features makes"
            )
        return self._grow(array, gold, labels, of_scores=True)

    def _grow(
        self, features: np.ndarray, gold: ArrayLike, labels: int, *, of_scores: bool
    ) -> ForestProbe:
        # It takes a second to import, and whoever fits no forest should not wait for it.
        from sklearn.ensemble import RandomForestClassifier

        labels = check_labels(labels)
        checked = check_gold(gold, len(features), labels, every=True)
        for name, most in MOST.items():
            value = getattr(self, name)
            if value is not None or name != "depth":
                whole_number(value, name, 0 if name == "seed" else 1, most)
        forest = RandomForestClassifier(
            self.trees, max_depth=self.depth, random_state=self.seed, n_jobs=self.jobs
        ).fit(features, checked)
        return _as_arrays(forest, labels, features.shape[1], of_scores)


def score_features(scores: np.ndarray) -> np.ndarray:
    """A forest's features [B, N], uint8, of scores [B, K, N] or what codes decode to.

    Two labels: 1 where the first one's score is larger. More: the label with the largest.

    Raises:
        ValueError: no numbers, another shape, fewer than 2 labels.
    """
    scores = np.asarray(check_score_array(scores))
    if scores.ndim != 3 or scores.shape[1] < 2:
        raise ValueError(
            f"scores are {described(scores)}, expected [B, K, N], of two labels or more"
        )
    if scores.shape[1] == 2:
        return (scores[:, 0] > scores[:, 1]).astype(np.uint8)
    result: np.ndarray = scores.argmax(1).astype(np.uint8)
    return result


def _decide(votes: np.ndarray) -> np.ndarray:
    """The labels [B] of trees' shares [B, K, trees]."""
    total = np.zeros(votes.shape[:2])
    # Tree by tree, as scikit-learn adds them in one thread: the order decides the last bit.
    for tree in range(votes.shape[2]):
        total += votes[..., tree]
    result: np.ndarray = (total / votes.shape[2]).argmax(1)
    return result


def _as_arrays(forest: Any, labels: int, total: int, of_scores: bool) -> ForestProbe:
    trees = [estimator.tree_ for estimator in forest.estimators_]
    sizes = [tree.node_count for tree in trees]
    roots = np.cumsum([0, *sizes[:-1]])
    feature = np.concatenate([tree.feature for tree in trees])
    is_leaf = np.concatenate([tree.children_left for tree in trees]) == LEAF
    own, first = np.arange(len(feature)), np.repeat(roots, sizes)
    left, right = (
        np.where(is_leaf, own, np.concatenate([getattr(tree, name) for tree in trees]) + first)
        for name in ("children_left", "children_right")
    )
    importance = forest.feature_importances_
    used = np.unique(feature[~is_leaf])
    neurons = used[np.argsort(-importance[used], kind="stable")]
    place = np.full(total, LEAF)
    place[neurons] = np.arange(len(neurons))
    return ForestProbe(
        neurons=neurons.astype(np.int64),
        polarity=np.zeros(len(neurons), np.int8),
        labels=labels,
        total=total,
        of_scores=of_scores,
        roots=roots.astype(np.int32),
        asked=np.where(is_leaf, LEAF, place[feature]).astype(np.int32),
        threshold=np.concatenate([tree.threshold for tree in trees]),
        left=left.astype(np.int32),
        right=right.astype(np.int32),
        share=np.concatenate([tree.value[:, 0, :] for tree in trees]),
        importance=importance[neurons],
    )
