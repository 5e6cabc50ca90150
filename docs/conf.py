"""How Sphinx makes the documentation's site: `make docs`.

The source folder is the repository's root, so that one text serves GitHub and the site: links among
README, CONTRIBUTING and the pages of `docs/` are the same relative paths in both.
"""

import dataclasses
import sys
from pathlib import Path

from docutils import nodes
from docutils.utils.math import latex2mathml
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import docstrings  # noqa: E402 — beside this file

import negjax  # noqa: E402 — of this repository, whatever is installed

project = "negjax"
author = "The negjax authors"
copyright = author
release = version = negjax.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
root_doc = "docs/index"
include_patterns = ["*.md", "docs/**.md", "negjax/data/facts_bert/README.md"]
# Folders that are not even looked into.
exclude_patterns = [".*", "build", "dist", "runs", "tests", "experiments", "*.egg-info"]

FOLDED = {"docs/decisions/README": "[0-9]*", "docs/results/README": "[!R]*"}
"""Pages whose tables list the pages beside them: on the site these are below them in the tree, too,
by a directive that GitHub would show as it stands."""

# Markdown. Anchors of headings are GitHub's; CITATION.cff and launch/ are downloads.
myst_enable_extensions = ["dollarmath"]
myst_fence_as_directive = ["math"]
myst_heading_anchors = 4

# Notebooks run anew at every build, in a folder of their own: one that fails, fails the build.
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_timeout = 300
nb_execution_raise_on_error = True
# Bars of progress, as lines one below the other.
nb_output_stderr = "remove"

# Docstrings. Of records what they inherit, the columns of their tables, is said once.
autodoc_default_options = {
    "members": True,
    "imported-members": True,
    "undoc-members": True,
    "member-order": "bysource",
    "exclude-members": "row_axes, column_names",
}
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
python_maximum_signature_line_length = 88
nitpicky = True
# Other packages have no page here, and what signatures name of negjax's inside neither.
nitpick_ignore_regex = [("py:.*", r"(?!negjax\.).*")]
nitpick_ignore = [
    ("py:class", f"negjax.{name}")
    for name in (
        *("model.config.ModelConfig", "execution.common_heads.HeadGroup"),
        *("replay.suffixes.CommonHead", "skills.features.feature_files.Layout"),
        "mceval8k.files.Row",
    )
]

html_theme = "sphinx_book_theme"
html_title = f"negjax {release}"
html_theme_options = {
    "show_navbar_depth": 1,
    "use_download_button": False,
    "navbar_persistent": [],
}
html_static_path = ["static"]
html_css_files = ["site.css"]
templates_path = ["templates"]
html_additional_pages = {"index": "to_the_first_page.html"}
html_math_renderer = "mathml"


def _add_tree(app: Sphinx, docname: str, source: list[str]) -> None:
    """Puts the pages beside a table of contents below it."""
    if docname in FOLDED:
        lines = ["```{toctree}", ":hidden:", ":glob:", "", FOLDED[docname], "```"]
        source[0] += "\n" + "\n".join(lines) + "\n"


def _as_rest(
    app: Sphinx, what: str, name: str, member: object, options: object, lines: list[str]
) -> None:
    """Docstrings are plain text with code in backticks."""
    lines[:] = docstrings.as_rest(what, lines)


def _stands_elsewhere(
    app: Sphinx, what: str, name: str, member: object, skip: bool, options: object
) -> bool | None:
    """A name that `negjax` has, too, stands on its page alone."""
    doubled = what == "module" and app.env.docname != "docs/api/negjax"
    return True if doubled and name in negjax.__all__ else None


def _without_fields(
    app: Sphinx, what: str, name: str, member: object, options: object, *shown: str | None
) -> tuple[str, None] | None:
    """A record that functions make has its fields below its name: not in a signature as well."""
    fields = dataclasses.fields(member) if dataclasses.is_dataclass(member) else ()
    return ("", None) if fields and all(field.kw_only for field in fields) else None


def _math(self: HTML5Translator, node: nodes.math) -> None:
    self.body.append(latex2mathml.tex2mathml(node.astext()))
    raise nodes.SkipNode


def _math_block(self: HTML5Translator, node: nodes.math_block) -> None:
    self.body.append(f"<p>{latex2mathml.tex2mathml(node.astext(), as_block=True)}</p>")
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _add_tree)
    app.connect("autodoc-skip-member", _stands_elsewhere)
    app.connect("autodoc-process-signature", _without_fields)
    # Before napoleon, which is asked at 500.
    app.connect("autodoc-process-docstring", _as_rest, priority=400)
    # MathML, which browsers draw themselves: Sphinx's own renderer fetches MathJax.
    app.add_html_math_renderer("mathml", (_math, None), (_math_block, None))
