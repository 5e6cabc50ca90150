"""A tiny corpus, and every neuron's activation at each of its tokens, computed on its own."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import negjax
from negjax.replay.suffixes import Suffix, run

WINDOW = 8
# Of 5, 3, 20 (so three windows), 0 and 2 tokens; "[MASK]" is a special one.
TEXTS = (
    "w3 w5 w7 w9 w4",
    [6, 3, 8],
    "w10 w3 w2 w12 w13 w9 w9 w20 w11 w3 w15 w16 w17 w5 w2 w6 w4 w18 w7 w21",
    "",
    "w8 [MASK] w2",
)
GROUPS = ("a", "b", "a", "b", "c")


class Token(NamedTuple):
    """A token that counts."""

    text: int
    place: int
    window: list[int]
    at: int
    """In the window."""


def tokens(special: bool = False) -> list[Token]:
    """Of the corpus, in its order; [MASK] is number 1."""
    found = []
    for text, given in enumerate(TEXTS):
        named = given.split() if isinstance(given, str) else [f"w{number}" for number in given]
        ids = [1 if word == "[MASK]" else int(word[1:]) for word in named]
        for start in range(0, len(ids), WINDOW):
            window = ids[start : start + WINDOW]
            found += [
                Token(text, start + at, window, at)
                for at, token in enumerate(window)
                if special or token != 1
            ]
    return found


def every_activation(lm: negjax.LanguageModel, special: bool = False) -> dict[str, np.ndarray]:
    """[N, L, F] by name: one row of a pass for each token, read there."""
    some = tokens(special)
    ids, mask = np.zeros((2, len(some), WINDOW), np.int32)
    for row, token in enumerate(some):
        # A causal LM sees nothing behind the token.
        seen = token.window[: token.at + 1] if lm.config.causal else token.window
        ids[row, : len(seen)], mask[row, : len(seen)] = seen, 1
    positions = np.broadcast_to(np.arange(WINDOW, dtype=np.int32), ids.shape)
    read = np.asarray([token.at for token in some], np.int32)
    suffix = Suffix(*map(jnp.asarray, (ids, positions, mask.astype(bool), read, read[:, None])))

    def passed(params: nnx.State) -> dict[str, jax.Array]:
        return run(nnx.merge(lm.graphdef, params), None, None, suffix).trace.at_positions

    with lm.numerics():
        found = jax.jit(passed)(lm.params)
    return {name: np.asarray(values)[:, :, 0].swapaxes(0, 1) for name, values in found.items()}
