"""The vocabulary of a GGUF file: its tokens, their types and roles, and its merges.

Names are those of the GGUF specification (ggml-org/ggml, docs/gguf.md).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tokenizers import AddedToken

# `tokenizer.ggml.token_type`, in the GGUF specification's numbers.
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)

SPACE = "\u2581"
"""What SentencePiece writes for a space, and llama.cpp's converter before BERT's words."""

ROLES = {
    "bos_token": "bos_token_id",
    "eos_token": "eos_token_id",
    "unk_token": "unknown_token_id",
    "pad_token": "padding_token_id",
}
"""Fields by the names that transformers has for what they name."""


def error(name: str, found: str, expected: str) -> ValueError:
    """What is wrong with a field of the tokenizer's, and what to do."""
    return ValueError(
        f"tokenizer.ggml.{name} {found}; expected {expected}. Load the tokenizer from a Hugging "
        "Face directory instead, or convert the model to GGUF again."
    )


_REQUIRED: Any = object()


def field(metadata: Mapping[str, Any], name: str, kind: type, default: Any = _REQUIRED) -> Any:
    """A field of the tokenizer's.

    Args:
        name: after `tokenizer.ggml.`.
        default: where the file has none; left out, it must have one.

    Raises:
        ValueError: it is missing, or of another type.
    """
    value = metadata.get(f"tokenizer.ggml.{name}", default)
    if value is _REQUIRED:
        raise error(name, "is missing", f"a value of type {kind.__name__}")
    # By the exact type: to `isinstance` True is an int, and as an id it would be 1.
    if value is not default and type(value) is not kind:
        raise error(name, f"is {value!r}", f"a value of type {kind.__name__}")
    return value


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """A file's tokens."""

    ids: dict[str, int]
    """Every token's id, its index in the file; in that order."""
    types: list[int]
    """By id."""
    roles: dict[str, str]
    """bos_token and the like: those that the file names."""
    special: list[AddedToken]
    """Control and unknown tokens, and those that have a role."""
    user_defined: list[AddedToken]


def _as_stored(token: str, kind: int) -> str:
    return token


def _nothing(token: str) -> bool:
    return False


def read_vocabulary(
    metadata: Mapping[str, Any],
    named: Mapping[str, str] = ROLES,
    spelled: Callable[[str, int], str] = _as_stored,
    swallows: Callable[[str], bool] = _nothing,
) -> Vocabulary:
    """A file's tokens.

    Args:
        named: fields that name a token, by its role.
        spelled: a token as the tokenizer spells it, from how the file does and its type.
        swallows: whether an added token takes the blanks after it with it.

    Raises:
        ValueError: a field is missing, wrong, or contradicts another.
    """
    tokens: list[str] = field(metadata, "tokens", list)
    types: list[int] = field(metadata, "token_type", list)
    if len(types) != len(tokens):
        raise error("token_type", f"has {len(types)} entries", f"{len(tokens)}, one per token")
    ids: dict[str, int] = {}
    tokens = [spelled(token, kind) for token, kind in zip(tokens, types, strict=True)]
    for index, token in enumerate(tokens):
        if types[index] not in range(NORMAL, BYTE + 1):
            raise error(
                f"token_type[{index}]", f"({token!r}) is {types[index]}", "1 (normal) to 6 (byte)"
            )
        if token in ids:
            raise error(
                f"tokens[{index}]", f"is {token!r}, as is tokens[{ids[token]}]", "distinct tokens"
            )
        ids[token] = index

    roles: dict[str, str] = {}
    for role, name in named.items():
        index = field(metadata, name, int, None)
        if index is None:
            continue
        if not 0 <= index < len(tokens):
            raise error(name, f"is {index}", f"0 to {len(tokens) - 1}")
        # Made special, an ordinary token would be cut out of every text it occurs in.
        if types[index] not in (UNKNOWN, CONTROL, USER_DEFINED):
            raise error(
                name,
                f"is {index}, {tokens[index]!r}, of token_type {types[index]}",
                "a token of type 2 (unknown), 3 (control) or 4 (user defined)",
            )
        roles[role] = tokens[index]

    in_roles = set(roles.values())
    special, user_defined = [], []
    for token, kind in zip(tokens, types, strict=True):
        if kind in (UNKNOWN, CONTROL) or token in in_roles:
            special.append(
                AddedToken(token, rstrip=swallows(token), special=True, normalized=False)
            )
        elif kind == USER_DEFINED:
            user_defined.append(
                AddedToken(token, rstrip=swallows(token), special=False, normalized=False)
            )
    return Vocabulary(ids=ids, types=types, roles=roles, special=special, user_defined=user_defined)


def read_merges(metadata: Mapping[str, Any], ids: Mapping[str, int]) -> list[tuple[str, str]]:
    """A file's merges, best first.

    Raises:
        ValueError: there are none, or one is of what is no token.
    """
    merges = []
    for index, merge in enumerate(field(metadata, "merges", list)):
        parts = merge.split(" ")
        if len(parts) != 2 or not all(parts):
            raise error(f"merges[{index}]", f"is {merge!r}", "two tokens with one space between")
        for token in (*parts, "".join(parts)):
            if token not in ids:
                raise error(
                    f"merges[{index}]", f"is {merge!r}", f"{token!r} to be in tokenizer.ggml.tokens"
                )
        merges.append((parts[0], parts[1]))
    return merges
