"""Probes of skill neurons: how they are fitted, what they hold and how they predict."""
