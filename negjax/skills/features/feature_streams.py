"""What probes read of a model, batch by batch on the device.

For every prompt and label: the probability, and of every neuron NeurGrad, the computed gradient, or
that times the activation; and its activation. Of many prompts these are too many numbers to be held
at once, on the device or off it, so they are streamed, and whoever takes a batch reduces it.
"""

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from negjax.checks import integers, one_of, shown, whole_number
from negjax.execution.batching import DEFAULT_BUDGET_BYTES
from negjax.execution.common_heads import HeadGroup, head_groups, head_tokens, run_common_head
from negjax.inputs.neurons import check_neurons
from negjax.inputs.probes import Probes, check_asked
from negjax.measurements.gradients import gradient_batches
from negjax.model.language_model import LanguageModel
from negjax.model.meshes import to_host
from negjax.process import bars
from negjax.process.bars import with_bar
from negjax.records import readable
from negjax.replay.suffixes import CommonHead
from negjax.skills.checks import check_gold

Kind = Literal["neurgrad", "cg", "cgxa"]
"""What a score is: NeurGrad, the computed gradient, or that times the activation."""

WINDOW = 256
"""Prompts that go through the model together: enough to sort by length, few enough to hold."""

# Heads whose keys and values are kept from one window to the next: a task's, in all its languages.
KEPT_HEADS = 8


class Batch(NamedTuple):
    """Prompts on the device; rows beyond those of `members` only fill the batch up."""

    members: np.ndarray
    """[n], which of the probes."""
    probability: jax.Array
    """[b, K], b ≥ n."""
    activation: jax.Array
    """[b, N], of the L · F neurons, layer-major."""
    computed: jax.Array
    """[b, K, N], CG."""


@readable
class Span(NamedTuple):
    """Prompts from `start` to before `stop`."""

    start: int
    stop: int

    @property
    def rows(self) -> slice:
        """As an index."""
        return slice(self.start, self.stop)

    def holds(self, numbers: np.ndarray) -> np.ndarray:
        """Which of the prompts' numbers lie in it."""
        return (self.start <= numbers) & (numbers < self.stop)


class FeatureStream:
    """Probes on their way through a model, all of them or window by window."""

    def __init__(
        self,
        lm: LanguageModel,
        probes: Probes,
        site: str | None = None,
        *,
        budget_bytes: int = DEFAULT_BUDGET_BYTES,
    ) -> None:
        """Finds out what prompts have in common; nothing is computed yet.

        Args:
            site: `act`, `up` or `product`; None is the model's default.
            budget_bytes: memory for one batch, besides the weights.

        Raises:
            ValueError: no model, no encoded probes, unknown site.
        """
        check_asked(lm, probes)
        whole_number(budget_bytes, "budget_bytes", 1)
        self.lm, self.probes, self.site = lm, probes, lm.config.site(site)
        self.budget_bytes = budget_bytes
        # Of all prompts: what those of a window share beyond it, by chance, would only make for
        # further programs.
        self._groups = head_groups(lm, probes)
        self._head = functools.lru_cache(KEPT_HEADS)(self._run_head)

    def batches(self, window: Span | None = None) -> Iterator[Batch]:
        """Those of a window, of all prompts by default; longest prompts first.

        Raises:
            ValueError: a budget that holds not even one prompt.
        """
        groups = self._inside(window or Span(0, len(self.probes)))
        for members, probability, activation, computed in gradient_batches(
            self.lm,
            self.probes,
            self.site,
            groups=groups,
            few_shapes=True,
            budget_bytes=self.budget_bytes,
        ):
            b, k = probability.shape
            flat = activation.reshape(b, -1), computed.reshape(b, k, -1)
            yield Batch(members, probability, *flat)

    def _inside(self, window: Span) -> Iterable[tuple[HeadGroup, CommonHead | None]]:
        for number, group in enumerate(self._groups):
            some = group.members[window.holds(group.members)]
            if len(some):
                yield HeadGroup(some, group.head), self._head(number)

    def _run_head(self, number: int) -> CommonHead | None:
        return run_common_head(self.lm, head_tokens(self.probes, self._groups[number]))


