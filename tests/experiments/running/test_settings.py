"""Settings of a study: a dataclass is its flags, is read from them, and is what a run records."""

import dataclasses

import pytest
from absl import flags

from experiments.running import settings
from experiments.running.settings import recorded, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked:
    """Of every kind."""

    test_kind: str = setting("a", "A name.", choices=["a", "b"])
    test_file: str | None = setting(None, "A file.", recorded=False)
    test_count: int = setting(3, "A count.", least=1)
    test_few: int | None = setting(None, "A count or none.", least=1)
    test_share: float = setting(0.5, "A share.", above=0, below=1)
    test_all: bool = setting(False, "Whether.")
    test_names: list[str] = setting(["x", "y"], "Names.", choices=["x", "y", "z"])
    test_sizes: list[int] = setting([4, 2], "Whole numbers.", most=8)
    test_shifts: list[float] = setting([0.5, -1.0], "Numbers.", count=2, least=-2)


FLAGS = settings.define(Asked)
DEFAULTS = Asked(
    test_kind="a",
    test_file=None,
    test_count=3,
    test_few=None,
    test_share=0.5,
    test_all=False,
    test_names=["x", "y"],
    test_sizes=[2, 4],
    test_shifts=[-1.0, 0.5],
)

pytestmark = pytest.mark.usefixtures("restored_flags")


def read(*given: str) -> Asked:
    flags.FLAGS(["experiment", *given])
    return FLAGS.read()


def test_defaults_are_the_fields() -> None:
    assert read() == DEFAULTS
    assert recorded(DEFAULTS) == {
        name: value for name, value in vars(DEFAULTS).items() if name != "test_file"
    }


def test_flags_set_them() -> None:
    assert read(
        "--test_kind=b",
        "--test_file=~/x",
        "--test_count=1",
        "--test_few=2",
        "--test_share=0.25",
        "--test_all",
        "--test_names=z",
        "--test_sizes=8,1",
        "--test_shifts=2,-2",
    ) == Asked(
        test_kind="b",
        test_file="~/x",
        test_count=1,
        test_few=2,
        test_share=0.25,
        test_all=True,
        test_names=["z"],
        test_sizes=[1, 8],
        test_shifts=[-2.0, 2.0],
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("--test_share=0", r"--test_share=0.0: expected a number above 0 and below 1"),
        ("--test_share=nan", r"--test_share=nan: expected a finite number"),
        ("--test_names=x,w", r"--test_names=x,w: expected some of x, y, z, each once"),
        ("--test_sizes=1.5", r"--test_sizes=1.5: expected whole numbers from 1 on"),
        ("--test_sizes=1,9", r"--test_sizes=1,9: expected numbers of at most 8"),
        ("--test_shifts=1", r"--test_shifts=1: expected 2 or more different numbers, none 0"),
        ("--test_shifts=1,-3", r"--test_shifts=\['1', '-3'\]|--test_shifts=1,-3: expected numbers"),
    ],
)
def test_what_a_field_does_not_allow_is_refused_by_the_flag(given: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(given)


@pytest.mark.parametrize("given", ["--test_count=0", "--test_kind=c", "--test_few=x"])
def test_absl_refuses_the_rest(given: str) -> None:
    with pytest.raises(flags.IllegalFlagValueError, match=given.split("=")[0].removeprefix("--")):
        read(given)


def test_flags_belong_to_the_study_that_defines_them() -> None:
    """And so are listed by its --help."""
    owned = {flag.name for flag in flags.FLAGS.get_key_flags_for_module(__name__)}
    assert {field.name for field in dataclasses.fields(Asked)} <= owned
