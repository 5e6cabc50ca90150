"""Prompts and targets as token arrays, checked before anything is computed."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from negjax import given
from negjax.language_model import LanguageModel, check_model
from negjax.quiet import transformers

TargetMode = Literal["single", "first", "all", "alone"]

MASK_MARK = "[MASK]"
"""How prompts for a masked LM write the mask, whatever the tokenizer's own mask token is."""


@dataclasses.dataclass(frozen=True)
class Probes:
    """Encoded prompts with K targets each. Padding may stand on either side."""

    prompts: tuple[str, ...]
    targets: tuple[tuple[str, ...], ...]
    """K strings a prompt."""
    tokens: np.ndarray
    """[B, T], token ids."""
    mask: np.ndarray
    """[B, T], True where a token is real."""
    read: np.ndarray
    """[B], index in T of the read position: the last real token, or the mask."""
    target_ids: np.ndarray
    """[B, K, M], token ids; M > 1 for joint targets (`target_mode="all"`) alone."""
    target_mask: np.ndarray
    """[B, K, M], True where a target token is real."""
    target_mode: TargetMode = "single"

    def __post_init__(self) -> None:
        rows = np.arange(len(self.prompts))
        if not self.mask[rows, self.read].all():
            raise ValueError(f"read positions {self.read.tolist()} must point at real tokens")

    def __len__(self) -> int:
        return len(self.prompts)

    @property
    def target_count(self) -> int:
        """K."""
        return self.target_ids.shape[1]

    def select(self, index: Sequence[int] | np.ndarray) -> "Probes":
        """The probes numbered `index`, in that order.

        Raises:
            ValueError: no numbers, or one that is not from 0 to B − 1.
        """
        at = given.as_array(index)
        whole = at.ndim == 1 and at.size and np.issubdtype(at.dtype, np.integer)
        if not whole or at.min() < 0 or at.max() >= len(self):
            raise ValueError(
                f"probes numbered {given.shown(index)} were asked for (index), expected a list of "
                f"one or more whole numbers from 0 to {len(self) - 1}"
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
        )

    def select_target(self, number: int) -> "Probes":
        """The same prompts with their target number `number` alone.

        Raises:
            ValueError: it is not from 0 to K − 1.
        """
        number = given.whole_number(number, "number", 0, self.target_count - 1)
        return dataclasses.replace(
            self,
            targets=tuple((row[number],) for row in self.targets),
            target_ids=self.target_ids[:, [number]],
            target_mask=self.target_mask[:, [number]],
        )


def check_probes(value: object, name: str = "probes") -> None:
    """Refuses what is no encoded probes.

    Raises:
        ValueError: naming the argument.
    """
    if not isinstance(value, Probes):
        raise ValueError(
            f"{name}: {given.shown(value)} was given, expected Probes: encode(lm, prompts, targets)"
        )


def check_asked(lm: object, probes: object, name: str = "probes") -> None:
    """Refuses what is no model, no probes, or probes that were encoded for a model unlike this one.

    Raises:
        ValueError: naming the argument.
    """
    lm = check_model(lm)
    check_probes(probes, name)
    assert isinstance(probes, Probes)
    highest = max(int(probes.tokens.max()), int(probes.target_ids.max()))
    if highest >= lm.config.vocab_size:
        raise ValueError(
            f"{name} hold token id {highest}, and the vocabulary of {lm.name} ends at "
            f"{lm.config.vocab_size - 1}: they were encoded for another model; encode them with "
            "this one"
        )
    longest = int(probes.mask.sum(1).max())
    if longest > lm.config.context_length:
        raise ValueError(
            f"{name} hold a prompt of {longest} tokens, and the context of {lm.name} holds "
            f"{lm.config.context_length}: they were encoded for another model; encode them with "
            "this one"
        )


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


