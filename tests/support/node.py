"""JavaScript of ours, run by Node as a browser would."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest


def evaluated(module: Path, script: str, given: object) -> Any:
    """What a script prints as JSON; it has the module's exports as `its`, and `given`.

    Skips the test where there is no Node.
    """
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node here, which runs the module as a browser does")
    text = f"import * as its from {json.dumps(module.as_uri())};\n"
    text += f"const given = {json.dumps(given)};\n{script}"
    found = subprocess.run(
        [node, "--input-type=module", "-"],
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout)
