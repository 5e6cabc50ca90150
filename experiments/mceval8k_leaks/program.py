"""The program: which tasks it counts in, and what their counts depend on."""

import time

from tqdm import tqdm

import negjax
from experiments.inputs import benchmark_flags
from experiments.mceval8k_leaks.report import findings
from experiments.mceval8k_leaks.results import measure
from experiments.running.study import Finished, Study


def prepare() -> Study:
    """Reads the tasks and counts as it reads: there is nothing to continue."""
    start = time.perf_counter()
    names, root = benchmark_flags.tasks(), benchmark_flags.root()
    leaks = [measure(name, root) for name in tqdm(names, unit="task", disable=None)]
    seconds = time.perf_counter() - start
    return Study(
        name="mceval8k_leaks",
        settings={"negjax": negjax.__version__, "tasks": {task.name: task.key for task in leaks}},
        measure=lambda _: Finished(work=leaks),
        results=lambda _, finished: findings(finished.work, seconds),
    )
