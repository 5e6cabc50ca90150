"""What `--help` prints."""

import re

import pytest
from absl import flags

from experiments.linearity import program
from experiments.running import command_line, help_text


def test_every_flag_of_the_experiments_is_listed_once_with_its_default() -> None:
    listed = re.findall(r"^  --(?:\[no\])?(\w+)", "\n".join(help_text.lines()), re.MULTILINE)
    modules = flags.FLAGS.flags_by_module_dict()
    own = {m: [f.name for f in found] for m, found in modules.items()}
    assert own[program.__name__] == ["measure"]
    expected = [name for m, names in own.items() if m.startswith("experiments.") for name in names]
    assert sorted(listed) == sorted(expected)
    # A program's own flags stand first.
    assert listed.index("measure") < listed.index("probes") < listed.index("model")
    text = " ".join(" ".join(help_text.lines()).split())
    for flag in ("--measure=response", "--range=10.0", "--site=…", "--[no]overwrite, default: no"):
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
