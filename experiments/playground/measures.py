"""What a request is answered with: functions of a model and what is asked, without any server.

Each returns what JSON holds. Errors name the field of the request (`questions`) where there is one.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.special import log_softmax

import negjax
from experiments.playground.questions import Asked, check_moved
from experiments.playground.rays import filled_up, ray_series
from experiments.reporting.escaping import visible
from experiments.reporting.explorers import packed
from negjax.checks import whole_number
from negjax.errors import Argument, ArgumentError
from negjax.execution.conventions import sign
from negjax.inputs.neurons import check_neurons
from negjax.inputs.probes import Probes
from negjax.model.language_model import LanguageModel

LISTED = 20
"""Neurons of the list."""
TOKENS = 8
"""Tokens whose probabilities are followed."""
TURNS = 10
"""Directions tried to make a shift shorter: a page waits for it."""

Answer = dict[str, Any]


def about_model(lm: LanguageModel, prompt_tokens: int) -> Answer:
    """What the page has to know of the model."""
    c = lm.config
    return {
        "model": visible(lm.name),
        "layers": c.layers,
        "neurons": c.neurons,
        "site": c.site(None),
        "causal": c.causal,
        "chat": bool(lm.tokenizer.chat_template),
        "prompt_tokens": prompt_tokens,
    }


def encoded(lm: LanguageModel, asked: Asked, most: int) -> Probes:
    """The prompt with the answer as its target; of an answer of several tokens the first.

    Args:
        most: tokens of the prompt.

    Raises:
        ArgumentError: a prompt or an answer that cannot be asked, by the field's name.
    """
    with _of("prompt"):
        alone = negjax.encode(lm, [asked.prompt], [[0]])
        length = int(alone.mask.sum())
        if length > most:
            raise ArgumentError(
                Argument("prompt"), f" is {length} tokens, expected at most {most}; shorten it"
            )
    if not asked.answer.strip():
        likeliest = int(negjax.logits(lm, alone, progress=False)[0].argmax())
        return negjax.encode(lm, [asked.prompt], [[likeliest]])
    with _of("answer"):
        return negjax.encode(lm, [asked.prompt], [asked.answer], target_mode="first")


def answer(lm: LanguageModel, asked: Asked, most: int) -> Answer:
    """Likeliest tokens, the answer's probability, and every neuron's NeurGrad."""
    probes = encoded(lm, asked, most)
    scores = log_softmax(negjax.logits(lm, probes, progress=False)[0].astype(np.float64))
    gradients = negjax.neurgrad(lm, probes, progress=False)
    count = min(LISTED, lm.config.layers * lm.config.neurons)
    top = negjax.top_neurons(gradients, count, lm, probes, progress=False)
    own = int(probes.target_ids[0, 0, 0])
    assert top.promoted is not None and top.demoted is not None
    listed = zip(
        *(top.neurons[0].tolist(), top.activation[0].tolist(), top.neurgrad[0].tolist()),
        *(top.promoted[0], top.demoted[0]),
        strict=True,
    )
    return {
        "prompt": visible(probes.prompts[0], keep="\n"),
        "prompt_tokens": int(probes.mask.sum()),
        "answer": {
            **_token(lm, own),
            "probability": float(np.exp(scores[own])),
            "rank": 1 + int((scores > scores[own]).sum()),
            "cut": _is_cut(lm, asked, own),
        },
        "likeliest": [
            {**_token(lm, token), "probability": float(np.exp(scores[token]))}
            for token in np.argsort(-scores, kind="stable")[:TOKENS].tolist()
        ],
        "neurons": [
            {
                "neuron": neuron,
                "activation": activation,
                "neurgrad": slope,
                "promotes": [visible(text) for text in promoted],
                "demotes": [visible(text) for text in demoted],
            }
            for neuron, activation, slope, promoted, demoted in listed
        ],
        "map": packed(gradients.neurgrad[0, 0]),
    }


def exact_slopes(lm: LanguageModel, asked: Asked, most: int) -> Answer:
    """NEG of some neurons over `negjax.neg`'s usual grid."""
    probes = _asked_of(lm, asked, most)
    found = negjax.neg(lm, probes, asked.neurons, progress=False)
    return {"radius": found.radius, "step": found.step, "neg": found.slope[0].tolist()}


