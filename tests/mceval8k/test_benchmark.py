"""MCEval8K: no text in two parts, of the published files and of made-up ones; samples; keys."""

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from negjax import mceval8k
from negjax.mceval8k.catalogue import PARTS, TASKS
from tests.support.made_up_mceval8k import write_benchmark, write_task
from tests.support.parts import PLACES, check_disjoint
from tests.support.processes import run_python


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_benchmark(tmp_path_factory.mktemp("benchmark"))


@pytest.mark.parametrize("name", TASKS)
def test_every_task_loads_in_parts_that_share_nothing(name: str, made_up: Path) -> None:
    spec = TASKS[name]
    for shots, meant in ((None, 1), (0, 0), (2, 2)):
        task = mceval8k.load(name, made_up, shots=shots)
        check_disjoint(task)
        assert (task.name, task.genre, task.labels) == (name, spec.genre, spec.labels)
        assert (task.shots, task.seed) == (meant, spec.seed)
        languages = len({item.language for item in task.train})
        assert languages == (5 if spec.language else 1)
        assert len(task.demonstrations) == languages * task.shots * len(spec.labels)
        for place in PARTS:
            for item in getattr(task, place):
                assert item.prompt.startswith(item.head + "\n\n### ")
                assert 0 <= item.label < len(spec.labels)
        heads = {item.head for place in PARTS for item in getattr(task, place)}
        assert len(heads) == languages
    assert len(mceval8k.names()) == len(TASKS) == 22
    assert len({spec.genre for spec in TASKS.values()}) == 6


def test_tasks_go_by_several_names(made_up: Path) -> None:
    for name in ("M-POS", "mpostag", "multilingual/mpostag"):
        assert mceval8k.load(name, made_up).name == "m-pos"
    with pytest.raises(ValueError, match="task 'nre': expected one of ged, pos, chunk, ner, "):
        mceval8k.load("nre", made_up)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "published"}, "split is 'published', expected one of disjoint, original"),
        ({"shots": -1}, "shots is -1, expected a whole number, 0 or more"),
        ({"shots": 99}, "shots=99: train has not so many items of label 'a' that share no text"),
        ({"template": 3}, "template 3: ner has 3, pass 0 to 2"),
        ({"template": -1}, "template -1: ner has 3"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], message: str, made_up: Path) -> None:
    with pytest.raises(ValueError, match=message):
        mceval8k.load("ner", made_up, **arguments)


def test_demonstrations_may_not_use_up_train(made_up: Path) -> None:
    train = Counter(item.label for item in mceval8k.load("ner", made_up, shots=0).train)
    shots = min(train.values())
    with pytest.raises(ValueError, match=f"shots={shots}: no item of label '.' would be left in"):
        mceval8k.load("ner", made_up, shots=shots)


def test_more_shots_add_to_the_demonstrations(made_up: Path) -> None:
    for name in ("ner", "mlama"):
        tasks = [mceval8k.load(name, made_up, shots=shots) for shots in (1, 2, 3)]
        for fewer, more in pairwise(tasks):
            assert {i.row for i in fewer.demonstrations} < {i.row for i in more.demonstrations}
            assert {i.row for i in more.train} < {i.row for i in fewer.train}
            for part in ("valid", "test"):
                rows = [[i.row for i in getattr(task, part)] for task in (fewer, more)]
                assert rows[0] == rows[1]


def test_parts_are_the_same_in_every_template(made_up: Path) -> None:
    tasks = [mceval8k.load("paws", made_up, template=number) for number in range(5)]
    for task in tasks[1:]:
        for place in PLACES:
            assert [i.row for i in getattr(task, place)] == [
                i.row for i in getattr(tasks[0], place)
            ]
    assert [task.template for task in tasks] == [f"paws-{n}-v1" for n in range(5)]
    assert [task.labels for task in tasks[2:4]] == [("no", "yes"), ("a", "b")]


def test_the_key_tells_everything_apart_that_makes_prompts(made_up: Path, tmp_path: Path) -> None:
    write_task(tmp_path, "ner", 5)
    keys = {
        mceval8k.load("ner", made_up).key,
        mceval8k.load("ner", tmp_path).key,
        mceval8k.load("ner", made_up, split="original").key,
        mceval8k.load("ner", made_up, shots=2).key,
        mceval8k.load("ner", made_up, template=1).key,
        mceval8k.load("ner", made_up, seed=5).key,
        mceval8k.load("pos", made_up).key,
    }
    assert len(keys) == 7
    assert mceval8k.load("ner", made_up, shots=1, seed=TASKS["ner"].seed).key in keys


def test_the_same_in_every_process(made_up: Path) -> None:
    code = """
import json, sys
from negjax import mceval8k
found = {}
for name in ("stereoset", "mlama"):
    task = mceval8k.load(name, sys.argv[1], shots=2)
    up = mceval8k.resample(task.train, task.labels, "up")
    found[name] = [task.key, [i.prompt for i in task.test], [i.prompt for i in up]]
print(json.dumps(found))
"""
    one, other = (
        json.loads(run_python(code, str(made_up), PYTHONHASHSEED=seed).stdout) for seed in "12"
    )
    assert one == other
    assert one["mlama"][0] == mceval8k.load("mlama", made_up, shots=2).key
