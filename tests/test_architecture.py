"""The order of imports, and what no file of the package may hold. Everything is read, not run."""

import ast
import dataclasses
import functools
import importlib
import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import negjax
from tests.support.places import ROOT

FILES = [
    path
    for folder in ("negjax", "experiments", "tests")
    for path in sorted((ROOT / folder).rglob("*.py"))
]

# Rooms of the library, from the ground up: what each may import besides itself, `checks`,
# `errors`, `records` and `tabular`, which know nothing of ours.
GROUND = ("negjax.checks", "negjax.errors", "negjax.records", "negjax.tabular")
BELOW_MEASUREMENTS = (
    *("negjax.process", "negjax.storage", "negjax.model", "negjax.replay", "negjax.weights"),
    *("negjax.inputs", "negjax.execution"),
)
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "negjax.checks": (),
    "negjax.errors": (),
    "negjax.records": (),
    "negjax.tabular": (),
    "negjax.process": (),
    "negjax.storage": ("negjax.process",),
    "negjax.model": ("negjax.process",),
    "negjax.replay": ("negjax.model",),
    "negjax.weights": ("negjax.process", "negjax.storage", "negjax.model"),
    "negjax.inputs": ("negjax.process", "negjax.storage", "negjax.model", "negjax.weights"),
    "negjax.execution": (*("negjax.process", "negjax.model", "negjax.replay", "negjax.inputs"),),
    "negjax.measurements": BELOW_MEASUREMENTS,
    "negjax.generation": BELOW_MEASUREMENTS,
    # Methods on measurements, never on each other.
    "negjax.estimators": (*BELOW_MEASUREMENTS, "negjax.measurements"),
    "negjax.control": (*BELOW_MEASUREMENTS, "negjax.measurements", "negjax.generation"),
    "negjax.corpus": BELOW_MEASUREMENTS,
    "negjax.skills": (*BELOW_MEASUREMENTS, "negjax.measurements"),
    "negjax.mceval8k": ("negjax.storage", "negjax.model", "negjax.weights", "negjax.inputs"),
    # The public face, and what tells of it.
    "negjax": ("negjax",),
    "negjax.about": ("negjax",),
    "experiments": (),
    "experiments.paper": (),
    # From records and arrays to what people see: no model, no inputs.
    "experiments.reporting": ("experiments.paper", "negjax.measurements", "negjax.storage"),
    "experiments.running": ("experiments.reporting", "negjax"),
    "experiments.inputs": (
        *("experiments.paper", "experiments.running", "experiments.reporting", "negjax"),
    ),
    "experiments.skill_studies": (
        *("experiments.inputs", "experiments.running", "experiments.reporting", "negjax"),
    ),
}
ROOMS_OF_A_STUDY = (
    *("experiments.paper", "experiments.reporting", "experiments.running", "experiments.inputs"),
    *("experiments.skill_studies", "negjax"),
)


MOST_LINES, MOST_FLAT = 350, 6


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_name(path): ast.parse(path.read_text(encoding="utf-8")) for path in FILES}
LIBRARY = {name: tree for name, tree in SOURCES.items() if not name.startswith("tests")}