def ray_curves(lm: LanguageModel, asked: Asked, most: int) -> Answer:
    """Series of tokens' probabilities along the ray of the neurons, and their slopes at no shift.

    The tokens are the answer, those that come first somewhere on the ray, and then the likeliest.
    """
    probes = _asked_of(lm, asked, most)
    scores = negjax.logits(lm, probes, progress=False)[0]
    own = int(probes.target_ids[0, 0, 0])
    found = ray_series(
        lm,
        probes,
        asked.neurons,
        asked.weights,
        asked.radius,
        lambda rising: _followed(scores, own, rising),
        encode=lambda ids: negjax.encode(lm, [asked.prompt], [[[int(token)] for token in ids]]),
    )
    neurons, weights = filled_up(lm, asked.neurons, asked.weights)
    activation = _activation(lm, probes, neurons)
    every = negjax.effects(lm, probes, neurons, progress=False)[0]
    along = weights * sign(activation)
    return {
        "tokens": [_token(lm, int(token)) for token in found.tokens],
        "radius": asked.radius,
        "coefficients": found.coefficients.tolist(),
        "baseline": found.baseline.tolist(),
        "slopes": (along @ every[:, found.tokens]).tolist(),
        "error": found.error.tolist(),
        "noise": found.noise,
        "nodes": found.nodes,
        "activation": activation[: len(asked.neurons)].tolist(),
    }


def steered(lm: LanguageModel, asked: Asked, most: int) -> Answer:
    """The smallest shift of the neurons that gives the answer a probability."""
    probes = _asked_of(lm, asked, most)
    found = negjax.control.steer_probes(
        lm,
        probes,
        asked.probability,
        neurons=asked.neurons,
        turns=TURNS,
        unrelated=probes,
        progress=False,
    )[0]
    layer, index = asked.neurons.T
    # The page moves neurons along their signs, steering adds.
    shifts = found.shift[layer, index] * sign(_activation(lm, probes, asked.neurons))
    return {
        "wanted": found.wanted,
        "reached": found.reached,
        "before": found.before,
        "probability": found.probability,
        "norm": found.norm,
        "kl": found.kl,
        "shifts": [float(shift) for shift in shifts],
    }


def written(lm: LanguageModel, asked: Asked, most: int) -> Answer:
    """What the model writes after the prompt with the shift and without, token by likeliest token.

    Neurons are moved where a token is written after: the first one's probability is that of the
    curve at the shift.
    """
    if not lm.config.causal:
        raise ArgumentError(
            Argument("prompt"), " is of a masked LM, which fills in a [MASK] and writes no text"
        )
    _asked_of(lm, asked, most)
    neurons, weights = filled_up(lm, asked.neurons, asked.weights)
    sets = negjax.neuron_sets(lm.config, [(neurons, weights * x) for x in (asked.shift, 0.0)])
    with _of("max_tokens"):
        found = negjax.generate(
            lm,
            [asked.prompt, asked.prompt],
            negjax.Intervention(sets, "signed"),
            when="generated",
            max_tokens=asked.max_tokens,
            progress=False,
        )
    moved, plain = (
        {"text": visible(text, keep="\n"), "stop": stop}
        for text, stop in zip(found.texts, found.stops, strict=True)
    )
    return {"moved": moved, "plain": plain}


def _asked_of(lm: LanguageModel, asked: Asked, most: int) -> Probes:
    """The encoded question of a request that moves neurons, which are there."""
    check_moved(asked)
    with _of("neurons"):
        check_neurons(lm.config, asked.neurons, 1)
    return encoded(lm, asked, most)


def _activation(
    lm: LanguageModel, probes: Probes, neurons: Int[np.ndarray, "N 2"]
) -> Float[np.ndarray, " N"]:
    layer, index = neurons.T
    found: np.ndarray = negjax.activations(lm, probes, progress=False)[0][layer, index]
    return found.astype(np.float64)


def _followed(
    scores: Float[np.ndarray, " V"], own: int, rising: Int[np.ndarray, " R"]
) -> Int[np.ndarray, " K"]:
    """The same number of tokens whatever is asked, so that programs are compiled once."""
    count = whole_number(min(TOKENS, len(scores)), "tokens", 1)
    order = [own, *rising.tolist(), *np.argsort(-scores, kind="stable")[: 2 * count].tolist()]
    return np.asarray(list(dict.fromkeys(order))[:count])


def _token(lm: LanguageModel, token: int) -> Answer:
    return {"id": token, "text": visible(str(lm.tokenizer.decode([token])))}


def _is_cut(lm: LanguageModel, asked: Asked, own: int) -> bool:
    """Whether the answer that was typed has more than the token that counts."""
    typed = asked.answer.strip()
    return bool(typed) and str(lm.tokenizer.decode([own])).strip() != typed


@contextlib.contextmanager
def _of(field: str) -> Iterator[None]:
    """Names the field in errors about what it holds.

    Raises:
        ArgumentError: with the field as its first argument.
    """
    try:
        yield
    except ArgumentError as error:
        if error.arguments[:1] == (field,):
            raise
        raise ArgumentError(Argument(field), ": ", error.message) from error
    except ValueError as error:
        raise ArgumentError(Argument(field), f": {error}") from error


MEASURES: dict[str, Callable[[LanguageModel, Asked, int], Answer]] = {
    "answer": answer,
    "neg": exact_slopes,
    "curves": ray_curves,
    "steer": steered,
    "write": written,
}
"""By the path that asks for it."""
