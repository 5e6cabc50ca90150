"""Where the references and data lie that are delivered beside the repository.

Tests marked `shared` read them. Without them such tests are deselected, and what lies in
`tests/golden` stands for them; where CI is set they run, and fail.
"""

import os
from pathlib import Path

SHARED = Path(__file__).resolve().parents[3] / "shared"
GOLDEN = SHARED / "golden"
MCEVAL8K = SHARED / "data" / "mceval8k"
EXPECTED = SHARED.is_dir() or bool(os.environ.get("CI"))
