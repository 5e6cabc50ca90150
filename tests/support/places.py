"""Where things of the repository lie."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FLAGFILES = ROOT / "experiments" / "flagfiles"
STORED = ROOT / "tests" / "golden"
"""References that are delivered with the tests."""
