"""Probes: prompts and targets as token arrays, which check themselves and their model."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Bool, Int
from numpy.typing import ArrayLike

from negjax.checks import as_array, integers, is_whole, shown, truths, whole_number
from negjax.inputs.token_ids import check_ids
from negjax.model.language_model import check_model
from negjax.records import PerPrompt, chosen_prompts, readable

TargetMode = Literal["single", "first", "all", "alone"]


@readable
@dataclasses.dataclass(frozen=True, kw_only=True)
class Probes(PerPrompt):
    """Encoded prompts with K targets each. Padding may stand on either side."""

    prompts: tuple[str, ...]
    targets: tuple[tuple[str, ...], ...]
    """K strings a prompt."""
    tokens: Int[np.ndarray, "B T"]
    """Token ids."""
    mask: Bool[np.ndarray, "B T"]
    """True where a token is real."""
    read: Int[np.ndarray, " B"]
    """Index in T of the read position: the last real token, or the mask."""
    target_ids: Int[np.ndarray, "B K M"]
    """Token ids; M > 1 for joint targets (`target_mode="all"`) alone."""
    target_mask: Bool[np.ndarray, "B K M"]
    """True where a target token is real."""
    target_mode: TargetMode = "single"
    spans: tuple[tuple[tuple[int, int], ...], ...] | None = None
    """Characters of `prompts` that each real token covers, first and one past the last; (0, 0):
    none, as of a BOS. Of a prompt given as token ids that its text is not tokenised as, nothing."""
    mask_id: int | None = None
    """Token that a masked LM's prompts are read at; None: they are a causal LM's."""
    template_options: Mapping[str, Any] | None = dataclasses.field(default=None, repr=False)
    """That chats among the prompts were rendered with."""

    def __post_init__(self) -> None:
        for name in ("tokens", "read", "target_ids"):
            object.__setattr__(self, name, _token_numbers(getattr(self, name), name))
        for name in ("mask", "target_mask"):
            object.__setattr__(self, name, truths(getattr(self, name), name))
        _check_shapes(self)
        _check_reading(self)
        _check_targets(self)

    def __len__(self) -> int:
        return len(self.prompts)

    def __getitem__(self, which: int | slice) -> "Probes":
        """One prompt, or a slice of them.

        Raises:
            IndexError: there is no such prompt.
            TypeError: neither a whole number nor a slice.
        """
        return self.select(chosen_prompts(which, len(self)))

    @property
    def target_count(self) -> int:
        """K."""
        return int(self.target_ids.shape[1])

    def select(self, index: ArrayLike) -> "Probes":
        """The probes numbered `index`, in that order.

        Raises:
            ValueError: no numbers, or one that is not from 0 to B − 1.
        """
        at = as_array(index)
        whole = at.ndim == 1 and at.size and np.issubdtype(at.dtype, np.integer)
        if not whole or at.min() < 0 or at.max() >= len(self):
            raise ValueError(
                f"probes numbered {shown(index)} were asked for (index), expected a list of one or "
                f"more whole numbers from 0 to {len(self) - 1}"
            )
        return dataclasses.replace(
            self,
            prompts=tuple(self.prompts[i] for i in at),
            targets=tuple(self.targets[i] for i in at),
            tokens=self.tokens[at],
            mask=self.mask[at],
            read=self.read[at],
            target_ids=self.target_ids[at],
            target_mask=self.target_mask[at],
            spans=None if self.spans is None else tuple(self.spans[i] for i in at),
        )

    def select_target(self, number: int) -> "Probes":
        """The same prompts with their target number `number` alone.

        Raises:
            ValueError: there is no such target.
        """
        number = whole_number(number, "number", 0, self.target_count - 1)
        return dataclasses.replace(
            self,
            targets=tuple((row[number],) for row in self.targets),
            target_ids=self.target_ids[:, [number]],
            target_mask=self.target_mask[:, [number]],
        )


def _token_numbers(value: object, name: str) -> np.ndarray:
    """Token ids or positions, as int32."""
    array = integers(value, name, "an array of whole numbers")
    most = np.iinfo(np.int32).max
    if array.size and (array.min() < 0 or array.max() > most):
        raise ValueError(f"{name} holds {array.min()} to {array.max()}, expected 0 to {most}")
    return array.astype(np.int32, copy=False)


def _check_shapes(probes: Probes) -> None:
    b = len(probes.prompts)
    if not b or probes.tokens.ndim != 2 or probes.target_ids.ndim != 3:
        raise ValueError(
            f"probes: {b} prompts, tokens {list(probes.tokens.shape)} and target_ids "
            f"{list(probes.target_ids.shape)}, expected one prompt or more, [B, T] and [B, K, M]"
        )
    k, m = probes.target_ids.shape[1:]
    for name, shape in (
        ("tokens", (b, probes.tokens.shape[1])),
        ("mask", probes.tokens.shape),
        ("read", (b,)),
        ("target_ids", (b, max(k, 1), max(m, 1))),
        ("target_mask", probes.target_ids.shape),
    ):
        if getattr(probes, name).shape != shape:
            raise ValueError(
                f"probes: {name} is {list(getattr(probes, name).shape)}, expected {list(shape)} "
                f"for {b} prompts"
            )
    if probes.spans is not None and len(probes.spans) != b:
        raise ValueError(f"probes: spans are of {len(probes.spans)} prompts, expected {b}")
    counts = sorted({len(row) for row in probes.targets})
    if len(probes.targets) != b or counts != [k]:
        raise ValueError(
            f"probes: targets are {len(probes.targets)} rows of {counts} strings, expected {b} "
            f"rows of {k}"
        )
    if probes.target_mode not in get_args(TargetMode):
        raise ValueError(
            f"target_mode is {shown(probes.target_mode)}, expected one of {get_args(TargetMode)}"
        )


def _check_reading(probes: Probes) -> None:
    """Real tokens stand together, and the read position is the one that answers the prompt."""
    width = probes.mask.shape[1]
    first, count = probes.mask.argmax(1), probes.mask.sum(1)
    at = np.arange(width)
    whole = (at >= first[:, None]) & (at < (first + count)[:, None])
    apart = np.flatnonzero((whole != probes.mask).any(1) | (count == 0))
    if apart.size:
        raise ValueError(
            f"probes: the mask of prompt {apart[0]} is not one run of real tokens; padding stands "
            "before or after them"
        )
    outside = probes.read[(probes.read < 0) | (probes.read >= width)]
    if outside.size:
        raise ValueError(f"probes: read position {outside[0]}, expected 0 to {width - 1}")
    rows = np.arange(len(probes))
    if probes.mask_id is None:
        wrong = np.flatnonzero(probes.read != first + count - 1)
        expected = "its last real token, where a causal LM predicts what follows"
    else:
        wrong = np.flatnonzero(
            (probes.tokens[rows, probes.read] != probes.mask_id) | ~probes.mask[rows, probes.read]
        )
        expected = f"its mask, token {probes.mask_id}"
    if wrong.size:
        row = wrong[0]
        raise ValueError(
            f"probes: prompt {row} is read at position {probes.read[row]}, expected {expected}; "
            "encode the prompt that ends where you want to read"
        )


def _check_targets(probes: Probes) -> None:
    """Each target has a token, and no two of a prompt's are the same."""
    ragged = np.argwhere(
        ~probes.target_mask[..., 0] | (np.diff(probes.target_mask.astype(int)) > 0).any(-1)
    )
    if len(ragged):
        row, number = ragged[0]
        raise ValueError(
            f"probes: target {number} of prompt {row} has the mask "
            f"{probes.target_mask[row, number].tolist()}, expected real tokens first, 1 or more"
        )
    if probes.target_count == 1:
        return
    asked = np.where(probes.target_mask, probes.target_ids, -1)
    same = (asked[:, :, None] == asked[:, None]).all(-1) & np.tri(asked.shape[1], k=-1, dtype=bool)
    if same.any():
        row, second, first = np.argwhere(same)[0]
        names = probes.targets[row]
        ids = probes.target_ids[row, first][probes.target_mask[row, first]].tolist()
        more = (
            'name it once, or pass target_mode="all" to tell them apart by their later tokens'
            if probes.target_mode == "first"
            else "name it once"
        )
        raise ValueError(
            f"targets {names[first]!r} and {names[second]!r} of prompt {row} are the same tokens "
            f"{ids}; {more}"
        )