def window_spans(prompts: int, size: int) -> tuple[Span, ...]:
    """Prompts in their order, `size` at a time.

    Raises:
        ValueError: no prompts, or windows of none.
    """
    prompts = whole_number(prompts, "prompts", 1)
    size = whole_number(size, "window", 1)
    return tuple(Span(start, min(start + size, prompts)) for start in range(0, prompts, size))


def scores_of(kind: Kind, batch: Batch) -> jax.Array:
    """Scores [b, K, N] of a batch."""
    result: jax.Array = _scores(kind, batch.activation, batch.computed)
    return result


@with_bar
def chosen_scores(
    lm: LanguageModel,
    probes: Probes,
    neurons: ArrayLike,
    kind: Kind = "neurgrad",
    site: str | None = None,
    *,
    budget_bytes: int = DEFAULT_BUDGET_BYTES,
    progress: bool | None = None,
) -> np.ndarray:
    """Scores [B, K, n] of some neurons, for what their codes do not tell: Magn adds them up.

    Args:
        neurons: [n, 2], (layer, index); or [n], flat, layer-major, as probes have them.
        progress: whether a bar shows how far it is; None: to people, after two seconds.

    Raises:
        ValueError: no model, no encoded probes, unknown kind or site, neurons that the model does
            not have.
    """
    check_asked(lm, probes)
    one_of(kind, "kind", get_args(Kind))
    total = lm.config.layers * lm.config.neurons
    expected = f"(layer, index) pairs, or flat numbers of neurons [n], 0 to {total - 1}"
    some = integers(neurons, "neurons", expected)
    if some.ndim == 2:
        layer, index = check_neurons(lm.config, some, 1)[0].T
        some = layer * lm.config.neurons + index
    if some.ndim != 1 or not some.size or some.min() < 0 or some.max() >= total:
        raise ValueError(f"neurons: {shown(neurons)} was given, expected {expected}")
    result = np.empty((len(probes), probes.target_count, len(some)), lm.compute_dtype)
    with bars.counted(len(probes)):
        for batch in FeatureStream(lm, probes, site, budget_bytes=budget_bytes).batches():
            found = scores_of(kind, batch)[:, :, some]
            result[batch.members] = to_host(found)[: len(batch.members)]
    return result


def activation_windows(
    lm: LanguageModel,
    probes: Probes,
    gold: ArrayLike,
    site: str | None = None,
    *,
    window: int = WINDOW,
    budget_bytes: int = DEFAULT_BUDGET_BYTES,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Activations [b, N] and gold [b], window by window in the prompts' order; none are kept.

    `Act.fit_batches` takes two passes over them.

    Raises:
        ValueError: no model, no encoded probes, gold of another shape or out of range, unknown
            site, windows of no prompts.
    """
    stream = FeatureStream(lm, probes, site, budget_bytes=budget_bytes)
    answers = check_gold(gold, len(probes), max(2, probes.target_count))
    return _activation_windows(stream, answers, window_spans(len(probes), window))


def _activation_windows(
    stream: FeatureStream, answers: np.ndarray, spans: Sequence[Span]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    lm = stream.lm
    for span in spans:
        shape = (span.stop - span.start, lm.config.layers * lm.config.neurons)
        found = np.empty(shape, lm.compute_dtype)
        for batch in stream.batches(span):
            found[batch.members - span.start] = to_host(batch.activation)[: len(batch.members)]
        yield found, answers[span.rows]


@functools.partial(jax.jit, static_argnums=0)
def _scores(kind: Kind, activation: jax.Array, computed: jax.Array) -> jax.Array:
    if kind == "cg":
        return computed
    factor = activation if kind == "cgxa" else jnp.where(activation > 0, 1, -1)
    return computed * factor[:, None].astype(computed.dtype)
