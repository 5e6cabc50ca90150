"""What probes read of a model, of any number of prompts: reduced on the device, kept on disk.

For every prompt and label: the probability, and of every neuron NeurGrad, the computed gradient, or
that times the activation; and its activation. All of them, at once, are (prompts × labels ×
neurons) floats. Batches of them exist on the device alone; what leaves it are the neurons' codes,
sums of votes and, if wanted, activations (`negjax.skills.feature_files`). Memory is that of one
window of prompts, however many there are.
"""

import functools
import hashlib
import json
import time
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, get_args

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from negjax import store
from negjax.batching import DEFAULT_BUDGET_BYTES
from negjax.common_heads import HeadGroup, head_groups, head_tokens, run_common_head
from negjax.gradients import gradient_batches
from negjax.language_model import LanguageModel
from negjax.model.replay import CommonHead
from negjax.probes import Probes, encode
from negjax.skills.codes import code_dtype, encode_scores
from negjax.skills.feature_files import (
    Features,
    Kind,
    Layout,
    Rule,
    Span,
    array_specs,
    layout,
    places,
)
from negjax.skills.votes import magn_votes, polar_votes

FORMAT = 1
"""Version of what is kept; part of a folder's key."""
WINDOW = 256
"""Prompts that are saved at once: half a minute's work, and enough to sort by length."""

# Heads whose keys and values are kept from one window to the next: a task's, in all its languages.
KEPT_HEADS = 8
# Of a key, as the name of a folder.
KEY_DIGITS = 24

VOTES: Mapping[Rule, Callable[..., jax.Array]] = types.MappingProxyType(
    {"polar": polar_votes, "magn": magn_votes}
)


class Asked(Protocol):
    """An item of a task, as `negjax.mceval8k` gives them."""

    @property
    def prompt(self) -> str:
        """What the model reads; a label follows at once."""

    @property
    def label(self) -> int:
        """Number of the gold label."""


class Batch(NamedTuple):
    """Prompts on the device; rows beyond those of `index` only fill the batch up."""

    index: np.ndarray
    """[n], which of the probes."""
    probability: jax.Array
    """[b, K], b ≥ n."""
    activation: jax.Array
    """[b, N], of the L · F neurons, layer-major."""
    computed: jax.Array
    """[b, K, N], CG."""


def encode_items(
    lm: LanguageModel, items: Sequence[Asked], labels: Sequence[str]
) -> tuple[Probes, np.ndarray]:
    """Items of a task as probes with one target a label, and their gold labels [B].

    Raises:
        ValueError: as `negjax.encode`, for instance of a label of several tokens.
    """
    prompts = [item.prompt for item in items]
    probes = encode(lm, prompts, [tuple(labels)] * len(prompts), separator="")
    return probes, np.asarray([item.label for item in items], np.int32)