def check_asked(lm: object, value: object, name: str = "probes") -> None:
    """Refuses what is no model, no encoded probes, and probes that the model cannot be asked.

    On a device an index out of range would be moved into it, without a word.

    Raises:
        ValueError: naming the argument: it is something else, was encoded for the other kind of
            model, holds a token that this model does not embed, or is longer than its context.
    """
    lm = check_model(lm)
    if not isinstance(value, Probes):
        raise ValueError(
            f"{name}: {shown(value)} was given, expected Probes: encode(lm, prompts, targets)"
        )
    if lm.config.causal != (value.mask_id is None):
        kinds = ("causal", "masked") if lm.config.causal else ("masked", "causal")
        raise ValueError(
            f"{name}: {lm.name} is a {kinds[0]} LM, and the prompts were encoded for a {kinds[1]} "
            "one; encode them for this model"
        )
    for ids, real, what in (
        (value.tokens, value.mask, "prompt"),
        (value.target_ids, value.target_mask, "a target of prompt"),
    ):
        wrong = np.argwhere(real & ((ids < 0) | (ids >= lm.config.vocab_size)))
        if len(wrong):
            check_ids(lm, f"{name}: {what} {wrong[0][0]}", [int(ids[tuple(wrong[0])])])
    length = value.mask.sum(1)
    if lm.config.causal:
        length = length + value.target_ids.shape[2] - 1
    if length.max() > lm.config.context_length:
        raise ValueError(
            f"{name}: prompt {length.argmax()} is {length.max()} tokens with its target, the "
            f"model's context holds {lm.config.context_length}; shorten it"
        )


def check_target(probes: Probes, target: int | None) -> int:
    """The number of the target to measure.

    Raises:
        ValueError: there are several and none was named, or not so many.
    """
    if target is None and probes.target_count == 1:
        return 0
    if not is_whole(target) or not 0 <= target < probes.target_count:
        raise ValueError(
            f"target is {shown(target)}, and each prompt has {probes.target_count}; "
            f"pass target=0 … {probes.target_count - 1}"
        )
    return int(target)


def probes_key(probes: Probes) -> str:
    """SHA-256 of what a model is asked: tokens, without their padding, and targets."""
    found = hashlib.sha256()
    for b in range(len(probes)):
        mask = probes.mask[b]
        pairs = zip(probes.target_ids[b], probes.target_mask[b], strict=True)
        targets = [ids[real].tolist() for ids, real in pairs]
        read = int(mask[: probes.read[b]].sum())
        found.update(json.dumps([probes.tokens[b, mask].tolist(), read, targets]).encode())
    return found.hexdigest()
