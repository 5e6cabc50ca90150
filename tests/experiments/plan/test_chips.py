"""Published rates."""

import pytest

from experiments.plan import chips
from experiments.plan.chips import CHIPS, Figure
from negjax.process import precisions


@pytest.mark.parametrize("name", CHIPS)
def test_every_figure_has_a_source(name: str) -> None:
    chip = CHIPS[name]
    figures = [value for value in vars(chip).values() if isinstance(value, Figure)]
    assert len(figures) == (7 if chip.kind == "gpu" else 5)
    assert all(figure.value > 0 and len(figure.source) > 10 for figure in figures)
    # Slower, the farther from the arithmetic.
    assert chip.host_link.value < chip.interconnect.value < chip.bandwidth.value
    assert chip.bandwidth.value < chip.bfloat16.value


def test_the_chips_that_were_asked_for() -> None:
    assert list(CHIPS) == ["a100", "h100", "h200", "b200", "v4", "v5e", "v5p", "v6e"]


@pytest.mark.parametrize("name", ["H100", "h100", "NVIDIA H100", "nvidia-h100"])
def test_names_in_any_case(name: str) -> None:
    assert chips.named(name) is CHIPS["h100"]
    assert chips.named("TPU v5e") is CHIPS["v5e"]
    assert chips.named("here") is None


@pytest.mark.parametrize(
    ("name", "near"), [("h10", "h100"), ("v5", "v5p or v5e"), ("b20", "b200"), ("hre", "here")]
)
def test_the_nearest_names_are_told(name: str, near: str) -> None:
    with pytest.raises(ValueError, match=f"did you mean .*{near.partition(' ')[0]}.*expected one"):
        chips.named(name)


def test_a_name_like_no_other() -> None:
    with pytest.raises(ValueError, match=r"^no such chip; expected one of here, a100"):
        chips.named("xyzw")


def test_rates_of_float32_products() -> None:
    """Outside the tensor cores, or so many passes through them; of TPUs all are passes."""
    h100, v5e = CHIPS["h100"], CHIPS["v5e"]
    assert h100.product_rate("float32") == (67e12, "float32 outside the tensor cores")
    assert h100.product_rate("x6") == (989.5e12 / 6, "bfloat16, 6 passes a float32 product")
    assert h100.product_rate("tf32_x3")[0] == 494.5e12 / 3
    assert h100.product_rate("x3")[0] == 989.5e12 / 3
    assert h100.product_rate("tf32") == (494.5e12, "TF32, one pass a float32 product")
    assert h100.product_rate("bfloat16")[0] == 989.5e12
    assert v5e.product_rate("float32") == v5e.product_rate("x6")
    assert v5e.product_rate("float32") == (197e12 / 6, "bfloat16, 6 passes a float32 product")
    assert v5e.product_rate("x3")[0] == 197e12 / 3
    assert v5e.product_rate("bfloat16")[0] == 197e12


def test_every_chip_has_a_rate_for_what_it_computes() -> None:
    for chip in CHIPS.values():
        rungs = precisions.rungs_of(chip.hardware)
        assert ("tf32" in rungs) == (chip.kind == "gpu")
        rates = {rung: chip.product_rate(rung)[0] for rung in rungs}
        # What auto takes: of the rungs that are exact enough, the fastest.
        assert rates[precisions.fastest_rung(chip.hardware)] == max(rates["float32"], rates["x6"])
        assert rates["x6"] < rates["x3"] < rates["bfloat16"]
