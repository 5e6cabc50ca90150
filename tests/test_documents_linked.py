"""Documents point at what is there: files, commands, flag files."""

import re
from pathlib import Path

import pytest

from tests.support.places import ROOT

DOCUMENTS = sorted(
    path.relative_to(ROOT)
    for path in (
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / ".github").rglob("*.md"),
    )
)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
COMMAND = re.compile(r"python -m (experiments(?:\.\w+)+)")
FLAGS = re.compile(r"experiments/flagfiles/(\w+)\.flags")


def test_there_are_documents() -> None:
    assert {Path("README.md"), Path("BUILD_NOTES.md"), Path("CONTRIBUTING.md")} <= set(DOCUMENTS)


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_links_and_commands_lead_somewhere(document: Path) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    for target in LINK.findall(text):
        if "://" not in target:
            assert (ROOT / document.parent / target).exists(), target
    for module in COMMAND.findall(text):
        assert (ROOT / module.replace(".", "/") / "__main__.py").is_file(), module
    for name in FLAGS.findall(text):
        assert name.startswith("NAME") or (ROOT / f"experiments/flagfiles/{name}.flags").is_file()
