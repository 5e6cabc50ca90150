"""The worked example of a family runs, and prints what stands below it."""

import re
import subprocess
import sys

from tests.support.places import ROOT

PAGE = (ROOT / "docs" / "add_a_family.md").read_text(encoding="utf-8")


def test_a_family_is_added_in_less_than_sixty_lines() -> None:
    assert len(PAGE.splitlines()) < 60
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
    (expected,) = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert run.stdout == expected
