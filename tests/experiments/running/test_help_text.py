"""What `--help` prints."""

import re

import pytest
from absl import flags

from experiments.linearity import program
from experiments.running import command_line, help_text


def test_every_flag_of_the_experiments_is_listed_once_and_main_ones_are_explained() -> None:
    lines = list(help_text.lines())
    explained = re.findall(r"^  --(?:\[no\])?(\w+)", "\n".join(lines), re.MULTILINE)
    (start,) = (number for number, line in enumerate(lines) if line.startswith("  and --"))
    end = lines.index("", start)
    named = re.findall(r"--(\w+)", " ".join(lines[start:end]))
    modules = flags.FLAGS.flags_by_module_dict()
    own = {m: [f.name for f in found] for m, found in modules.items()}
    assert own[program.__name__] == ["measure"]
    expected = [name for m, names in own.items() if m.startswith("experiments.") for name in names]
    assert sorted([*explained, *named]) == sorted(expected)
    # A program's own flags stand first, of those of every run a few are explained.
    assert explained.index("measure") < explained.index("probes") < explained.index("model")
    assert set(explained) >= set(help_text.MAIN) and {"mesh", "site", "budget_mib"} <= set(named)
    text = " ".join(" ".join(lines).split())
    with_defaults = ("--measure=response", "--range=10.0", "--dtype=float32")
    for flag in (*with_defaults, "--[no]overwrite, default: no"):
        assert f"{flag} " in text
    assert "logtostderr" not in text


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (["--help"], True),
        (["--seed=1", "-h"], True),
        (["-help"], True),
        (["--helpfull"], False),
        (["--", "--help"], False),
        (["--output=--help"], False),
        ([], False),
    ],
)
def test_when_help_is_asked_for(arguments: list[str], asked: bool) -> None:
    assert help_text.is_asked(arguments) == asked


def test_help_ends_the_program_without_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as found:
        command_line.parse(["linearity", "--nodes=odd", "--help"])
    assert found.value.code == 0
    assert "--flagfile=FILE reads flags from a file" in capsys.readouterr().out
