"""Do tasks share skill neurons? Overlaps, layers, and what another task's neurons know."""
