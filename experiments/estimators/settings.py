"""What the study of estimators measures and shows, as its flags say."""

from dataclasses import dataclass

from experiments.estimators.doses import Thresholds
from experiments.running.settings import setting
from negjax.estimators import ESTIMATORS


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The flags of this study alone."""

    methods: list[str] = setting([*ESTIMATORS], "Estimators to compare.", choices=ESTIMATORS)
    ig_steps: int = setting(20, "Steps of integrated gradients.", least=1)
    top: int = setting(
        100,
        "Neurons of a prompt with the largest |NEG|, sought among as many with the largest "
        "|estimate|.",
        least=1,
        recorded=False,
    )
    tolerance: float = setting(
        0.05,
        "How far a curve that counts as straight may leave its tangent: a share of the "
        "tangent's own change.",
        above=0,
        recorded=False,
    )
    doses: list[float] = setting(
        [0.25, 0.5, 1.0, 2.0, 4.0],
        "Doses of every neuron, each in both directions: length of its write over that of the "
        "residual stream in its layer.",
        above=0,
    )
    dosed_prompts: int = setting(
        1, "Prompts whose every neuron is dosed: the first so many.", least=1
    )
    dosed_every: int = setting(
        1, "Distance between layers that are dosed: 1 doses all, 10 every tenth.", least=1
    )
    large_quantile: float = setting(
        0.99,
        "Quantile from which a |ΔP| or a KL is large, among the dosed neurons of a prompt.",
        least=0,
        most=1,
        recorded=False,
    )
    small_quantile: float = setting(
        0.25,
        "Quantile up to which a |NeurGrad| is small, among the dosed neurons of a prompt.",
        least=0,
        most=1,
        recorded=False,
    )
    flat_entropy: float = setting(
        0.5,
        "Share of the way from the output's entropy to log(vocabulary) from which it has "
        "collapsed.",
        least=0,
        most=1,
        recorded=False,
    )

    @property
    def thresholds(self) -> Thresholds:
        """What counts as large, small and collapsed."""
        return Thresholds(
            large=self.large_quantile, small=self.small_quantile, flat=self.flat_entropy
        )

    def layers(self, count: int) -> list[int]:
        """The layers whose neurons are dosed, of so many: the middle one of every few."""
        return list(range(min(self.dosed_every, count) // 2, count, self.dosed_every))
