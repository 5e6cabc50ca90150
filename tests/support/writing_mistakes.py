"""What provokes the errors of `negjax.generate`, by the pattern that stands in `docs/errors.md`."""

from typing import Any, cast

import negjax
from negjax.model.config import Place
from tests.support.block_shapes import tiny
from tests.support.mistakes import Provoke, lm


def sets(*values: float, shape: str = "gated", **changes: int) -> negjax.NeuronSets:
    """A set of the same neuron for each value."""
    return negjax.neuron_sets(tiny(shape, **changes).config, [([[0, 1]], x) for x in values])


def along(place: Place = "residual_after") -> negjax.NeuronSets:
    """A set of one direction."""
    return negjax.direction_sets(negjax.directions(0, [[1.0] * 16], place), [([0], 1.0)])


def write(interventions: Any = None, max_tokens: int = 2) -> negjax.Generated:
    return negjax.generate(lm(), ["w3 w4", "w5"], interventions, max_tokens=max_tokens)


WRITING_CASES: dict[str, Provoke] = {
    "lm is a masked LM (…), which … writes no text; …": lambda _: negjax.generate(
        tiny("bert"), ["w3 [MASK]"]
    ),
    "max_tokens=…: prompt … is … tokens, … with what follows, …": lambda _: write(max_tokens=32),
    "interventions[…] is …, expected an Intervention: …": lambda _: write([sets(1.0)]),
    "interventions[…] has … sets for … prompts, …": lambda _: write(
        negjax.Intervention(sets(1.0, 2.0, 3.0))
    ),
    "interventions[…] has sets of a model with …": lambda _: write(
        negjax.Intervention(sets(1.0, layers=2))
    ),
    "interventions[…] moves neuron … of prompt …, which …": lambda _: write(
        [negjax.Intervention(sets(1.0)), negjax.Intervention(sets(2.0), "clamp")]
    ),
    "how=…: set … names … with different values; …": lambda _: negjax.Intervention(
        negjax.neuron_sets(lm().config, [([[0, 1], [0, 1]], cast(Any, [1.0, 2.0]))]), "clamp"
    ),
    "how=… takes the sign of a neuron's activation, …": lambda _: negjax.Intervention(along()),
    "how=…: the directions are at …, where there is no coefficient …": lambda _: (
        negjax.Intervention(along("ffn_out"), "clamp")
    ),
}
