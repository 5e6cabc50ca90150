"""What compiling took goes back to the system, and nothing is done for short compilations."""

import jax
import jax.numpy as jnp
import pytest

from negjax.process import memory


@pytest.mark.parametrize(
    ("event", "seconds", "returned"),
    [
        (memory.COMPILED, memory.LONG, 1),
        (memory.COMPILED, 0.9 * memory.LONG, 0),
        ("/jax/core/compile/jaxpr_trace_duration", 10 * memory.LONG, 0),
    ],
)
def test_after_long_compilations(monkeypatch, event, seconds, returned):
    memory.give_back_after_compiling()
    memory.give_back_after_compiling()
    calls: list[int] = []
    monkeypatch.setattr(memory, "give_back", lambda: calls.append(1))
    jax.monitoring.record_event_duration_secs(event, seconds)
    assert len(calls) == returned


def test_jax_tells_when_it_has_compiled(monkeypatch):
    """By the name that is listened to, before the program runs."""
    memory.give_back_after_compiling()
    calls: list[int] = []
    monkeypatch.setattr(memory, "give_back", lambda: calls.append(1))
    monkeypatch.setattr(memory, "LONG", 0.0)
    x = jnp.arange(5.0)
    before = len(calls)
    program = jax.jit(lambda x: jnp.sin(x) * 41.5 + jnp.cos(3.25 * x))
    program.lower(x).compile()
    assert len(calls) > before
