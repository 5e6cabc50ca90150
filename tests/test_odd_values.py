"""Every parameter of every public function, given what it does not take: an error that names it."""

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import negjax
from negjax import control, corpus, mceval8k, skills
from tests.support.odd_values import EVERYWHERE, ODD, nothing
from tests.support.public_calls import Call, library
from tests.support.public_control_calls import controls
from tests.support.public_corpus_calls import of_corpus
from tests.support.public_direction_calls import direction_calls
from tests.support.public_record_calls import records
from tests.support.public_skill_calls import benchmark, probe_calls, stored

GROUPS: dict[str, Callable[[Path], dict[str, Call]]] = {
    "negjax": lambda _: library(),
    "records": lambda _: records(),
    "directions": direction_calls,
    "control": lambda _: controls(),
    "corpus": lambda _: of_corpus(),
    "skills": lambda _: probe_calls(),
    "files": stored,
    "mceval8k": benchmark,
}


def faults(call: Call) -> Iterator[str]:
    """What an odd value meets that is not an error of the right kind, naming the argument."""
    for parameter in call.given:
        takes = call.takes.get(parameter, EVERYWHERE.get(parameter, nothing))
        for name, value in ODD.items():
            if takes(name, value):
                continue
            try:
                found = call.function(**{**call.given, parameter: value})
                if isinstance(found, Iterator):
                    next(found)
            except (ValueError, TypeError, OSError) as error:
                # Of one of many: "prompt 3 …".
                names = (parameter.removesuffix("s"), call.blames.get(parameter, parameter))
                if not any(name in str(error) for name in names):
                    yield f"{parameter}={name}: {type(error).__name__}: {error}"
            except Exception as error:
                yield f"{parameter}={name}: bare {type(error).__name__}: {error}"
            else:
                yield f"{parameter}={name}: taken"


@pytest.mark.parametrize("group", GROUPS)
def test_odd_values_are_refused_by_the_name_of_the_argument(
    group: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    calls = GROUPS[group](tmp_path)
    found = {name: list(faults(call)) for name, call in calls.items()}
    assert {name: some for name, some in found.items() if some} == {}


def public_functions() -> dict[str, Callable[..., Any]]:
    """Of the library's public face, by name; those of the benchmark with their package's."""
    packages = {
        **{"negjax": negjax, "control": control, "corpus": corpus},
        **{"skills": skills, "mceval8k": mceval8k},
    }
    found: dict[str, Callable[..., Any]] = {}
    for package, module in packages.items():
        for name in module.__all__:
            member = getattr(module, name)
            if inspect.isfunction(member):
                both = package == "mceval8k" and name == "load"
                found[f"{package}.{name}" if both else name] = member
    return found


def test_every_parameter_of_every_public_function_stands_in_the_table(tmp_path: Path) -> None:
    calls = {name: call for make in GROUPS.values() for name, call in make(tmp_path).items()}
    for name, function in public_functions().items():
        given = [set(call.given) for key, call in calls.items() if key.split(" ")[0] == name]
        assert given, name
        assert set(inspect.signature(function).parameters) == set().union(*given), name
