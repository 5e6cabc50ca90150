"""Fixtures that several files share, and which tests run where."""

import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import jax
import pytest
from absl.testing import flagsaver

import negjax.weights.loading
from experiments.running import documents
from negjax.model.language_model import LanguageModel
from negjax.storage.buckets import Bucket
from tests.support import drawn_figures
from tests.support.shared_data import EXPECTED
from tests.support.tiny_runs import undraw

# Of memory, after a test: a third of what Linux allows a process.
MOST_PIECES = 20_000

QUICKLY = ("--xla_cpu_use_fusion_emitters=false", "--xla_cpu_parallel_codegen_split_count=1")

# How long an example takes says nothing on a machine that others use as well.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")


def pytest_configure(config: pytest.Config) -> None:
    # Most of the time goes into compiling, of which optimising tiny programs takes more than it
    # saves; processes that tests start are told as well, so that they round alike.
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
    # Comparisons with PyTorch run what users run.
    if not any("torch" in argument for argument in config.args):
        _compile_plainly()
    # Processes and files often ask for the same programs, small ones by the thousand.
    if getattr(config, "cache", None) is not None:
        for name, value in {
            "jax_compilation_cache_dir": str(config.cache.mkdir("jax")),
            "jax_persistent_cache_min_compile_time_secs": 0.0,
        }.items():
            jax.config.update(name, value)
            os.environ[name.upper()] = str(value)


def _compile_plainly() -> None:
    """Asks XLA for code that is made in less than half the time.

    Its older and simpler code for fused loops, in one piece: pieces are for more processors than
    two processes leave each other.
    """
    # Of a flag that it does not know, a newer XLA would die; processes of xdist's are told by the
    # first one's environment.
    trial = [sys.executable, "-c", "import jax; jax.devices()"]
    given = os.environ.get("XLA_FLAGS", "")
    for flag in (flag for flag in QUICKLY if flag not in given):
        environment = {**os.environ, "XLA_FLAGS": flag}
        if not subprocess.run(trial, env=environment, capture_output=True).returncode:
            given = f"{given} {flag}"
    os.environ["XLA_FLAGS"] = given


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what cannot run without the delivered references; in CI they must be there."""
    if EXPECTED:
        return
    left_out = [item for item in items if item.get_closest_marker("shared")]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """What a test compiles, and the fixtures made for it, is optimised if it has a real model."""
    real = bool({"smollm2", "facts_bert"} & set(getattr(item, "fixturenames", ())))
    optimised = real or item.get_closest_marker("optimised") is not None
    jax.config.update("jax_disable_most_optimizations", not optimised)


@pytest.fixture(scope="module", autouse=True)
def _compiled(request: pytest.FixtureRequest) -> Iterator[None]:
    """What files compile is forgotten if it was to be optimised."""
    alone = request.node.get_closest_marker("optimised") is not None
    if alone:
        jax.clear_caches()
    yield
    if alone:
        jax.clear_caches()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """What tests compile is forgotten when it is much, in the middle of a file, too.

    A process may map only so many pieces of memory (on Linux, vm.max_map_count), each computation
    takes some, and LLVM dies of the first that is refused.
    """
    if _mapped_pieces() > MOST_PIECES:
        jax.clear_caches()


def _mapped_pieces() -> float:
    maps = Path("/proc/self/maps")
    return maps.read_bytes().count(b"\n") if maps.exists() else math.inf


@pytest.fixture(autouse=True)
def _strict_drawing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A figure that cannot be drawn is an error, unless a test is marked `lenient`."""
    if request.node.get_closest_marker("lenient") is None:

        def refuse(name: str, reason: str, error: Exception) -> None:
            raise error

        monkeypatch.setattr(documents, "say_failed", refuse)


@pytest.fixture
def restored_flags() -> Iterator[None]:
    """Flags are as they were before the test."""
    with flagsaver.flagsaver():
        yield


@pytest.fixture
def well_drawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures that are rendered cut no text off and have no legend over what they show."""
    if "undrawn" not in request.fixturenames:
        drawn_figures.watch(monkeypatch)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are built, but not rendered, which takes longer than the rest of a tiny run."""
    undraw(monkeypatch)


@pytest.fixture(scope="session")
def smollm2() -> LanguageModel:
    """The embedded model, loaded once a session."""
    return negjax.weights.loading.load("smollm2-135m-instruct")


@pytest.fixture(scope="module")
def servers() -> Iterator[None]:
    """Servers of buckets, which this process and its children find."""
    # Here: few tests need them, and they take a second to import.
    from tests.support import bucket_servers

    with bucket_servers.found():
        yield


@pytest.fixture(params=["s3", "gs"])
def bucket(request: pytest.FixtureRequest, servers: None) -> Bucket:
    """A folder of a bucket in which there is nothing yet."""
    from tests.support import bucket_servers

    return Bucket(bucket_servers.fresh(request.param))
