"""Makes docs/reference.md, all public names: `python -m tests.support.make_reference`."""

import inspect
import re
from types import ModuleType

import negjax
from negjax import control, corpus, mceval8k, skills
from tests.support.places import ROOT

PAGE = ROOT / "docs" / "reference.md"
PACKAGES = (negjax, control, corpus, mceval8k, skills)
HEAD = """# Reference

Every public name, with the first sentence of its documentation; `help(name)` says the rest: shapes,
units, errors, sources. So do, on the site that `make docs` builds, the pages of
{pages}.
`python -m tests.support.make_reference` writes this page.
"""


def reference() -> str:
    """The page."""
    pages = [f"[{package.__name__}](api/{page_name(package)}.md)" for package in PACKAGES]
    head = HEAD.format(pages=f"{', '.join(pages[:-1])} and {pages[-1]}")
    return head + "".join(map(_section, PACKAGES))


def page_name(package: ModuleType) -> str:
    """Of the page in docs/api that is made of a package's docstrings."""
    return package.__name__.split(".")[-1]


def _section(package: ModuleType) -> str:
    rows = [_row(name, getattr(package, name)) for name in package.__all__]
    first = inspect.getdoc(package) or ""
    lines = [f"\n## {package.__name__}\n", first.split("\n\n")[0].replace("\n", " "), ""]
    return "\n".join([*lines, "| name | |", "|---|---|", *rows, ""])


def _row(name: str, member: object) -> str:
    shown = f"{name}({_arguments(member)})" if callable(member) else name
    told = inspect.getdoc(member) if callable(member) or inspect.ismodule(member) else None
    sentence = re.split(
        r"(?<=[.])\s|\n\n", (told or f"A constant of type {type(member).__name__}.").strip()
    )[0].replace("\n", " ")
    return f"| `{shown}` | {sentence.replace('|', chr(92) + '|')} |"


def _arguments(member: object) -> str:
    """Names of what a function takes; of a class none: `help` lists its fields."""
    if inspect.isclass(member):
        return "…"
    parameters = inspect.signature(inspect.unwrap(member)).parameters.values()  # type: ignore[arg-type]
    return ", ".join(p.name if p.default is p.empty else f"{p.name}=…" for p in parameters)


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