def encode(
    lm: LanguageModel,
    prompts: Sequence[str],
    targets: Sequence[str | Sequence[str]],
    *,
    target_mode: TargetMode = "single",
    separator: str | None = None,
) -> Probes:
    """Tokenises prompts and, in their context, targets.

    A target is tokenised as the text that really follows: `prompt + separator + target` is encoded
    and what comes after the prompt's own tokens is the target; in a masked LM the target takes the
    place of `[MASK]`.

    Args:
        prompts: B texts; for a masked LM each holds exactly one `[MASK]`.
        targets: one string, or K strings, per prompt; K is the same for all.
        target_mode: `single`: a target must be one token. `first`: its first token counts. `all`:
            the joint probability of all its tokens. `alone`: one token, tokenised without context,
            as the original implementation did (for comparison).
        separator: text between prompt and target. Default: a space, or nothing where the prompt
            ends, or the target begins, with white space.

    Raises:
        ValueError: naming the row: an empty prompt or target, a target of several tokens, no
            `[MASK]` or several, a prompt longer than the context, an unknown token.
    """
    lm = check_model(lm)
    given.one_of(target_mode, "target_mode", get_args(TargetMode))
    prompts, many = given.texts(prompts, "prompts"), _target_rows(targets)
    if separator is not None:
        given.text(separator, "separator")
    if len(prompts) == 0:
        raise ValueError("no prompts: expected at least one")
    if len(prompts) != len(many):
        raise ValueError(f"{len(prompts)} prompts but {len(many)} targets: expected one each")
    if target_mode == "all" and not lm.config.causal:
        raise ValueError(
            'target_mode "all" needs a causal LM, since one [MASK] holds one token; '
            'pass target_mode="first"'
        )
    counts = {len(t) for t in many}
    if len(counts) > 1 or 0 in counts:
        raise ValueError(f"targets a prompt: {sorted(counts)}; expected the same number, 1 or more")
    rows = [
        _encode_row(lm, number, prompt, row, target_mode, separator)
        for number, (prompt, row) in enumerate(zip(prompts, many, strict=True))
    ]
    length = max(len(tokens) for tokens, _, _ in rows)
    tokens = np.zeros((len(rows), length), np.int32)
    mask = np.zeros((len(rows), length), bool)
    longest = max(len(ids) for _, _, found in rows for ids in found)
    target_ids = np.zeros((len(rows), counts.pop(), longest), np.int32)
    target_mask = np.zeros(target_ids.shape, bool)
    for b, (row_tokens, _, found) in enumerate(rows):
        tokens[b, : len(row_tokens)], mask[b, : len(row_tokens)] = row_tokens, True
        for k, ids in enumerate(found):
            target_ids[b, k, : len(ids)], target_mask[b, k, : len(ids)] = ids, True
    read = np.asarray([position for _, position, _ in rows], np.int32)
    return Probes(prompts, many, tokens, mask, read, target_ids, target_mask, target_mode)


def _target_rows(targets: object) -> tuple[tuple[str, ...], ...]:
    """Each prompt's targets, of which one may stand alone."""
    expected = "a list of texts, or of lists of texts: one of one prompt is [target]"
    rows = given.listed(targets, "targets", expected)
    return tuple(
        (given.text(row, f"targets[{number}]"),)
        if isinstance(row, str | bytes) or not hasattr(row, "__iter__")
        else given.texts(row, f"targets[{number}]")
        for number, row in enumerate(rows)
    )