def imported(tree: ast.AST) -> Iterator[str]:
    """Every module that a file imports, wherever it does so."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the order"
            for alias in node.names:
                member = f"{node.module}.{alias.name}"
                yield member if member in LIBRARY else str(node.module)


def room_of(module: str) -> str:
    """The room that a module is in: the longest that its name begins with; or its study."""
    rooms = [room for room in MAY_IMPORT if module == room or module.startswith(f"{room}.")]
    room = max(rooms, key=len)
    if room == "experiments" and module != room:
        return ".".join(module.split(".")[:2])
    return room


def is_study(room: str) -> bool:
    return room.startswith("experiments.") and room not in MAY_IMPORT


def test_every_module_has_a_room():
    flat = [name for name in LIBRARY if name.count(".") == 1 and name.startswith("negjax.")]
    alone = [name for name in flat if not (ROOT / name.replace(".", "/")).is_dir()]
    assert sorted(alone) == sorted([*GROUND, "negjax.about"])
    for name in LIBRARY:
        room = room_of(name)
        assert (room == "negjax") == (name == "negjax"), f"{name} is in no room"
        if is_study(room):
            assert (ROOT / room.replace(".", "/") / "__main__.py").is_file(), name


def test_files_stay_short():
    lengths = {module_name(path): len(path.read_bytes().splitlines()) for path in FILES}
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES} == {}


def test_files_stand_in_rooms():
    assert len(list((ROOT / "negjax").glob("*.py"))) <= MOST_FLAT
    flat = {path.name for path in (ROOT / "experiments").glob("*.py")}
    assert flat == {"__init__.py", "paper.py"}


def test_tests_stand_in_the_rooms_that_they_test():
    """A package of tests has the name of a package of `negjax`, or of one of the experiments."""
    packages = {
        module_name(path).removeprefix("tests.")
        for path in (ROOT / "tests").rglob("__init__.py")
        if path.parent != ROOT / "tests"
    }
    for package in packages - {"browser", "support", "torch"}:
        assert {package, f"negjax.{package}"} & LIBRARY.keys(), package
    assert not list((ROOT / "tests" / "support").rglob("test_*.py"))


@pytest.mark.parametrize("name", LIBRARY)
def test_rooms_import_the_rooms_that_they_may(name):
    room = room_of(name)
    allowed = MAY_IMPORT.get(room, ROOMS_OF_A_STUDY)
    for module in imported(LIBRARY[name]):
        if module not in LIBRARY:
            continue
        other = room_of(module)
        whole = other.startswith("negjax") and "negjax" in allowed
        known = other in (room, *GROUND, *allowed) or whole
        assert known, f"{name} ({room}) imports {module} ({other})"


def test_nothing_is_imported_in_a_circle():
    """Packages alone aside, which name what is inside them."""
    left = {
        name: {module for module in imported(tree) if module in LIBRARY and module != name}
        for name, tree in LIBRARY.items()
    }
    while left:
        free = [name for name, needed in left.items() if not needed & left.keys()]
        assert free, f"a circle among {sorted(left)}"
        for name in free:
            del left[name]


def reached(name: str) -> set[str]:
    """A module and all of the library that it imports, directly or through others."""
    found, todo = set(), [name]
    while todo:
        module = todo.pop()
        if module in LIBRARY and module not in found:
            found.add(module)
            todo.extend(imports_of(module))
    return found


@functools.cache
def imports_of(module: str) -> tuple[str, ...]:
    """Every module that one of the library imports."""
    return tuple(imported(LIBRARY[module]))


@pytest.mark.parametrize(
    ("defining", "reading"),
    [
        ("inputs.facts", "linearity neg_map estimators multi_neuron control trace windows atlas"),
        ("inputs.written_texts", "control windows"),
        ("inputs.probe_flags", "skills skills_robustness"),
        ("skill_studies.transfer", "skills_robustness skills_inclusivity"),
    ],
)
def test_only_experiments_that_read_flags_know_them(defining, reading):
    """Elsewhere such a flag is unknown, not silently without effect."""
    entries = {"main", "prepare"}
    programs = [name for name, tree in LIBRARY.items() if entries.intersection(public(tree))]
    asking = {name for name in programs if f"experiments.{defining}" in reached(name)}
    assert asking == {f"experiments.{name}.program" for name in reading.split()}


def test_the_package_itself_is_imported_by_experiments_alone():
    importers = {name for name, tree in LIBRARY.items() if "negjax" in set(imported(tree))}
    assert all(name.startswith("experiments.") for name in importers - {"negjax.about"})


def public(tree: ast.Module) -> list[str]:
    """Functions and classes of a module without a leading underscore."""
    kinds = (ast.FunctionDef, ast.ClassDef)
    return [n.name for n in tree.body if isinstance(n, kinds) and not n.name.startswith("_")]


def test_modules_and_functions_share_no_names():
    modules = {name.rpartition(".")[2] for name in LIBRARY}
    shared = {name: modules.intersection(public(tree)) for name, tree in LIBRARY.items()}
    assert {name: found for name, found in shared.items() if found} == {}


def test_torch_is_imported_by_the_comparisons_alone():
    importers = {
        name
        for name, tree in SOURCES.items()
        if any(module.partition(".")[0] == "torch" for module in imported(tree))
    }
    assert importers <= {
        name
        for name in SOURCES
        if name.startswith(("experiments.bench.baselines.", "tests.torch.", "tests.support.make_"))
    } | {"experiments.bench.child"}


FLAGS_OF_OTHERS = (
    "--no-deps",  # pip's
    "--bigendian",  # of the converter to GGUF
    # In the environment variable that XLA reads.
    "--xla_gpu_enable_triton_gemm",
    "--xla_cpu_enable_concurrency_optimized_scheduler",
)


@pytest.mark.parametrize("name", [n for n in LIBRARY if n.partition(".")[0] == "negjax"])
def test_the_library_has_no_command_line_and_draws_nothing_but_its_bars(name):
    """Its messages name arguments, which a command line spells as its flags (`errors.Message`)."""
    above = {"absl", "argparse", "matplotlib", "experiments"}
    if name != "negjax.process.bars":
        above.add("tqdm")
    assert not above.intersection(m.partition(".")[0] for m in imported(LIBRARY[name]))
    for text in texts(LIBRARY[name]):
        flags = re.findall(r"(?<![\w-])--?[a-z][\w-]+|python -m \w+", text)
        assert set(flags) <= set(FLAGS_OF_OTHERS), text


def texts(tree: ast.AST) -> Iterator[str]:
    """What a user may read: all texts but those of documentation."""
    documents = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in documents:
            yield str(node.value)


@pytest.mark.parametrize("name", SOURCES)
def test_nothing_is_unpickled(name):
    loaders = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    assert not loaders.intersection(m.partition(".")[0] for m in imported(SOURCES[name]))
    for node in ast.walk(SOURCES[name]):
        if isinstance(node, ast.keyword) and node.arg in ("trust_remote_code", "allow_pickle"):
            assert isinstance(node.value, ast.Constant) and node.value.value is False, node.arg


@pytest.mark.parametrize("name", LIBRARY)
def test_no_first_device(name):
    """Nothing picks a device by its number: arrays lie where the caller put them."""
    for node in ast.walk(LIBRARY[name]):
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Call):
            called = ast.unparse(node.value.func)
            assert not called.endswith(("jax.devices", "jax.local_devices")), ast.unparse(node)


@pytest.mark.parametrize("name", LIBRARY)
def test_no_state_in_modules(name):
    """No container that starts empty, no cache, no `global`: results depend on arguments alone."""
    tree = LIBRARY[name]
    for statement in tree.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            text = ast.unparse(statement.value)
            assert text not in ("[]", "{}", "set()", "dict()", "list()", "None"), statement.lineno
            assert not text.startswith(("defaultdict(", "collections.", "weakref.")), text
    assert not any(isinstance(node, ast.Global) for node in ast.walk(tree))
    for node in ast.walk(tree):
        for decorator in getattr(node, "decorator_list", []):
            assert "cache" not in ast.unparse(decorator), ast.unparse(decorator)


def test_every_public_name_is_documented():
    members = {name: getattr(negjax, name) for name in negjax.__all__}
    for package in [member for member in members.values() if inspect.ismodule(member)]:
        members |= {f"{package.__name__}.{n}": getattr(package, n) for n in package.__all__}
    for name, member in members.items():
        if isinstance(member, Mapping | tuple | int):  # A constant: its comment says what it is.
            continue
        assert inspect.getdoc(member), name
        # A dataclass without a docstring gets its signature for one.
        assert not str(inspect.getdoc(member)).startswith(f"{member.__name__}("), name
        if inspect.isfunction(inspect.unwrap(member)):  # Jitted or not.
            assert member.__module__ in LIBRARY
        else:
            named_tuple = inspect.isclass(member) and issubclass(member, tuple)
            record = dataclasses.is_dataclass(member) or named_tuple
            notice = inspect.isclass(member) and issubclass(member, Warning)
            assert inspect.ismodule(member) or record or notice, name
    assert sorted(negjax.__all__) == negjax.__all__


@pytest.mark.parametrize("name", LIBRARY)
def test_every_module_says_what_it_is(name):
    assert ast.get_docstring(LIBRARY[name])


def test_experiments_have_flags_of_their_own():
    """A flag that two of them define could not be used by whoever imports both."""
    for name in (name for name in LIBRARY if name.startswith("experiments")):
        if "baselines" not in name:
            importlib.import_module(name)
