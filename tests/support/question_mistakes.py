"""What provokes the errors of positions, outputs and directions, by the pattern in the index."""

import dataclasses
from typing import Any

import jax
import numpy as np

import negjax
from tests.support import direction_mistakes, result_mistakes
from tests.support.block_shapes import JOINT_TARGETS, tiny, tiny_probes
from tests.support.mistakes import Provoke


def gradients(**asked: Any) -> negjax.NeurGrad:
    lm = tiny("gated")
    return negjax.neurgrad(lm, tiny_probes(lm), **asked)


def found(part: str, known: bool = True, **more: int) -> negjax.TokenPositions:
    probes = tiny_probes(tiny("gated"))
    probes = probes if known else dataclasses.replace(probes, spans=None)
    return negjax.tokens_of(probes, part, **more)


def swept(**asked: Any) -> negjax.Sweep:
    lm = tiny("gated")
    return negjax.sweep(lm, tiny_probes(lm), [(0, 1)], [1.0], **asked)


def of_tokens(tokens: Any, **asked: Any) -> negjax.Response:
    lm = tiny("gated")
    return negjax.response(lm, tiny_probes(lm), [(0, 1)], tokens=tokens, **asked)


def shape(log_p: jax.Array) -> tuple[int, ...]:
    """Returns no number of the distribution."""
    return log_p.shape


def failing(log_p: jax.Array) -> jax.Array:
    """Raises."""
    raise KeyError("Paris")


CASES: dict[str, Provoke] = {
    **direction_mistakes.CASES,
    **result_mistakes.CASES,
    "positions is …, expected None (where the prompt is read), …": lambda _: gradients(
        positions="some"
    ),
    "positions: token … of prompt …, which has …; expected …": lambda _: gradients(positions=9),
    "positions is …, and prompt … has … tokens; …": lambda _: gradients(positions=slice(2, 9)),
    "positions is …, expected a slice of whole numbers, step 1": lambda _: gradients(
        positions=slice(0, 4, 2)
    ),
    "positions are of … prompts, expected …: …": lambda _: gradients(
        positions=negjax.TokenPositions(index=np.asarray([[0]]))
    ),
    "over=… is of several positions; pass positions=…": lambda _: gradients(over="sum"),
    "part=…: prompt … holds it … times, and occurrence=…": lambda _: found("w5", occurrence=3),
    "part=… of prompt … cuts its token …; …": lambda _: found("w"),
    "part=…: which tokens of prompt … cover which text …": lambda _: found("w3", known=False),
    "part is …, expected text": lambda _: found(" "),
    "output=… is of two targets a prompt, and each has …": lambda _: negjax.neurgrad(
        tiny("gated"),
        tiny_probes(tiny("gated")).select_target(0),
        output="logit_difference",
    ),
    "target=… names one target, and output=… is of both; …": lambda _: swept(
        target=0, output="logit_difference"
    ),
    "output=… has no slope where nothing is shifted: …": lambda _: gradients(output="kl"),
    "output is a function that makes …, expected one real …": lambda _: gradients(output=shape),
    "output is a function that fails: …; expected …": lambda _: gradients(output=failing),
    "tokens are …, expected a number, or ids of …": lambda _: of_tokens("w3"),
    "tokens hold … more than once; name it once": lambda _: of_tokens([3, 3]),
    "target=… is one of the probes', in whose place tokens …": lambda _: of_tokens(2, target=0),
    "output is …, and tokens have each …; pass one of these": lambda _: of_tokens(2, output="kl"),
    "output=… of targets of several tokens is read at …": lambda _: negjax.effects(
        tiny("gated"),
        tiny_probes(tiny("gated"), JOINT_TARGETS, "all"),
        [(0, 1)],
        output="logit_difference",
    ),
    "positions are not for method=…, which is about the …": lambda _: negjax.estimate(
        tiny("gated"), tiny_probes(tiny("gated")), "ig", positions=0
    ),
    "output=… was not measured, but …; …": lambda _: swept(target=0).values("entropy"),
    "gradients are of other positions than where prompts …": lambda _: negjax.top_neurons(
        gradients(positions=0), 1, target=0
    ),
}