def extract(
    root: str | Path,
    lm: LanguageModel,
    probes: Probes,
    gold: ArrayLike,
    *,
    kinds: Sequence[Kind] = ("neurgrad",),
    activations: bool = False,
    site: str | None = None,
    counts: Sequence[int] = (),
    about: Mapping[str, Any] | None = None,
    window: int = WINDOW,
    budget_bytes: int = DEFAULT_BUDGET_BYTES,
    progress: Callable[[int], object] | None = None,
) -> Features:
    """Runs prompts through the model and keeps their features in a folder of `root`.

    The folder's name is a hash of all that the features depend on: model, prompts, labels and the
    arguments. What is there and whole is not computed again; what cannot be read back as it was
    written is. A process that is killed loses the window it was at, and the next call ends with the
    same bytes.

    Args:
        gold: [B], numbers of the labels.
        kinds: of the scores that codes and votes are kept of; none is allowed.
        activations: keep them, too, as they are: Act compares them with their mean.
        site: `act`, `up` or `product`; None is the model's default.
        counts: numbers of first prompts for which rankings are wanted, beside all.
        about: further things that the features depend on, or that the folder is to be known by, as
            JSON values: template, seed.
        window: prompts that are saved at once.
        budget_bytes: memory for one batch, besides weights and window. Results do not depend on it
            beyond rounding, and it is no part of the key.
        progress: told the number of prompts that were computed or found.

    Raises:
        ValueError: gold, kinds or counts are wrong; another process uses the folder.
        OSError: the disk is full or failed; what was saved is kept.
    """
    chosen = lm.config.site(site)
    answers = _check(probes, gold, kinds)
    cut = layout(len(probes), window, counts)
    settings = {
        "features": FORMAT,
        "model": lm.fingerprint,
        "dtype": lm.dtype.name,
        "precision": lm.precision,
        "site": chosen,
        "kinds": list(kinds),
        "activations": activations,
        "counts": sorted({int(count) for count in counts}),
        "window": window,
        "probes": probes_key(probes),
        "gold": hashlib.sha256(answers).hexdigest(),
        "about": dict(about or {}),
    }
    path = Path(root) / store.settings_key(settings)[:KEY_DIGITS]
    neurons = lm.config.layers * lm.config.neurons
    dtype = np.dtype(lm.compute_dtype).name
    specs = array_specs(cut, probes.target_count, neurons, kinds, activations, dtype)
    with store.open_run(path, settings, specs, attributes={"model": lm.name}) as folder:
        heads = _Heads(lm, probes)
        for span in cut.windows:
            name, at = f"{span.start}-{span.stop}", places(cut, span, tuple(specs))
            if not folder.check(name, at):
                # Until all is whole, nobody is to read it.
                (path / store.SUMMARY).unlink(missing_ok=True)
                start = time.perf_counter()
                values = _measure(heads, answers, cut, span, specs, chosen, kinds, budget_bytes)
                folder.save(name, at, values, time.perf_counter() - start)
            if progress is not None:
                progress(span.stop - span.start)
        folder.write_json(
            store.SUMMARY,
            {
                "prompts": len(probes),
                "labels": probes.target_count,
                **{name: settings[name] for name in ("kinds", "window", "counts", "about")},
            },
        )
    return Features(path)


def feature_batches(
    lm: LanguageModel,
    probes: Probes,
    site: str | None = None,
    *,
    budget_bytes: int = DEFAULT_BUDGET_BYTES,
) -> Iterator[Batch]:
    """All that features are made of, batch by batch on the device, longest prompts first."""
    groups = _Heads(lm, probes).inside(Span(0, len(probes)))
    return _batches(lm, probes, groups, lm.config.site(site), budget_bytes)


def scores_of(kind: Kind, batch: Batch) -> jax.Array:
    """Scores [b, K, N] of a batch."""
    return _scores(kind, batch.activation, batch.computed)


def chosen_scores(
    lm: LanguageModel,
    probes: Probes,
    neurons: ArrayLike,
    kind: Kind = "neurgrad",
    site: str | None = None,
    *,
    budget_bytes: int = DEFAULT_BUDGET_BYTES,
) -> np.ndarray:
    """Scores [B, K, n] of some neurons [n], flat, layer-major: for what codes do not tell."""
    some = np.asarray(neurons)
    result = np.empty((len(probes), probes.target_count, len(some)), lm.compute_dtype)
    for batch in feature_batches(lm, probes, site, budget_bytes=budget_bytes):
        found = scores_of(kind, batch)[:, :, some]
        result[batch.index] = np.asarray(found)[: len(batch.index)]
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
    """Activations [b, N] and gold [b], window by window in the prompts' order; nothing is kept.

    What `Act.fit_batches` takes two passes over, where the disk does not hold activations.
    """
    answers, heads = np.asarray(gold), _Heads(lm, probes)
    neurons = lm.config.layers * lm.config.neurons
    for span in layout(len(probes), window, ()).windows:
        found = np.empty((span.stop - span.start, neurons), lm.compute_dtype)
        groups = heads.inside(span)
        for batch in _batches(lm, probes, groups, lm.config.site(site), budget_bytes):
            found[batch.index - span.start] = np.asarray(batch.activation)[: len(batch.index)]
        yield found, answers[span.rows]


