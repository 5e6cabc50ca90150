"""What the study of control windows can be asked."""

from dataclasses import dataclass

from experiments.running.settings import setting
from negjax.generation.writing import When

DOSES = (0.0125, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Which neurons are shifted how far, and what counts as a text that keeps its meaning."""

    dose_grid: list[float] = setting(
        DOSES,
        "Doses, ascending: the norm of what the shifted neurons write in a layer, over that of the "
        "residual stream there, where the prompt is read.",
        above=0,
    )
    size: int = setting(
        16, "Neurons shifted together: those of largest |NeurGrad|, against the answer.", least=1
    )
    singles: int = setting(
        24,
        "Neurons that are dosed one by one, at even steps of the logarithm of their rank by "
        "|NeurGrad|; 0: none.",
        least=0,
    )
    moved: When = setting(
        "generated",
        "Tokens at which neurons are shifted: generated, those that a token is written after; all, "
        "the others of the prompt too.",
        choices=["generated", "all"],
    )
    least_distinct: float = setting(
        0.5,
        "A text keeps its meaning if its share of different pairs of neighbouring tokens is at "
        "least this share of the unshifted text's.",
        least=0,
        most=1,
        recorded=False,
    )
    most_perplexity: float = setting(
        50.0,
        "… and if its perplexity under the unshifted model is at most this,",
        above=0,
        recorded=False,
    )
    most_entropy: float = setting(
        5.0,
        "… and if the mean entropy of the distributions that the shifted model took its tokens "
        "from is at most this, in nats.",
        above=0,
        recorded=False,
    )
