"""Documents point at what is there: files, headings, commands, flag files; and are found."""

import re
from pathlib import Path

import pytest

from tests.support.make_reference import PAGE, reference
from tests.support.places import ROOT

DOCUMENTS = sorted(
    path.relative_to(ROOT)
    for path in (
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / ".github").rglob("*.md"),
    )
)
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)")
COMMAND = re.compile(r"python -m (experiments(?:\.\w+)+)")
FLAGS = re.compile(r"experiments/flagfiles/(\w+)\.flags")
FILE = re.compile(r"`((?:negjax|experiments|tests|docs)/[\w/.]+)`")


def text_of(document: Path) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def links(document: Path) -> list[tuple[str, str]]:
    """Targets and anchors of its links; what stands in code is none."""
    return LINK.findall(re.sub(r"```.*?```|`[^`\n]*`", "", text_of(document), flags=re.DOTALL))


def anchors(document: Path) -> set[str]:
    """Of its headings, as they are linked to."""
    heads = re.findall(r"^#+ (.*)$", text_of(document), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", head.lower()) for head in heads)
    return {head.strip().replace(" ", "-") for head in plain}


def linked(document: Path) -> set[Path]:
    """Documents that a document links to."""
    targets = (target for target, _ in links(document) if "://" not in target)
    paths = ((ROOT / document.parent / target).resolve() for target in targets if target)
    return {path.relative_to(ROOT) for path in paths if path.suffix == ".md"}


def test_there_are_documents() -> None:
    assert {Path("README.md"), Path("BUILD_NOTES.md"), Path("CONTRIBUTING.md")} <= set(DOCUMENTS)


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_links_lead_somewhere(document: Path) -> None:
    for target, anchor in links(document):
        if "://" in target:
            continue
        path = (ROOT / document.parent / target) if target else ROOT / document
        assert path.exists(), target
        if anchor:
            assert anchor in anchors(path.resolve().relative_to(ROOT)), f"{target}#{anchor}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_commands_and_files_are_there(document: Path) -> None:
    text = text_of(document)
    for module in COMMAND.findall(text):
        assert (ROOT / module.replace(".", "/") / "__main__.py").is_file(), module
    for name in FLAGS.findall(text):
        assert name.startswith("NAME") or (ROOT / f"experiments/flagfiles/{name}.flags").is_file()
    # What was is history, and may be gone.
    if document.name != "CHANGELOG.md" and document.parent.name not in ("decisions", "results"):
        for name in FILE.findall(text):
            assert "NAME" in name or (ROOT / name.rstrip(".")).exists(), name


@pytest.mark.parametrize("start", ["README.md", "BUILD_NOTES.md"])
def test_every_document_is_found_from(start: str) -> None:
    seen, left = set[Path](), {Path(start)}
    while left:
        document = left.pop()
        seen.add(document)
        left |= linked(document) - seen
    assert set(DOCUMENTS) - seen == set()


DECISIONS = [
    path for path in DOCUMENTS if path.parent.name == "decisions" and path.stem[0].isdigit()
]


@pytest.mark.parametrize("document", DECISIONS, ids=lambda path: path.stem)
def test_a_decision_has_a_date_and_its_parts(document: Path) -> None:
    text = text_of(document)
    assert text.startswith("# ") and re.search(r"\b20\d\d-\d\d-\d\d\b", text)
    for part in ("Context", "Choice", "Reason"):
        assert f"**{part}" in text or f"## {part}" in text, part


def test_the_reference_lists_what_is_public() -> None:
    """`python -m tests.support.make_reference` writes it anew."""
    assert PAGE.read_text(encoding="utf-8") == reference()
