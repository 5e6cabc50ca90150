"""Where neurons are: at the read position, elsewhere in a prompt, or at several tokens together."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Int
from numpy.typing import ArrayLike

from negjax.checks import MOST_WHOLE, as_array, is_whole, shown, text, whole_number
from negjax.errors import Argument, ArgumentError
from negjax.inputs.probes import Probes
from negjax.records import PerPrompt, readable

EXPECTED = (
    'None (where the prompt is read), an index from either end, one a prompt, a slice, "all", or '
    "tokens_of(probes, text)"
)
NONE = -1


@readable
@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenPositions(PerPrompt):
    """Tokens of B prompts, for `positions=`."""

    index: Int[np.ndarray, "B Q"]
    """Among the prompt's own tokens, from 0, ascending; -1, before all others: this prompt has
    fewer than Q."""

    def __post_init__(self) -> None:
        index = as_array(self.index)
        sound = index.ndim == 2 and index.size and np.issubdtype(index.dtype, np.integer)
        if not sound or (index < NONE).any() or (index[:, -1] == NONE).any():
            raise ValueError(
                f"index is {shown(self.index)}, expected whole numbers [B, Q] from 0 on, after -1 "
                "where a prompt has fewer than Q"
            )
        unordered = np.flatnonzero(((np.diff(index) <= 0) & (index[:, 1:] != NONE)).any(1))
        if len(unordered):
            raise ValueError(
                f"index of prompt {unordered[0]} is {index[unordered[0]].tolist()}, expected each "
                "token once, ascending"
            )
        object.__setattr__(self, "index", index.astype(np.int32))

    @property
    def first(self) -> Int[np.ndarray, " B"]:
        """The first token of each prompt's."""
        return _first_of(self.index)

    @property
    def last(self) -> Int[np.ndarray, " B"]:
        """The last token of each prompt's."""
        result: np.ndarray = self.index[:, -1]
        return result


Positions = int | Sequence[int] | slice | Literal["all"] | TokenPositions | None
"""Whose neurons are meant: see `EXPECTED`. Indices count a prompt's own tokens, padding left out,
a BOS included."""


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class _PlacedProbes(Probes):
    """Probes of which neurons at other tokens than the read position are meant."""

    at: Int[np.ndarray, "B Q"]
    """As in `TokenPositions`."""
    apart: bool
    """Whether results that tell positions apart have an axis Q."""

    def select(self, index: ArrayLike) -> "_PlacedProbes":
        """As of all probes."""
        chosen = super().select(index)
        assert isinstance(chosen, _PlacedProbes)
        return dataclasses.replace(chosen, at=self.at[as_array(index)])


def placed(probes: Probes, positions: Positions) -> Probes:
    """The probes with the positions of the neurons that are meant.

    Raises:
        ArgumentError: no positions, one that a prompt does not have, not one a prompt.
    """
    if positions is None:
        return probes
    own = probes.mask.sum(1)
    read = read_index(probes)
    # After its read position, a causal prompt has no tokens; what a masked one has counts.
    index, apart = _resolved(positions, own)
    found = TokenPositions(index=index).index
    if not apart and (found[:, 0] == read).all():
        return probes
    fields = {f.name: getattr(probes, f.name) for f in dataclasses.fields(Probes)}
    return _PlacedProbes(**fields, at=found, apart=apart)


EVERY = slice(None)
Rows = slice | Int[np.ndarray, " P"]
"""Which of the prompts."""


def read_index(probes: Probes, rows: Rows = EVERY) -> Int[np.ndarray, " P"]:
    """The read positions among the prompts' own tokens."""
    before = np.arange(probes.mask.shape[1]) < probes.read[rows, None]
    result: np.ndarray = (probes.mask[rows] & before).sum(1).astype(np.int32)
    return result


def neuron_index(probes: Probes, rows: Rows = EVERY) -> Int[np.ndarray, "P Q"]:
    """Positions of the neurons that are meant, as in `TokenPositions`."""
    if isinstance(probes, _PlacedProbes):
        return probes.at[rows]
    return read_index(probes, rows)[:, None]


def first_index(probes: Probes, rows: Rows = EVERY) -> Int[np.ndarray, " P"]:
    """Where each prompt's suffix may begin: the first of its neurons' positions."""
    return _first_of(neuron_index(probes, rows))


def _first_of(index: Int[np.ndarray, "P Q"]) -> Int[np.ndarray, " P"]:
    result: np.ndarray = index[np.arange(len(index)), (index != NONE).argmax(1)]
    return result


def span_and_count(probes: Probes) -> tuple[int, int]:
    """Most tokens from a prompt's first position to its read position, and Q."""
    if not isinstance(probes, _PlacedProbes):
        return 1, 1
    return int((read_index(probes) - first_index(probes)).max()) + 1, probes.at.shape[1]


def tokens_apart(probes: Probes) -> bool:
    """Whether results that tell positions apart have an axis Q."""
    return isinstance(probes, _PlacedProbes) and probes.apart


def shown_positions(probes: Probes) -> Int[np.ndarray, "B Q"] | None:
    """For records: the positions, or None where it is the read position."""
    return probes.at if isinstance(probes, _PlacedProbes) else None


