"""Features of any number of prompts: reduced on the device, kept on disk, continued after a kill.

Of the streamed (prompts × labels × neurons) floats (`feature_streams`) what leaves the device are
the neurons' codes, sums of votes and, if wanted, activations (`feature_files`). Memory is that of
one window of prompts, however many there are.

    probes = negjax.mceval8k.encode_items(lm, task.train, task.labels)
    gold = [item.label for item in task.train]
    train = extract("runs/features", lm, probes, gold, counts=(8, 16, 32))
    probe = negjax.skills.Polar(k=64).from_votes(train.votes("polar", count=32), train.labels)
    for codes, answers in test.codes():
        right = probe.predict_codes(codes) == answers
"""

import contextlib
import functools
import hashlib
import socket
import time
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from numpy.typing import ArrayLike

from negjax import checks
from negjax.checks import flag, shown, whole_number
from negjax.errors import Argument, ArgumentError
from negjax.execution.batching import DEFAULT_BUDGET_BYTES
from negjax.execution.plans import filled_up
from negjax.inputs.probes import Probes, check_asked, probes_key
from negjax.model import meshes
from negjax.model.language_model import LanguageModel
from negjax.model.meshes import to_host
from negjax.process import bars, memory
from negjax.process.bars import with_bar
from negjax.skills.checks import check_gold
from negjax.skills.features.feature_files import (
    Features,
    Layout,
    RuleName,
    array_specs,
    layout,
    places,
    read_features,
)
from negjax.skills.features.feature_streams import WINDOW, FeatureStream, Kind, Span, scores_of
from negjax.skills.probes.codes import code_dtype, encode_scores
from negjax.skills.probes.rankings import MAGN, POLAR
from negjax.storage import run_settings, store
from negjax.storage.whole_files import seen_within

FORMAT = 1
"""Version of what is kept; part of a folder's key."""

SEEN_SECONDS = 30.0
"""Until a machine must see what another one has written."""

# Of a key, as the name of a folder.
KEY_DIGITS = 24

VOTES: Mapping[RuleName, Callable[..., jax.Array]] = types.MappingProxyType(
    {"polar": POLAR.votes, "magn": MAGN.votes}
)


@with_bar
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
    after_window: Callable[[int], object] | None = None,
    overwrite: bool = False,
    progress: bool | None = None,
) -> Features:
    """Runs prompts through the model and keeps their features in a folder of `root`.

    The folder's name is a hash of all that the features depend on: model, prompts, labels and the
    arguments. What is there and whole is not computed again; what cannot be read back as it was
    written is. A process that is killed loses the window it was at, and the next call ends with the
    same bytes. Of several processes on a mesh the first one writes, and all read: `root` lies on a
    disk that they share.

    Args:
        gold: [B], numbers of the labels.
        kinds: of the scores that codes and votes are kept of; none is allowed.
        activations: keep them, too, as they are: Act compares them with their mean.
        site: `act`, `up` or `product`; None is the model's default.
        counts: numbers of first prompts for which rankings are wanted, beside all.
        about: further things that the features depend on, or that the folder is to be known by, as
            JSON values: template, seed.
        window: prompts that are saved at once.
        budget_bytes: memory for one batch, besides weights and window. Features do not depend on it
            beyond rounding, and it is no part of the key.
        after_window: takes the number of prompts that were computed, or found.
        overwrite: compute all of them, whatever is there.
        progress: whether a bar shows how far it is; None: to people, after two seconds.

    Raises:
        ValueError: gold, kinds, site or counts are wrong; another process uses the folder.
        OSError: the disk is full or failed; what was saved is kept.
    """
    check_asked(lm, probes)
    answers, kinds = _check(probes, gold, kinds)
    flag(activations, "activations")
    flag(overwrite, "overwrite")
    whole_number(budget_bytes, "budget_bytes", 1)
    if about is not None and not isinstance(about, Mapping):
        raise ValueError(f"about is {shown(about)}, expected a mapping of JSON values by name")
    if after_window is not None and not callable(after_window):
        raise ValueError(
            f"after_window is {shown(after_window)}, expected a function of one number"
        )
    directory = checks.path(root, "root")
    cut = layout(len(probes), window, counts)
    stream = FeatureStream(lm, probes, site, budget_bytes=budget_bytes)
    settings = {
        "features": FORMAT,
        "model": lm.fingerprint,
        "config": lm.config.digest,
        "dtype": lm.dtype.name,
        "precision": lm.precision,
        "site": stream.site,
        "kinds": list(kinds),
        "activations": bool(activations),
        "counts": sorted({int(count) for count in counts}),
        "window": int(window),
        "probes": probes_key(probes),
        "gold": hashlib.sha256(answers.data).hexdigest(),
        "about": dict(about or {}),
    }
    path = directory / run_settings.settings_key(settings)[:KEY_DIGITS]
    labels, neurons = probes.target_count, lm.config.layers * lm.config.neurons
    dtype = np.dtype(lm.compute_dtype).name
    specs = array_specs(cut, labels, neurons, kinds, activations, dtype)
    groups = [(f"{s.start}-{s.stop}", places(cut, s, tuple(specs))) for s in cut.windows]
    opened = functools.partial(
        store.open_to_measure,
        *(path, settings, specs),
        attributes={"model": lm.name, "site": stream.site},
        overwrite=overwrite,
    )
    kept = {name: settings[name] for name in ("kinds", "window", "counts", "about")}
    summary = {"prompts": len(probes), "labels": labels, **kept}
    mesh = lm.mesh
    there = meshes.by_first(lambda: not overwrite and _finished(path, settings, groups), mesh)
    with contextlib.ExitStack() as stack:
        bar = stack.enter_context(bars.counted(len(probes)))
        if meshes.said_by_first([there], mesh)[0]:
            bar.reach(bar.done + len(probes))
            if after_window is not None:
                after_window(len(probes))
            return _read_by_all(path, mesh)
        # Of several processes that compute together, the first one has it open.
        folder = meshes.by_first(lambda: stack.enter_context(opened()), mesh)

        def save(*group: Any) -> None:
            assert folder is not None, "this is process 0"
            folder.save(*group)

        whole = meshes.said_by_first([folder and folder.check(*group) for group in groups], mesh)
        if not all(whole):
            # Until everything is whole, nobody is to read it.
            meshes.by_first(lambda: (path / store.SUMMARY).unlink(missing_ok=True), mesh)
        for span, (name, at), is_whole in zip(cut.windows, groups, whole, strict=True):
            before = bar.done
            if not is_whole:
                start = time.perf_counter()
                values = _measure(stream, answers, cut, span, specs, kinds)
                seconds = time.perf_counter() - start
                meshes.by_first(functools.partial(save, name, at, values, seconds), mesh)
                # Prompts of many lengths leave pieces behind that no other length can use.
                memory.give_back()
            bar.reach(before + span.stop - span.start)
            if after_window is not None:
                after_window(span.stop - span.start)
        meshes.by_first(lambda: folder and folder.write_json(store.SUMMARY, summary), mesh)
    return _read_by_all(path, mesh)


