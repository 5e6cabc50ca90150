"""The user's process: importing and loading change nothing in it, `configure_process` does."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import negjax
from negjax.process import memory, xla_options

STATE = """
import os, warnings
import jax
from jax._src import monitoring, xla_bridge

def state():
    of_times, others = monitoring.get_event_duration_listeners(), monitoring.get_event_listeners()
    return dict(os.environ), len(of_times) + len(others)

before = state()
import negjax
"""


def run(code: str, *paths: Path) -> subprocess.CompletedProcess[str]:
    """A program of its own, which ends with an error where an assertion fails."""
    folders = os.pathsep.join(map(str, (Path(negjax.__file__).parent.parent, *paths)))
    environment = {**os.environ, "PYTHONPATH": folders, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
    return subprocess.run(
        [sys.executable, "-c", STATE + code], env=environment, text=True, capture_output=True
    )


def test_importing_changes_nothing():
    """No variable of the environment, no listener, no device; JAX alone is imported before."""
    done = run("""
import experiments.linearity.program, negjax.skills, negjax.mceval8k
after = state()
assert after == before, (before, after)
assert not xla_bridge.backends_are_initialized()
""")
    assert done.returncode == 0, done.stderr


def test_loading_changes_nothing_and_says_once_what_would_be_changed(tmp_path):
    """With a plugin for GPUs; after `configure_process` there is nothing left to say."""
    (tmp_path / "jax_plugins").mkdir()
    code = f"""
option, ours = {xla_options.NO_TRITON!r}, before[1] + 1

def said(times, action):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter(action)
        for _ in range(times):
            negjax.load("facts-bert")
    return [str(one.message) for one in caught if one.category is negjax.Notice]

(text,) = said(2, "default")
assert "negjax.configure_process()" in text and option in text and "memory" in text, text
assert state() == before
negjax.configure_process()
negjax.configure_process()
assert os.environ["XLA_FLAGS"] == {xla_options.FRUGAL!r} + " " + option
assert state()[1] == ours
assert said(1, "always") == []
"""
    done = run(code, tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("given", ["", f"{xla_options.NO_TRITON.partition('=')[0]}=true"])
def test_without_a_plugin_or_with_a_choice_nothing_is_said(monkeypatch, given, recwarn):
    monkeypatch.setenv("XLA_FLAGS", given)
    plugin = None if not given else object()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: plugin)
    assert not xla_options.compiles_slowly()
    negjax.load("facts-bert")
    assert not [one for one in recwarn if one.category is negjax.Notice]


def test_configuring_returns_what_compiling_took(monkeypatch):
    calls: list[str] = []
    monkeypatch.setattr(memory, "give_back_after_compiling", lambda: calls.append("memory"))
    monkeypatch.setattr(xla_options, "add", lambda: calls.append("programs"))
    negjax.configure_process()
    assert sorted(calls) == ["memory", "programs"]
