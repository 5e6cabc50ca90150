"""The bench's three tools, each in its process, give the same answers."""

from pathlib import Path

import pytest

from experiments.bench import program as bench
from experiments.bench.cases import CASES
from experiments.bench.processes import measure
from tests.support.bench_cases import lay_out


@pytest.mark.parametrize("name", ["sweep_32", "neurgrad_35_4", "features_440_4", "generate_35"])
def test_all_tools_agree(tmp_path: Path, name: str) -> None:
    case = next(case for case in CASES if case.name == name)
    lay_out(tmp_path, case)
    found = measure(tmp_path, case, case.tools, 1)
    assert sorted(found) == sorted(case.tools)
    assert all(run["seconds"] > 0 for run in found.values())
    differences = bench._agreement(tmp_path, case)
    assert sorted(differences) == sorted(set(case.tools) - {"negjax"})
    assert max(differences.values()) < 1e-4
