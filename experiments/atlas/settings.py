"""What is measured of every neuron, and how much: the study's flags."""

from dataclasses import dataclass

import numpy as np

from experiments.running import common
from experiments.running.settings import setting

SHIPPED = "shipped"
"""Texts that come with the package."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is measured of every neuron."""

    layer_step: int = setting(
        1, "Distance between layers whose neurons are shown, from the first: 1 shows all.", least=1
    )
    sample_facts: int = setting(
        4, "Facts, drawn by --seed, of which every neuron's NEG is measured.", least=1
    )
    own_facts: int = setting(
        1, "Facts of largest |slope| on which each neuron's curve is measured.", least=1
    )
    strong_neurons: int = setting(
        4000, "Neurons of the largest slopes that get curves on more facts.", least=0
    )
    strong_facts: int = setting(
        4, "Facts on which the curves of those neurons are measured.", least=1
    )
    curve_range: float = setting(
        10.0, "Largest shift of a curve, in units of the activation.", least=1e-6
    )
    curve_nodes: int = setting(
        12,
        "Shifts at which a neuron is replayed for its curve on a fact; at three times as many "
        "where the curve is rough.",
        least=4,
    )
    contexts: str = setting(
        SHIPPED,
        f"Texts in which a neuron's largest activations are found: {SHIPPED} (facts and "
        "sentences), or a table with the columns `text` and `group`.",
        recorded=False,
    )
    top_contexts: int = setting(4, "Tokens of those texts shown for a neuron.", least=1)
    top_tokens: int = setting(
        8, "Tokens shown that a neuron's write promotes, and that it demotes.", least=1
    )
    top_neighbours: int = setting(8, "Neurons of the most similar effects, shown.", least=1)
    top_facts: int = setting(
        10,
        "Facts listed whose answers a neuron raises most, and lowers most.",
        least=1,
        recorded=False,
    )
    straight: float = setting(
        0.1,
        "Share of its tangent's change by which a curve may be off within its linear range.",
        above=0,
        recorded=False,
    )

    def layers(self, count: int) -> list[int]:
        """Those that are shown, of so many."""
        return list(range(0, count, self.layer_step))

    def sample(self, facts: int) -> np.ndarray:
        """Numbers of the sample's facts, of so many, ascending."""
        drawn = np.random.default_rng(common.seed()).choice(facts, self.sample_facts, replace=False)
        result: np.ndarray = np.sort(drawn)
        return result

    def check_facts(self, facts: int) -> None:
        """Refuses measurements on more facts than there are.

        Raises:
            ValueError: there are fewer; or strong neurons get fewer curves than all.
        """
        for name in ("sample_facts", "own_facts", "strong_facts"):
            if getattr(self, name) > facts:
                raise ValueError(
                    f"--{name}={getattr(self, name)}: {facts} facts are asked; pass fewer, or more "
                    "--prompts"
                )
        if self.strong_facts < self.own_facts:
            raise ValueError(
                f"--strong_facts={self.strong_facts} is less than --own_facts={self.own_facts}, "
                "which every neuron gets; pass as many or more"
            )
