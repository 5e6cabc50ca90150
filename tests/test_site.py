"""The documentation's site, as far as it can be read without building it: `make docs` does that."""

import ast
import fnmatch
import importlib.util
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

import negjax
from tests.support.make_reference import PACKAGES, page_name
from tests.support.places import ROOT
from tests.test_documents_linked import DOCUMENTS

DOCS = ROOT / "docs"
INDEX = (DOCS / "index.md").read_text(encoding="utf-8")
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.md"))
SHIPPED = {"smollm2-135m-instruct", "facts-bert"}
CARD = Path("negjax/data/facts_bert/README.md")


def loaded(name: str) -> ModuleType:
    """A module beside the pages."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def constant(name: str) -> Any:
    """A literal of conf.py, which only imports where Sphinx is installed."""
    tree = ast.parse((DOCS / "conf.py").read_text(encoding="utf-8"))
    (value,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name
    )
    return ast.literal_eval(value)


def in_the_tree() -> list[Path]:
    """Pages of the index, and below those that have a table of their own."""
    entries = re.findall(r"```\{toctree\}\n(.*?)```", INDEX, re.DOTALL)
    lines = [line for entry in entries for line in entry.splitlines() if line]
    targets = [re.sub(r".*<(.*)>", r"\1", line) for line in lines if not line.startswith(":")]
    pages = [(DOCS / f"{target}.md").resolve().relative_to(ROOT) for target in targets]
    for page, pattern in constant("FOLDED").items():
        folder = (ROOT / page).parent
        beside = sorted(path for path in folder.glob("*.md") if path.stem != "README")
        pages += [path.relative_to(ROOT) for path in beside if fnmatch.fnmatch(path.stem, pattern)]
    return pages


def test_every_document_stands_in_the_tree_once() -> None:
    pages = in_the_tree()
    assert len(pages) == len(set(pages))
    shown = {path for path in DOCUMENTS if path.parts[0] != ".github"}
    assert set(pages) == {*shown, CARD} - {Path("docs/index.md")}


def test_every_public_package_has_a_page_without_words_of_its_own() -> None:
    pages = {path.stem: path.read_text(encoding="utf-8") for path in (DOCS / "api").glob("*.md")}
    assert pages == {
        page_name(package): f"# {package.__name__}\n\n"
        f"```{{eval-rst}}\n.. automodule:: {package.__name__}\n```\n"
        for package in PACKAGES
    }


def cells(notebook: Path) -> list[str]:
    """Code that runs."""
    return re.findall(r"```\{code-cell\}\n(.*?)```", notebook.read_text("utf-8"), re.DOTALL)


def member(node: ast.expr) -> object:
    """What `negjax.…` is; None of anything else."""
    written = ast.unparse(node)
    if not re.fullmatch(r"negjax(\.\w+)+", written):
        return None
    parts = written.split(".")
    found: object = negjax
    for part in parts[1:]:
        found = getattr(found, part)
    return found


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_calls_what_there_is(notebook: Path) -> None:
    code = cells(notebook)
    assert code
    tree = ast.parse("\n".join(code))
    calls = 0
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        function = member(node.func)
        if function is not None:
            calls += 1
            names = [keyword.arg for keyword in node.keywords]
            inspect.signature(function).bind(  # type: ignore[arg-type]
                *node.args, **{name: None for name in names if name is not None}
            )
    assert calls > 3


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_by_itself(notebook: Path) -> None:
    """With models that are shipped, or that it has saved itself; in a kernel that there is."""
    text = notebook.read_text(encoding="utf-8")
    front = yaml.safe_load(text.split("---")[1])
    assert front == {"file_format": "mystnb", "kernelspec": {"name": "python3"}}
    code = "\n".join(cells(notebook))
    made = set(re.findall(r'save_pretrained\(.*, "(.*?)"\)', code))
    models = set(re.findall(r'negjax\.load\("(.*?)"\)', code))
    assert models and models <= SHIPPED | made
    # The code of other libraries, which does not run, is Python all the same.
    for shown in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        ast.parse(shown)


def test_docstrings_become_rest() -> None:
    docstrings = loaded("docstrings")
    assert docstrings.as_rest("function", ["|ΔP| of `neurgrad`, `negjax.skills.Polar`, `x`."]) == [
        r"\|ΔP\| of :py:obj:`neurgrad <negjax.neurgrad>`, "
        ":py:obj:`negjax.skills.Polar <negjax.skills.Polar>`, ``x``."
    ]
    assert docstrings.as_rest("attribute", ["None: not asked for."])[0] == ".."
    module = docstrings.as_rest("module", ["A sentence.", "", "    a * b  # `x`", "", "Another."])
    assert module == ["A sentence.", "", "::", "", "    a * b  # `x`", "", "Another."]
    for name in docstrings.PUBLIC.values():
        assert member(ast.parse(name, mode="eval").body) is not None


def workflows() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted((ROOT / ".github" / "workflows").glob("*.yml")):
        yield path.stem, yaml.safe_load(path.read_text(encoding="utf-8"))


def test_workflows_run_targets_that_there_are() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    found = dict(workflows())
    assert found.keys() == {"docs", "release", "tests"}
    for name, workflow in found.items():
        jobs = workflow["jobs"].values()
        commands = [step["run"] for job in jobs for step in job["steps"] if "run" in step]
        matrices = [
            row
            for job in jobs
            for row in job.get("strategy", {}).get("matrix", {}).get("include", [])
        ]
        made = [re.sub(r"^make (\S+).*", r"\1", run) for run in commands if run.startswith("make")]
        called = {target for target in made if "$" not in target} | {
            row["target"] for row in matrices
        }
        assert called and called <= targets, name
    for name in ("docs", "release"):
        # No secret is stored: whoever publishes shows who it is.
        assert found[name]["jobs"]["publish"]["permissions"]["id-token"] == "write"
        assert found[name]["permissions"] == {"contents": "read"}


def test_how_to_cite_says_what_the_citation_file_says() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    page = (DOCS / "citing.md").read_text(encoding="utf-8")
    paper = citation["preferred-citation"]
    for text in (paper["title"], paper["doi"], f"pages {paper['start']} to {paper['end']}"):
        assert str(text) in page
    for author in paper["authors"]:
        assert f"{author['given-names']} {author['family-names']}" in page
    assert f"{{{citation['version']}}}" in page and citation["version"] == negjax.__version__
