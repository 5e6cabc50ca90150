"""The order of imports, and what no file of the package may hold. Everything is read, not run."""

import ast
import dataclasses
import importlib
import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import negjax

ROOT = Path(__file__).parent.parent
FILES = [
    path
    for folder in ("negjax", "experiments", "tests")
    for path in sorted((ROOT / folder).rglob("*.py"))
]

# Data flows down this list: a module may import those above it, never one below.
ORDER = {
    "text and files": "escaping quiet notices accelerators memory records given given_files "
    "whole_files locks tables gguf_tokenizer checkpoints checkpoints.gguf_header checkpoints.hub "
    "checkpoints.sources",
    "model": "model model.config model.products model.layers model.packing model.attention "
    "model.transformer model.replay model.targets model.readout model.chunks model.tails "
    "model.rows model.joint_rows model.row_gradients",
    "weights": "checkpoints.conversion families.harmless families.settings families.common "
    "families.bert families.gpt2 families.llama families checkpoints.safetensors_files "
    "checkpoints.tokenizer_files checkpoints.gguf_files language_model loading export",
    "probes": "neurons finite token_ids probes encoding batching common_heads passes answers "
    "writes",
    "benchmark": "mceval8k.catalogue mceval8k.files mceval8k.identity mceval8k.splitting "
    "mceval8k.demonstrating mceval8k.wording mceval8k.benchmark mceval8k.sampling "
    "mceval8k.encoding mceval8k",
    "measurements": "gradients interventions shifted_outputs sweeps joint_interventions chebyshev "
    "second_order estimators.integrated estimators.each_neuron estimators",
    "pretraining": "pretraining pretraining.corpus pretraining.vocabulary pretraining.batches "
    "pretraining.training pretraining.saved_states pretraining.recall",
    "control": "control.rays control.search control.arguments control.odds control.outcome "
    "control.unrelated control.turning control.steering control.folding control.scores "
    "control.editing control",
    "analysis": "linearity study ranking",
    "store": "store",
    "skills": "skills.checks skills.codes skills.votes skills.rankings skills.fitted "
    "skills.polarity skills.act skills.forest skills.proximal skills.linear_path skills.linear "
    "skills.baselines skills.curves skills.explanations skills.accuracy skills.sharing "
    "skills.saved skills.feature_streams skills.feature_files skills.features skills",
    "report": "figures map_figures estimator_figures training_figures set_figures control_figures "
    "skill_figures report",
    "package": "",
}
EXPERIMENTS = (
    "experiments experiments.baselines experiments.baselines.torch_model "
    "experiments.baselines.torch_forward experiments.baselines.torch_serial "
    "experiments.baselines.torch_best experiments.messages experiments.command_line "
    "experiments.program_cache experiments.terminal experiments.common experiments.documents "
    "experiments.provenance experiments.flag_lists "
    "experiments.page_parts experiments.paper experiments.facts experiments.facts_page "
    "experiments.bench_cases experiments.bench_child "
    "experiments.bench_processes experiments.bench_study experiments.bench_table "
    "experiments.bench "
    "experiments.curves "
    "experiments.linearity_results experiments.linearity_report experiments.linearity_page "
    "experiments.linearity experiments.neg_map_page experiments.neg_map "
    "experiments.estimators_results experiments.estimators_ranges experiments.estimators_doses "
    "experiments.estimators_hidden experiments.estimators_work experiments.estimators_study "
    "experiments.estimators_tables experiments.estimators_report experiments.estimators_page "
    "experiments.estimators "
    "experiments.pretrain_job experiments.pretrain_results experiments.pretrain_card "
    "experiments.pretrain_page experiments.pretrain_bert "
    "experiments.multi_neuron_sets experiments.multi_neuron_results "
    "experiments.multi_neuron_report experiments.multi_neuron_page experiments.multi_neuron "
    "experiments.control_edits experiments.control_work experiments.control_tables "
    "experiments.control_results "
    "experiments.control_report experiments.control_page experiments.control "
    "experiments.compare experiments.benchmark_flags experiments.mceval8k_leaks_page "
    "experiments.mceval8k_leaks "
    "experiments.skills_inputs experiments.skills_jobs experiments.skills_study "
    "experiments.skills_probes experiments.skills_page experiments.probe_flags experiments.skills "
    "experiments.skills_by_task "
    "experiments.skills_efficiency_page experiments.skills_efficiency "
    "experiments.skills_flexibility_page experiments.skills_flexibility "
    "experiments.skills_interdependency_page experiments.skills_interdependency "
    "experiments.skills_transfer experiments.skills_robustness_results "
    "experiments.skills_robustness_page experiments.skills_robustness "
    "experiments.skills_inclusivity_results experiments.skills_inclusivity_page "
    "experiments.skills_inclusivity"
)
MODULES = [
    *(f"negjax.{name}" for names in ORDER.values() for name in names.split()),
    "negjax",
    *EXPERIMENTS.split(),
]


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


def test_every_module_has_a_place():
    assert sorted(LIBRARY) == sorted(MODULES)


@pytest.mark.parametrize("name", LIBRARY)
def test_imports_point_up(name):
    own = [module for module in imported(LIBRARY[name]) if module in LIBRARY]
    wrong = [module for module in own if MODULES.index(module) >= MODULES.index(name)]
    assert not wrong, f"{name} imports {wrong}"


def reached(name: str) -> set[str]:
    """A module and all of the library that it imports, directly or through others."""
    found, todo = set(), [name]
    while todo:
        module = todo.pop()
        if module in LIBRARY and module not in found:
            found.add(module)
            todo.extend(imported(LIBRARY[module]))
    return found


@pytest.mark.parametrize(
    ("defining", "reading"),
    [
        ("facts", "linearity neg_map estimators multi_neuron control compare"),
        ("probe_flags", "skills skills_robustness"),
        ("skills_transfer", "skills_robustness skills_inclusivity"),
    ],
)
def test_only_experiments_that_read_flags_know_them(defining, reading):
    """Elsewhere such a flag is unknown, not silently without effect."""
    programs = [name for name, tree in LIBRARY.items() if "main" in public(tree)]
    asking = {name for name in programs if f"experiments.{defining}" in reached(name)}
    assert asking == {f"experiments.{name}" for name in reading.split()}


def test_the_package_itself_is_imported_by_experiments_alone():
    importers = {name for name, tree in LIBRARY.items() if "negjax" in set(imported(tree))}
    assert all(name.startswith("experiments.") for name in importers)


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
        if name.startswith(("experiments.baselines.", "tests.torch.", "tests.make_"))
    } | {"experiments.bench_child"}


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
        if isinstance(member, Mapping | tuple):  # A table: its comments say what it holds.
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
    for name in EXPERIMENTS.split():
        if "baselines" not in name:
            importlib.import_module(name)
