"""How much is computed at once where there is a GPU."""

import jax

from negjax.execution import batching, passes, row_plans
from negjax.measurements import gradient_plans


def test_accelerators_compute_more_at_once(monkeypatch):
    """Each operation has a price there, and there is no cache to stay in."""
    for number in (row_plans.chunk_tokens, passes.pass_tokens):
        here = number()
        with monkeypatch.context() as patch:
            patch.setattr(jax, "default_backend", lambda: "gpu")
            assert number() > here
    assert batching.tokens_at_once(1, 2) == 1
    assert gradient_plans.ACCELERATOR_FEW_TOKENS > gradient_plans.FEW_TOKENS
