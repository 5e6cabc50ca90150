"""The README's code prints what stands below it."""

import re
import subprocess
import sys

import negjax
from tests.support.places import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_code_prints_what_stands_below_it() -> None:
    """To the letter, but for the two shares, which may round the other way on another machine."""
    shown = re.search(r"```python\n(.*?)```\s*```text\n(.*?)```", README, re.DOTALL)
    assert shown is not None
    code, expected = shown.groups()
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    share = re.compile(r"\d+(?=%)")
    assert share.sub("#", run.stdout) == share.sub("#", expected)
    pairs = zip(share.findall(run.stdout), share.findall(expected), strict=True)
    assert all(abs(int(found) - int(stated)) <= 1 for found, stated in pairs)


def test_the_table_names_functions() -> None:
    rows = re.findall(r"^\| (`.*?) \|", README, re.MULTILINE)
    names = [name for row in rows for name in re.findall(r"`([\w.]+)`", row)]
    assert len(names) > 15
    for name in names:
        parts = name.split(".")
        member: object = negjax if hasattr(negjax, parts[0]) else negjax.control
        for part in parts:
            member = getattr(member, part)