def probes_key(probes: Probes) -> str:
    """SHA-256 of what a model is asked: tokens, without their padding, and targets."""
    found = hashlib.sha256()
    for b in range(len(probes)):
        mask = probes.mask[b]
        read = int(mask[: probes.read[b]].sum())
        targets = [ids[real].tolist() for ids, real in zip(probes.target_ids[b], probes.target_mask[b], strict=True)]
        row = [probes.tokens[b, mask].tolist(), read, targets]
        found.update(json.dumps(row).encode())
    return found.hexdigest()


class _Heads:
    """The common heads of probes, each run when it is first needed, the last ones kept."""

    def __init__(self, lm: LanguageModel, probes: Probes) -> None:
        self.lm, self.probes = lm, probes
        # Of all prompts, not of a window: what a window shares by chance is no other program.
        self.groups = head_groups(lm, probes)
        self._run = functools.lru_cache(KEPT_HEADS)(self._run_head)

    def inside(self, span: Span) -> Iterator[tuple[HeadGroup, CommonHead | None]]:
        """Those of a window's probes, and its probes that have each."""
        for number, group in enumerate(self.groups):
            members = group.members
            some = members[(span.start <= members) & (members < span.stop)]
            if len(some):
                yield HeadGroup(some, group.head), self._run(number)

    def _run_head(self, number: int) -> CommonHead | None:
        return run_common_head(self.lm, head_tokens(self.probes, self.groups[number]))


def _measure(
    heads: _Heads,
    gold: np.ndarray,
    cut: Layout,
    window: Span,
    specs: Mapping[str, store.ArraySpec],
    site: str,
    kinds: Sequence[Kind],
    budget_bytes: int,
) -> dict[str, np.ndarray]:
    """A window's part of every array."""
    rows, pieces = window.stop - window.start, cut.pieces[cut.pieces_of(window)]
    at = places(cut, window, tuple(specs))
    values = {
        name: np.zeros((at[name][0].stop - at[name][0].start, *spec.shape[1:]), spec.dtype)
        for name, spec in specs.items()
    }
    values["gold"][:] = gold[window.rows]
    for batch in _batches(heads.lm, heads.probes, heads.inside(window), site, budget_bytes):
        n, row = len(batch.index), batch.index - window.start
        values["probability"][row] = np.asarray(batch.probability)[:n]
        if "activation" in values:
            values["activation"][row] = np.asarray(batch.activation)[:n]
        padded = np.resize(batch.index, len(batch.probability))
        for kind in kinds:
            scores = scores_of(kind, batch)
            values[f"codes_{kind}"][row] = np.asarray(encode_scores(scores))[:n]
            for number, piece in enumerate(pieces):
                counted = (piece.start <= padded) & (padded < piece.stop)
                counted[n:] = False
                if counted.any():
                    for rule, votes in VOTES.items():
                        found = votes(scores, gold[padded], counted)
                        values[f"{rule}_{kind}"][number] += np.asarray(found)
    return values


def _batches(
    lm: LanguageModel,
    probes: Probes,
    groups: Iterable[tuple[HeadGroup, CommonHead | None]],
    site: str,
    budget_bytes: int,
) -> Iterator[Batch]:
    for index, probability, activation, computed in gradient_batches(
        lm, probes, site, groups=groups, padded=True, budget_bytes=budget_bytes
    ):
        b, k = probability.shape
        yield Batch(index, probability, activation.reshape(b, -1), computed.reshape(b, k, -1))


@functools.partial(jax.jit, static_argnums=0)
def _scores(kind: Kind, activation: jax.Array, computed: jax.Array) -> jax.Array:
    if kind == "cg":
        return computed
    factor = activation if kind == "cgxa" else jnp.where(activation > 0, 1, -1)
    return computed * factor[:, None].astype(computed.dtype)


def _check(probes: Probes, gold: ArrayLike, kinds: Sequence[Kind]) -> np.ndarray:
    """Gold as int32 [B]."""
    unknown = [kind for kind in kinds if kind not in get_args(Kind)]
    if unknown:
        raise ValueError(f"kinds hold {unknown[0]!r}, expected some of {get_args(Kind)}")
    code_dtype(probes.target_count)
    return check_gold(gold, len(probes), probes.target_count).astype(np.int32)
