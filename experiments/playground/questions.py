"""What the page asks: the fields of a request, each checked, errors by the field's name."""

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from negjax import checks
from negjax.errors import Argument, ArgumentError

MOST_CHARACTERS = 20_000
"""Of a prompt, all messages of a chat together."""
MOST_MESSAGES = 32
MOST_NEURONS = 32
"""That are moved together, or whose NEG is measured."""
MOST_RADIUS = 1000.0
"""In units of an activation."""
MOST_WRITTEN = 128
"""Tokens."""
ROLES = ("system", "user", "assistant")
FIELDS = (
    *("prompt", "answer", "neurons", "weights", "radius", "shift", "probability", "max_tokens"),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked:
    """A request of the page; the fields that it does not need have their defaults."""

    prompt: str | list[dict[str, str]]
    """Text, or messages of a chat."""
    answer: str
    """Empty: the token that the model finds likeliest."""
    neurons: Int[np.ndarray, "N 2"]
    """(layer, index) of those that are moved; there may be none."""
    weights: Float[np.ndarray, " N"]
    """A shift x moves neuron n by x · weights[n]: all lie on one ray."""
    radius: float
    """Largest shift, either way."""
    shift: float
    probability: float
    """Of the answer, to steer to."""
    max_tokens: int
    """To write."""


def read(body: object) -> Asked:
    """Checks the fields of a request.

    Raises:
        ArgumentError: what is no JSON object, a field that is unknown, of another kind or out of
            its bounds; it names the field.
    """
    if not isinstance(body, Mapping):
        raise ArgumentError(f"the request is {checks.shown(body)}, expected a JSON object")
    unknown = [name for name in body if name not in FIELDS]
    if unknown:
        raise ArgumentError(
            *(Argument(str(unknown[0])[: checks.SHOWN]), " is no field of a request; expected "),
            ", ".join(FIELDS),
        )
    neurons = _neurons(body.get("neurons", []))
    radius = checks.real_number(body.get("radius", 10.0), "radius", above=0, most=MOST_RADIUS)
    return Asked(
        prompt=_prompt(body.get("prompt")),
        answer=_short(checks.text(body.get("answer", ""), "answer"), "answer"),
        neurons=neurons,
        weights=_weights(body.get("weights", [1.0] * len(neurons)), len(neurons)),
        radius=radius,
        shift=checks.real_number(body.get("shift", 0.0), "shift", least=-radius, most=radius),
        probability=checks.real_number(
            body.get("probability", 0.5), "probability", above=0, below=1
        ),
        max_tokens=checks.whole_number(body.get("max_tokens", 24), "max_tokens", 1, MOST_WRITTEN),
    )


def check_moved(asked: Asked) -> None:
    """Refuses a request that is about neurons and names none.

    Raises:
        ArgumentError: there are none.
    """
    if not len(asked.neurons):
        raise ArgumentError(Argument("neurons"), " are none; choose one or more")


def _prompt(value: object) -> str | list[dict[str, str]]:
    if isinstance(value, str):
        text = _short(checks.text(value, "prompt"), "prompt")
        if not text.strip():
            raise ArgumentError(Argument("prompt"), " is empty, expected text")
        return text
    expected = "text, or a list of messages with a role and a content each"
    messages = checks.listed(value, "prompt", expected)
    if not 1 <= len(messages) <= MOST_MESSAGES:
        raise ArgumentError(
            Argument("prompt"), f" has {len(messages)} messages, expected 1 to {MOST_MESSAGES}"
        )
    found = []
    for number, message in enumerate(messages):
        if not isinstance(message, Mapping) or set(message) != {"role", "content"}:
            raise ArgumentError(
                Argument("prompt"), f": message {number} is {checks.shown(message)}, {expected}"
            )
        role = checks.one_of(message["role"], "prompt", ROLES)
        content = checks.text(message["content"], "prompt")
        if not content.strip():
            raise ArgumentError(
                Argument("prompt"), f": message {number} ({role}) is empty, expected text"
            )
        found.append({"role": role, "content": content})
    _short("".join(message["content"] for message in found), "prompt")
    return found


def _short(text: str, name: str) -> str:
    if len(text) > MOST_CHARACTERS:
        raise ArgumentError(
            *(Argument(name), f" has {len(text):,} characters, expected at most "),
            f"{MOST_CHARACTERS:,}; shorten it",
        )
    return text


def _neurons(value: object) -> Int[np.ndarray, "N 2"]:
    expected = f"at most {MOST_NEURONS} different (layer, index) pairs"
    members = checks.listed(value, "neurons", expected)
    if not members:
        return np.zeros((0, 2), np.int64)
    pairs = checks.integers(members, "neurons", expected)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or len(pairs) > MOST_NEURONS or (pairs < 0).any():
        raise ArgumentError(
            Argument("neurons"), f" are {checks.described(members)}, expected {expected}"
        )
    if len(np.unique(pairs, axis=0)) < len(pairs):
        raise ArgumentError(Argument("neurons"), " name one more than once; name it once")
    return pairs


def _weights(value: object, count: int) -> Float[np.ndarray, " N"]:
    weights = checks.real_numbers(value, "weights") if count else np.zeros(0)
    # NaN is not within anything.
    if weights.shape != (count,) or not (np.abs(weights) <= 1).all():
        raise ArgumentError(
            Argument("weights"),
            f" are {checks.shown(value)}, expected {count} numbers from -1 to 1, one a neuron",
        )
    return weights