def _resolved(positions: object, own: np.ndarray) -> tuple[np.ndarray, bool]:
    """Indices [B, Q] among tokens of which prompts have `own` [B], and whether Q is an axis."""
    b = len(own)
    if isinstance(positions, TokenPositions):
        if len(positions.index) != b:
            raise ArgumentError(
                Argument("positions"),
                f" are of {len(positions.index)} prompts, expected {b}: make them of these probes",
            )
        _check_inside(positions.index.max(1), own)
        return positions.index, True
    if isinstance(positions, str):
        if positions != "all":
            raise ArgumentError(Argument("positions"), f" is {positions!r}, expected {EXPECTED}")
        return _rows([range(n) for n in own.tolist()]), True
    if isinstance(positions, slice):
        return _rows(list(_spans(positions, own))), True
    if is_whole(positions):
        each = np.full(b, positions)
    else:
        each = as_array(positions)
        if each.dtype.kind not in "iu" or each.shape != (b,):
            raise ArgumentError(
                Argument("positions"), f" is {shown(positions)}, expected {EXPECTED}; B is {b}"
            )
    _check_inside(each, own)
    return np.where(each < 0, each + own, each)[:, None], False


def _spans(wanted: slice, own: np.ndarray) -> Iterator[range]:
    bounds = [wanted.start, wanted.stop]
    if wanted.step not in (None, 1) or not all(x is None or is_whole(x) for x in bounds):
        raise ArgumentError(
            Argument("positions"), f" is {wanted}, expected a slice of whole numbers, step 1"
        )
    for row, n in enumerate(own.tolist()):
        outside = [x for x in bounds if x is not None and not -n <= x <= n]
        span = range(*wanted.indices(n))
        if outside or not span:
            raise ArgumentError(
                Argument("positions"),
                f" is {wanted}, and prompt {row} has {n} tokens; expected one or more of them",
            )
        yield span


def _check_inside(each: np.ndarray, own: np.ndarray) -> None:
    wrong = np.flatnonzero((each < -own) | (each >= own))
    if len(wrong):
        row = wrong[0]
        raise ArgumentError(
            Argument("positions"),
            f": token {each[row]} of prompt {row}, which has {own[row]}; expected {-own[row]} to "
            f"{own[row] - 1}",
        )


def _rows(spans: Sequence[Sequence[int]]) -> np.ndarray:
    most = max(map(len, spans))
    index = np.full((len(spans), most), NONE, np.int32)
    for row, span in enumerate(spans):
        index[row, most - len(span) :] = span
    return index


def tokens_of(probes: Probes, part: str, occurrence: int = -1) -> TokenPositions:
    """The tokens of a part of each prompt's text, for `positions=`.

    Args:
        part: a text that every prompt holds. Blanks beside it may belong to its tokens, as to
            " France"; letters may not.
        occurrence: which one, where it stands several times: from 0, or from the end, -1.

    Returns:
        a prompt's tokens of it, one or more; `.last` is the last of them, one a prompt.

    Raises:
        ValueError: a prompt does not hold the text, or not so often; a token also holds letters
            beside it; a prompt was given as token ids that its text is not tokenised as.
    """
    if not isinstance(probes, Probes):
        raise ValueError(
            f"probes: {shown(probes)} was given, expected Probes: encode(lm, prompts, targets)"
        )
    part = text(part, "part")
    if not part.strip():
        raise ArgumentError(Argument("part"), f" is {part!r}, expected text")
    occurrence = whole_number(occurrence, "occurrence", -MOST_WHOLE)
    return TokenPositions(
        index=_rows([_covering(probes, row, part, occurrence) for row in range(len(probes))])
    )


def _covering(probes: Probes, row: int, part: str, occurrence: int) -> list[int]:
    prompt = probes.prompts[row]
    starts = [i for i in range(len(prompt)) if prompt.startswith(part, i)]
    if not -len(starts) <= occurrence < len(starts):
        raise ArgumentError(
            *(
                Argument("part", part),
                f": prompt {row} ({prompt!r}) holds it {len(starts)} times, ",
            ),
            *("and ", Argument("occurrence", occurrence), " was asked for"),
        )
    spans = () if probes.spans is None else probes.spans[row]
    # Those of the text say nothing of other tokens that were put in its place.
    if len(spans) != probes.mask[row].sum() or not any(b for _, b in spans):
        raise ArgumentError(
            *(Argument("part", part), f": which tokens of prompt {row} cover which text is not "),
            *("known, as it was given as token ids that its text is not tokenised as; pass "),
            *(Argument("positions"), " as indices"),
        )
    start = starts[occurrence]
    end = start + len(part)
    found = [i for i, (a, b) in enumerate(spans) if a < end and b > start]
    for i in found:
        a, b = spans[i]
        beside = prompt[a : max(a, start)] + prompt[min(b, end) : b]
        if beside.strip():
            raise ArgumentError(
                *(
                    Argument("part", part),
                    f" of prompt {row} cuts its token {prompt[a:b]!r}; pass ",
                ),
                "text that ends where tokens end",
            )
    if not found:
        raise ArgumentError(Argument("part", part), f": no token of prompt {row} covers it")
    return found
