"""How cost grows: exponents that are known, and the command on models that are small."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from absl import flags

from experiments.bench import program as bench
from experiments.bench import scaling, scaling_report
from experiments.bench.scaling import AXES, Point, Sizes
from experiments.bench.scaling_report import exponent


def point(size: int, seconds: float, held: int | None = 1000) -> Point:
    return Point(
        axis="tokens",
        work="neurgrad",
        size=size,
        seconds=seconds,
        compile_seconds=0.0,
        held_bytes=held,
    )


def test_exponents() -> None:
    sizes = np.asarray([1.0, 2.0, 4.0, 8.0])
    exact = exponent(list(sizes), list(3 * sizes**1.5))
    assert abs(exact.value - 1.5) < 1e-12 and exact.error < 1e-12
    # The error is that of least squares, as NumPy's covariance has it.
    costs = sizes * np.asarray([1.0, 1.1, 0.9, 1.2])
    fitted, covariance = np.polyfit(np.log(sizes), np.log(costs), 1, cov=True)
    found = exponent(list(sizes), list(costs))
    assert abs(found.value - fitted[0]) < 1e-12
    assert abs(found.error - np.sqrt(covariance[0, 0])) < 1e-12
    assert str(found) == f"{found.value:.2f} ± {found.error:.2f}"


def test_of_few_sizes_little_is_said() -> None:
    assert str(exponent([1.0, 2.0], [1.0, 4.0])) == "2.00"
    assert str(exponent([1.0, 2.0], [0.0, 4.0])) == "—"


def test_tables_and_figure() -> None:
    points = [point(512, 1.0), point(1024, 2.0), point(2048, 4.0, None)]
    text = "\n".join(scaling_report.lines(points))
    assert "| tokens | NeurGrad | 512 to 2,048 | 1.00 ± 0.00 | — | 0.00 |" in text
    assert "| tokens | 2,048 | 4 | 0.00 | — |" in text
    picture = scaling_report.growth_panels(scaling_report.growths(points))
    assert b"<svg" in picture.svg and picture.png.startswith(b"\x89PNG")


def test_every_axis_grows_in_one_size() -> None:
    for axis in AXES:
        fields = [dataclasses.asdict(sizes) for sizes in axis.sizes]
        grown = {name for name in fields[0] if len({field[name] for field in fields}) > 1}
        assert grown == {"width" if axis.name == "parameters" else axis.name}
        values = [field[name] for field in fields for name in grown]
        assert values == sorted(values)


@pytest.mark.usefixtures("restored_flags")
def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = Sizes(layers=1, width=64, tokens=8, neurons=4, shifts=2)
    by_name = {axis.name: axis for axis in AXES}
    axes = (
        by_name["prompts"]._replace(
            sizes=(
                small,
                dataclasses.replace(small, prompts=2),
                dataclasses.replace(small, prompts=4),
            )
        ),
        by_name["shifts"]._replace(sizes=(small, dataclasses.replace(small, shifts=4))),
        by_name["devices"]._replace(
            sizes=tuple(dataclasses.replace(small, width=128, devices=n) for n in (1, 2))
        ),
    )
    monkeypatch.setattr(scaling, "AXES", axes)
    monkeypatch.setattr(scaling, "VOCABULARY", 50)
    page = tmp_path / "page.md"
    page.write_text("<!-- scaling: start -->\n<!-- scaling: stop -->\n")
    flags.FLAGS(
        ["bench", "--scaling", "--scaling_points=2", f"--output={tmp_path}", f"--page={page}"]
    )
    assert bench.main() == 0
    points = json.loads((tmp_path / "scaling.json").read_text())["points"]
    assert [(p["axis"], p["size"]) for p in points] == [
        ("prompts", 1), ("prompts", 2), ("shifts", 2), ("shifts", 4), ("devices", 1), ("devices", 2)
    ]  # fmt: skip
    assert all(p["seconds"] > 0 for p in points)
    assert points[0]["held_bytes"] > 0 and points[2]["held_bytes"] is None
    assert "| prompts | NeurGrad | 1 to 2 |" in page.read_text()
    assert (tmp_path / "scaling.svg").exists() and (tmp_path / "scaling.png").exists()


def test_devices_that_do_not_divide_a_model_are_named() -> None:
    sizes = Sizes(layers=1, width=64, tokens=8, devices=2)
    axis = next(axis for axis in AXES if axis.name == "devices")._replace(
        sizes=(dataclasses.replace(sizes, devices=1), sizes)
    )
    with pytest.raises(ValueError, match=r"2 devices could not be measured: .*1 heads and"):
        scaling.measure([axis], 2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--scaling", "--cases=sweep_32"], "--cases=.* has no effect on bench --scaling"),
        (
            ["--scaling", "--model=facts-bert"],
            "--model=facts-bert has no effect on bench --scaling",
        ),
        (["--scaling_points=3"], "--scaling_points=3 has no effect on bench, which measures no"),
    ],
)
@pytest.mark.usefixtures("restored_flags")
def test_refused(given: list[str], message: str) -> None:
    flags.FLAGS(["bench", *given])
    with pytest.raises(ValueError, match=message):
        bench.main()