def _read_by_all(path: Path, mesh: Mesh | None) -> Features:
    """Opens the folder when this machine sees what was written: a network's disk takes its time."""
    if not meshes.is_shared(mesh):
        return read_features(path)

    def digest() -> bytes:
        return hashlib.sha256((path / store.SUMMARY).read_bytes()).digest()

    own = meshes.by_first(digest, mesh) or bytes(hashlib.sha256().digest_size)
    written = meshes.of_first_process(np.frombuffer(own, np.uint8), mesh).tobytes()

    def seen() -> bool:
        try:
            return digest() == written
        except FileNotFoundError:
            return False

    def read() -> Features:
        if not seen_within(SEEN_SECONDS, seen):
            raise ArgumentError(
                f"{path} on {socket.gethostname()} is not what process 0 has written: pass a ",
                Argument("root"),
                " on a disk that all machines share",
            )
        return read_features(path)

    return meshes.all_or_none(read, mesh)


def _finished(
    path: Path, settings: Mapping[str, Any], groups: Sequence[tuple[str, store.Places]]
) -> bool:
    """Whether all is there and whole; others may read it meanwhile."""
    folder = store.open_finished(path, settings)
    if folder is None:
        return False
    with folder:
        return all(folder.check(*group) for group in groups)


def _measure(
    stream: FeatureStream,
    gold: np.ndarray,
    cut: Layout,
    window: Span,
    specs: Mapping[str, store.ArraySpec],
    kinds: Sequence[Kind],
) -> dict[str, np.ndarray]:
    """A window's part of every array."""
    values = {
        name: np.zeros((at.stop - at.start, *specs[name].shape[1:]), specs[name].dtype)
        for name, (at,) in places(cut, window, tuple(specs)).items()
    }
    values["gold"][:] = gold[window.rows]
    for batch in stream.batches(window):
        n, row = len(batch.members), batch.members - window.start
        values["probability"][row] = to_host(batch.probability)[:n]
        if "activation" in values:
            values["activation"][row] = to_host(batch.activation)[:n]
        padded = filled_up(batch.members, len(batch.probability))
        for kind in kinds:
            scores = scores_of(kind, batch)
            finite = to_host(jnp.isfinite(scores).all((1, 2)))[:n]
            if not finite.all():
                raise ValueError(
                    f"prompt {batch.members[finite.argmin()]} has scores ({kind}) that are not "
                    f"finite in {stream.lm.dtype.name}: the model overflows on it; leave it out, "
                    "or load the model in a wider dtype"
                )
            values[f"codes_{kind}"][row] = to_host(encode_scores(scores))[:n]
            for number, piece in enumerate(cut.pieces[cut.pieces_of(window)]):
                counted = piece.holds(padded) & (np.arange(len(padded)) < n)
                if counted.any():
                    for rule, votes in VOTES.items():
                        found = votes(scores, gold[padded], counted)
                        values[f"{rule}_{kind}"][number] += to_host(found)
    return values


def _check(
    probes: Probes, gold: ArrayLike, kinds: Sequence[Kind]
) -> tuple[np.ndarray, tuple[Kind, ...]]:
    """Gold as int32 [B], and the kinds."""
    known = get_args(Kind)
    found = checks.listed(kinds, "kinds", f"a list of some of {', '.join(known)}")
    for kind in found:
        if not isinstance(kind, str) or kind not in known:
            raise ValueError(f"kinds hold {shown(kind)}, expected some of {known}")
    code_dtype(probes.target_count)
    answers = check_gold(gold, len(probes), probes.target_count).astype(np.int32)
    return answers, cast(tuple[Kind, ...], tuple(found))
