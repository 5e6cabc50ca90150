"""The features of many prompts as files: what is kept of each, and how it is read again.

B prompts go through the model window by window, in their order. Of a window are kept, in chunks of
their own,

    probability    [B, K]  of each label
    codes_<kind>   [B, N]  order and signs of each neuron's K scores (`negjax.skills.probes.codes`)
    polar_<kind>   [V, N]  Polar's R of a piece of the prompts (`negjax.skills.probes.votes`)
    magn_<kind>    [V, N]  Magn's
    activation     [B, N]  if it is asked for
    gold           [B]

with N = L · F neurons, layer-major. A piece lies in one window and ends where one of the counts of
training prompts does for which a ranking is wanted: the R of the first n prompts is that of their
pieces, added up.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from negjax import checks
from negjax.checks import is_whole, listed, one_of, shown, whole_number
from negjax.records import readable
from negjax.skills.features.feature_streams import Kind, Span, window_spans
from negjax.skills.probes.codes import code_dtype
from negjax.storage import store, zarr_groups
from negjax.storage.store import ArraySpec
from negjax.storage.whole_files import read_json

RuleName = Literal["polar", "magn"]

RULES: tuple[RuleName, ...] = ("polar", "magn")


@readable
class Layout(NamedTuple):
    """How prompts are cut up."""

    windows: tuple[Span, ...]
    """What goes through the model, and is saved, at once."""
    pieces: tuple[Span, ...]
    """Of which R is kept, in order."""

    def pieces_of(self, window: Span) -> slice:
        """Which pieces make up a window."""
        starts = [piece.start for piece in self.pieces]
        return slice(np.searchsorted(starts, window.start), np.searchsorted(starts, window.stop))


def layout(prompts: int, window: int, counts: Sequence[int]) -> Layout:
    """Windows of `window` prompts, and pieces that end where they do and at `counts`.

    Raises:
        ValueError: no prompts, windows of none, a count that is not 1 to `prompts`.
    """
    spans = window_spans(prompts, window)
    for count in listed(counts, "counts", "a list of numbers of prompts"):
        if not is_whole(count) or not 1 <= count <= prompts:
            raise ValueError(
                f"counts hold {shown(count)}: expected 1 to {prompts}, as many as prompts"
            )
    ends = sorted({*(span.stop for span in spans), *counts})
    return Layout(spans, tuple(Span(*pair) for pair in itertools.pairwise([0, *ends])))


def array_specs(
    cut: Layout, labels: int, neurons: int, kinds: Sequence[Kind], activations: bool, dtype: str
) -> dict[str, ArraySpec]:
    """The arrays of a folder: K labels, N neurons; `dtype` of activations and probabilities."""
    prompts, rows = cut.windows[-1].stop, cut.windows[0].stop
    codes = code_dtype(labels).name
    specs = {
        "gold": ArraySpec(
            shape=(prompts,),
            dtype="int32",
            axes=("prompt",),
            meaning="number of the gold label",
            chunks=(rows,),
        ),
        "probability": ArraySpec(
            shape=(prompts, labels),
            dtype=dtype,
            axes=("prompt", "label"),
            meaning="probability of each label",
            chunks=(rows, labels),
        ),
    }
    for kind in kinds:
        specs[f"codes_{kind}"] = ArraySpec(
            shape=(prompts, neurons),
            dtype=codes,
            axes=("prompt", "neuron"),
            meaning=f"order and signs of the labels' {kind}: negjax.skills.probes.codes",
            chunks=(rows, neurons),
        )
        for rule in RULES:
            specs[f"{rule}_{kind}"] = ArraySpec(
                shape=(len(cut.pieces), neurons),
                dtype="int32",
                axes=("piece", "neuron"),
                meaning=f"sum over a piece's prompts of {rule}'s votes by {kind}",
                chunks=(1, neurons),
            )
    if activations:
        specs["activation"] = ArraySpec(
            shape=(prompts, neurons),
            dtype=dtype,
            axes=("prompt", "neuron"),
            meaning="activation",
            chunks=(rows, neurons),
        )
    return specs


def places(cut: Layout, window: Span, names: Sequence[str]) -> dict[str, tuple[slice]]:
    """Where a window's part of each array lies."""
    pieces = cut.pieces_of(window)
    summed = tuple(f"{rule}_" for rule in RULES)
    return {name: (pieces if name.startswith(summed) else window.rows,) for name in names}


