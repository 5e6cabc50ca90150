"""From docstrings, which are plain text with code in single backticks, to what Sphinx reads."""

import re
from collections.abc import Sequence

import negjax
from negjax import control, corpus, mceval8k, skills

PUBLIC = {
    f"{package.__name__}.{name}".removeprefix("negjax."): f"{package.__name__}.{name}"
    for package in (control, corpus, mceval8k, skills, negjax)
    for name in package.__all__
    if package is negjax or name not in negjax.__all__
}
"""Where the documentation of a public name stands, by how texts call it after `negjax.`."""


def as_rest(what: str, lines: Sequence[str]) -> list[str]:
    """A docstring's lines as reStructuredText.

    Args:
        what: it is of: "module", "class", "function", "method", "attribute" or "property".
    """
    text = "\n".join(lines)
    if what == "module":
        # Indented lines are an example.
        text = re.sub(r"\n\n(?=    )", "\n\n::\n\n", text)
    parts = re.split(r"(`[^`]*`|^ *::\n\n(?:    .*\n|\n)+)", text, flags=re.MULTILINE)
    # Every second part is code; in the others these mean something to reST.
    parts[::2] = [re.sub(r"[|*]", r"\\\g<0>", part) for part in parts[::2]]
    parts[1::2] = [re.sub(r"^`(.*)`$", _linked, part, flags=re.DOTALL) for part in parts[1::2]]
    # Napoleon takes an attribute's first line up to a colon for its type: a comment has none.
    before = ["..", ""] if what in ("attribute", "property") else []
    return [*before, *"".join(parts).split("\n")]


def _linked(match: re.Match[str]) -> str:
    """Code between backticks; a link where it is a public name."""
    code = match[1]
    target = PUBLIC.get(code.removesuffix("()").removeprefix("negjax."))
    return f":py:obj:`{code} <{target}>`" if target else f"``{code}``"