def _encode_row(
    lm: LanguageModel,
    row: int,
    prompt: str,
    targets: tuple[str, ...],
    mode: TargetMode,
    separator: str | None,
) -> tuple[list[int], int, list[list[int]]]:
    """Tokens, read position and each target's tokens of one prompt."""
    if not isinstance(prompt, str) or not prompt.strip():
        raise ValueError(f"prompt {row} is empty: {prompt!r}; expected text")
    tokenizer = lm.tokenizer
    if not lm.config.causal:
        prompt = _with_mask_token(tokenizer, row, prompt)
    tokens = tokenizer(prompt)["input_ids"]
    _refuse_unknown(tokenizer, f"prompt {row} ({prompt!r})", prompt, tokens)
    found = []
    for target in targets:
        if not isinstance(target, str) or not target.strip():
            raise ValueError(f"target {target!r} of prompt {row} is empty; expected text")
        if mode == "alone":
            ids = tokenizer(target, add_special_tokens=False)["input_ids"]
        elif lm.config.causal:
            ids = _following(tokenizer, row, prompt, tokens, target, separator)
        else:
            ids = _filling(tokenizer, row, prompt, tokens, target)
        _refuse_unknown(tokenizer, f"target {target!r} of prompt {row}", target, ids)
        if len(ids) > 1 and mode in ("single", "alone"):
            pieces = [tokenizer.decode([i]) for i in ids]
            raise ValueError(
                f"target {target!r} of prompt {row} is {len(ids)} tokens {pieces}; "
                'pass target_mode="first" or "all", or leave the prompt out'
            )
        found.append(ids[:1] if mode == "first" else list(ids))
    used = len(tokens) + max(map(len, found)) - 1 if lm.config.causal else len(tokens)
    if used > lm.config.context_length:
        raise ValueError(
            f"prompt {row} is {used} tokens with its target, the model's context holds "
            f"{lm.config.context_length}; shorten it"
        )
    read = len(tokens) - 1 if lm.config.causal else tokens.index(tokenizer.mask_token_id)
    return list(tokens), read, found


def _following(
    tokenizer: transformers.PreTrainedTokenizerBase,
    row: int,
    prompt: str,
    tokens: list[int],
    target: str,
    separator: str | None,
) -> list[int]:
    if separator is None:
        separator = "" if prompt[-1].isspace() or target[0].isspace() else " "
    joined = tokenizer(prompt + separator + target)["input_ids"]
    if joined[: len(tokens)] != tokens or len(joined) == len(tokens):
        raise ValueError(
            f"prompt {row} does not keep its last tokens when {separator + target!r} follows: "
            f"{tokenizer.decode(tokens[-1:])!r} merges with it; end the prompt without white space "
            "or inside no word, or choose another separator"
        )
    return joined[len(tokens) :]


def _filling(
    tokenizer: transformers.PreTrainedTokenizerBase,
    row: int,
    prompt: str,
    tokens: list[int],
    target: str,
) -> list[int]:
    filled = tokenizer(prompt.replace(str(tokenizer.mask_token), target))["input_ids"]
    at = tokens.index(tokenizer.mask_token_id)
    after = len(tokens) - at - 1
    if filled[:at] != tokens[:at] or filled[len(filled) - after :] != tokens[at + 1 :]:
        raise ValueError(
            f"target {target!r} of prompt {row} merges with the words beside [MASK]; "
            "set [MASK] apart by blanks"
        )
    return filled[at : len(filled) - after]


def _with_mask_token(tokenizer: transformers.PreTrainedTokenizerBase, row: int, prompt: str) -> str:
    if tokenizer.mask_token is None:
        raise ValueError("the tokenizer has no mask token, but the model is a masked LM")
    prompt = prompt.replace(MASK_MARK, str(tokenizer.mask_token))
    count = prompt.count(str(tokenizer.mask_token))
    if count != 1:
        raise ValueError(
            f"prompt {row} has {count} times {MASK_MARK}: {prompt!r}; a masked LM reads exactly one"
        )
    return prompt


def _refuse_unknown(
    tokenizer: transformers.PreTrainedTokenizerBase, what: str, text: str, ids: Sequence[int]
) -> None:
    unknown = tokenizer.unk_token
    if unknown is None or tokenizer.unk_token_id not in ids or str(unknown) in text:
        return
    raise ValueError(f"{what} holds text that the vocabulary does not know ({unknown})")
