"""The widget of notebooks in a browser, in a page that stands for the notebook."""

import html
from pathlib import Path
from typing import Any

import pytest

from experiments.reporting import notebooks
from experiments.reporting.explorers import Explorer, MapExplorer
from tests.browser.visits import file_address, visited
from tests.experiments.reporting.test_explorers import explorer, neuron_map

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Notebook</title><style>{style}</style></head>
<body><main><h1>Notebook</h1><div id="cell"></div></main><pre id="given" hidden>{given}</pre>
<script type="module">{script}
const given = document.getElementById('given').textContent;
widget.render({{ model: {{ get: () => given }}, el: document.getElementById('cell') }});
</script></body></html>
"""


@pytest.mark.parametrize(
    ("shown", "words"), [(explorer(), "layer 1, neuron 3"), (neuron_map(), "NEG")]
)
def test_a_cell_shows_what_a_report_does(
    browser: Any, tmp_path: Path, shown: Explorer | MapExplorer, words: str
) -> None:
    script = notebooks.script(shown).replace("export default", "const widget =")
    page = tmp_path / "cell.html"
    filled = PAGE.format(style=notebooks.style(), given=html.escape(shown.data), script=script)
    page.write_text(filled, encoding="utf-8")
    with visited(browser, file_address(page)) as visit:
        visit.expect("#cell .said").to_contain_text(words)
        visit.expect("#cell canvas").not_to_have_count(0)
        finder = visit.page.get_by_label("Find layer.neuron")
        finder.fill("99.9")
        finder.press("Enter")
        visit.expect("#cell .said").to_contain_text("99.9")
        assert not visit.violations()
