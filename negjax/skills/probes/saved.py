"""Reading a saved probe without knowing its class."""

from pathlib import Path

from negjax.skills.probes.act import ActProbe
from negjax.skills.probes.baselines import LMProbProbe, MajorityProbe
from negjax.skills.probes.fitted import FittedProbe, read_fields
from negjax.skills.probes.forest import ForestProbe
from negjax.skills.probes.linear import LinearProbe
from negjax.skills.probes.polarity import MagnProbe, PolarProbe

CLASSES = (PolarProbe, MagnProbe, ActProbe, ForestProbe, LinearProbe, LMProbProbe, MajorityProbe)


def load_probe(path: str | Path) -> FittedProbe:
    """A probe of any class, as its `save` wrote it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no probe, or one of an unknown class, or is damaged.
    """
    name, _ = read_fields(path)
    for known in CLASSES:
        if known.__name__ == name:
            return known.load(path)
    names = ", ".join(known.__name__ for known in CLASSES)
    raise ValueError(f"{path} holds a {name!r}, expected one of {names}")