@readable
@dataclasses.dataclass(frozen=True, kw_only=True)
class Features:
    """Features of B prompts, finished, to be read window by window (`read_features`)."""

    path: Path
    labels: int
    """K."""
    kinds: tuple[Kind, ...]
    cut: Layout
    gold: np.ndarray
    """[B], numbers of the labels."""
    probability: np.ndarray
    """[B, K]."""
    arrays: "zarr_groups.zarr.Group"
    """The folder's arrays, as they are on disk."""

    def __len__(self) -> int:
        """B."""
        return self.cut.windows[-1].stop

    @property
    def total(self) -> int:
        """N = L · F."""
        name = f"codes_{self.kinds[0]}" if self.kinds else "activation"
        return zarr_groups.array_in(self.arrays, name).shape[1]

    def votes(
        self, rule: RuleName, kind: Kind | None = None, count: int | None = None
    ) -> np.ndarray:
        """R [N] of the first `count` prompts, of all by default; int32.

        Args:
            kind: of the scores. Default: the first of those that there are.

        Raises:
            ValueError: no such rule or kind; a count at which no piece ends.
        """
        one_of(rule, "rule", RULES)
        stop = len(self) if count is None else whole_number(count, "count", 1)
        ends = [piece.stop for piece in self.cut.pieces]
        if stop not in ends:
            raise ValueError(
                f"votes of the first {stop} prompts are not kept, only of {ends}: pass such a count"
            )
        name = f"{rule}_{self._kind(kind)}"
        return sum(
            (_read(self.arrays, name, piece) for piece in range(1, ends.index(stop) + 1)),
            start=_read(self.arrays, name, 0),
        )

    def codes(
        self, kind: Kind | None = None, count: int | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Codes [b, N] and gold [b] of the first `count` prompts, window by window.

        Raises:
            ValueError: no such kind, or not so many prompts.
        """
        return self._windows(f"codes_{self._kind(kind)}", count)

    def activations(self, count: int | None = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Activations [b, N] and gold [b] of the first `count` prompts, window by window.

        Raises:
            ValueError: they were not kept, or are not so many.
        """
        if "activation" not in self.arrays:
            raise ValueError(f"{self.path} keeps no activations: pass activations=True to extract")
        return self._windows("activation", count)

    def _kind(self, kind: Kind | None) -> Kind:
        if kind is None and self.kinds:
            return self.kinds[0]
        for known in self.kinds:
            if isinstance(kind, str) and kind == known:
                return known
        raise ValueError(
            f"kind is {shown(kind)}, {self.path} holds {', '.join(self.kinds) or 'none'}"
        )

    def _windows(self, name: str, count: int | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        stop = len(self) if count is None else whole_number(count, "count", 1, len(self))
        return self._rows(name, stop)

    def _rows(self, name: str, stop: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for window in self.cut.windows:
            rows = slice(window.start, min(window.stop, stop))
            if rows.start < rows.stop:
                yield _read(self.arrays, name, rows), self.gold[rows]


def read_features(path: str | Path) -> Features:
    """Opens a folder that `negjax.skills.extract` has finished.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it holds no features, they are not finished, or damaged.
    """
    folder = checks.path(path, "path")
    if not folder.is_dir():
        raise FileNotFoundError(f"path {str(path)!r}: no such directory; expected one of extract's")
    file = folder / store.SUMMARY
    if not file.is_file():
        raise ValueError(f"path {path} holds no finished features: run extract to its end")
    summary = read_json(file)
    missing = {"labels", "kinds", "prompts", "window", "counts"} - summary.keys()
    if missing:
        raise ValueError(
            f"{file} is not one of extract's: it lacks {', '.join(sorted(missing))}; run extract"
        )
    arrays = zarr_groups.opened_group(folder / store.ARRAYS, "r")
    return Features(
        path=folder,
        labels=summary["labels"],
        kinds=tuple(summary["kinds"]),
        cut=layout(summary["prompts"], summary["window"], summary["counts"]),
        gold=_read(arrays, "gold", slice(None)),
        probability=_read(arrays, "probability", slice(None)),
        arrays=arrays,
    )


def _read(arrays: "zarr_groups.zarr.Group", name: str, at: int | slice) -> np.ndarray:
    return np.asarray(zarr_groups.array_in(arrays, name)[at])
