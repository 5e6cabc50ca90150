"""Texts of a corpus as windows of tokens that a model reads, block after block.

A stream is gone through once, and of it one block of texts is held at a time.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import NamedTuple

import numpy as np

from negjax import checks
from negjax.errors import Argument, ArgumentError
from negjax.inputs.probes import Probes
from negjax.inputs.token_ids import check_given_ids, check_ids, framed_tokens
from negjax.model.language_model import LanguageModel

Text = str | tuple[int, ...]
"""A text, or the token ids of one."""


class Labelled(NamedTuple):
    """A text of a corpus."""

    number: int
    text: Text
    label: str
    """Of its group; empty where there are none."""


class Window(NamedTuple):
    """What a model reads of a text at once."""

    text: int
    """Number of the text."""
    ids: list[int]
    places: list[int]
    """Of each token among those of the text; −1: it does not count."""
    label: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cutting:
    """How texts become windows."""

    lm: LanguageModel
    length: int
    """Tokens of a window at most, the special ones around a text among them."""
    special: bool
    """Whether special tokens count."""

    def windows(self, of: Labelled) -> Iterator[Window]:
        """Windows of a text, in its order: each with the special tokens that frame the text.

        Raises:
            ValueError: it holds a token that the model does not embed, or its frame alone fills a
                window.
        """
        ids, known = self.tokens(of), special_ids(self.lm)
        start, end = frame(ids, known, both=not self.lm.config.causal)
        room = self.length - start - (len(ids) - end)
        if room < 1:
            raise ArgumentError(
                Argument("window"),
                f" is {self.length}, and text {of.number} has {self.length - room} special tokens "
                "around it, which each window repeats; pass a longer window",
            )
        first, last = range(start), range(end, len(ids))
        # A text of special tokens alone is one window.
        for at in range(start, max(end, start + 1), room):
            own = range(at, min(at + room, end))
            # A frame counts once: with the window that it really belongs to.
            framed = [*(first if at == start else [-1] * start), *own]
            framed += last if at + room >= end else [-1] * len(last)
            where = [*first, *own, *last]
            kept = [self.special or ids[place] not in known for place in where]
            places = [place if keep else -1 for place, keep in zip(framed, kept, strict=True)]
            if where:
                yield Window(of.number, [ids[place] for place in where], places, of.label)

    def tokens(self, of: Labelled) -> list[int]:
        """All ids of a text; those of a string with the frame that the tokenizer puts around it."""
        if not isinstance(of.text, str):
            check_given_ids(self.lm, f"texts[{of.number}]", of.text)
            return list(of.text)
        if not of.text:
            return []
        name = f"texts[{of.number}]"
        found = framed_tokens(self.lm, name, of.text).ids
        check_ids(self.lm, name, found)
        return found


def special_ids(lm: LanguageModel) -> AbstractSet[int]:
    """Ids of tokens that no text consists of: BOS, padding, roles of chats; not that for unknown
    text, unless it is one of these, too."""
    tokenizer = lm.tokenizer
    named = ("bos", "eos", "pad", "cls", "sep", "mask")
    marks = {getattr(tokenizer, f"{name}_token_id", None) for name in named}
    others = {*tokenizer.all_special_ids} - {tokenizer.unk_token_id}
    return {int(token) for token in others | marks if token is not None}


def frame(ids: list[int], known: AbstractSet[int], *, both: bool) -> tuple[int, int]:
    """Where a text's own tokens begin and end: after special ones, and before them if `both`."""
    start = next((at for at, token in enumerate(ids) if token not in known), len(ids))
    end = len(ids)
    while both and end > start and ids[end - 1] in known:
        end -= 1
    return start, end


class Stream:
    """Texts with their labels, one after the other, and a digest of those that were taken."""

    def __init__(self, texts: object, groups: object) -> None:
        """Takes what can be gone through once or more often.

        Raises:
            ArgumentError: it cannot be, or is one text.
        """
        self._texts = _gone_through(texts, "texts", "texts or lists of token ids (one is [text])")
        self._labels = None
        if groups is not None:
            self._labels = _gone_through(groups, "groups", "labels, one a text")
        self.taken = 0
        self.ended = False
        self._digest = hashlib.sha256()

    @property
    def digest(self) -> str:
        """SHA-256 of the texts taken so far, and their labels."""
        return self._digest.hexdigest()

    def take(self) -> Labelled | None:
        """The next text; None where they end.

        Raises:
            ArgumentError: it is no text, or there are fewer or more labels than texts.
        """
        given = next(self._texts, self)
        number, label = self.taken, ""
        if self._labels is not None:
            named = next(self._labels, self)
            if (given is self) != (named is self):
                fewer = "groups" if named is self else "texts"
                raise ArgumentError(
                    Argument("groups"),
                    f" and texts: {fewer} end after {number}; expected a label for each text",
                )
            if named is not self:
                label = checks.text(named, f"groups[{number}]")
                if not label:
                    raise ArgumentError(
                        Argument(f"groups[{number}]"), " is empty, expected a label of the text"
                    )
        if given is self:
            self.ended = True
            return None
        text = _as_text(given, f"texts[{number}]")
        self.taken += 1
        self._digest.update(json.dumps([text, label]).encode())
        return Labelled(number, text, label)


def blocks(stream: Stream, cutting: Cutting, tokens: int) -> Iterator[list[Window]]:
    """Windows of whole texts, so many that they hold `tokens` tokens or the corpus ends."""
    held: list[Window] = []
    count = 0
    while (text := stream.take()) is not None:
        own = list(cutting.windows(text))
        held += own
        count += sum(len(window.ids) for window in own)
        if count >= tokens:
            yield held
            held, count = [], 0
    # Be it without windows: now the stream is known to have ended.
    yield held


def as_probes(windows: list[Window]) -> Probes:
    """Windows as prompts whose read positions and answers do not matter, for the planner."""
    longest = max(len(window.ids) for window in windows)
    tokens = np.zeros((len(windows), longest), np.int32)
    mask = np.zeros(tokens.shape, bool)
    for row, window in enumerate(windows):
        tokens[row, : len(window.ids)], mask[row, : len(window.ids)] = window.ids, True
    return Probes(
        prompts=("",) * len(windows),
        targets=(("",),) * len(windows),
        tokens=tokens,
        mask=mask,
        read=mask.sum(1) - 1,
        target_ids=np.zeros((len(windows), 1, 1), np.int32),
        target_mask=np.ones((len(windows), 1, 1), bool),
    )


def _gone_through(value: object, name: str, expected: str) -> Iterator[object]:
    alone = isinstance(value, str | bytes | bytearray | Mapping | AbstractSet)
    no_axes = isinstance(value, np.ndarray) and not value.ndim
    if alone or no_axes or not isinstance(value, Iterable):
        raise ArgumentError(
            Argument(name), f" is {checks.shown(value)}, expected a list or stream of {expected}"
        )
    return iter(value)


def _as_text(value: object, name: str) -> Text:
    if isinstance(value, str):
        return checks.text(value, name)
    ids = checks.as_array(value)
    empty = isinstance(value, list | tuple) and not value
    if not empty and (ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer)):
        raise ArgumentError(
            Argument(name), f" is {checks.shown(value)}, expected text or a list of token ids"
        )
    return tuple(int(token) for token in ids) if not empty else ()
