"""Skill neurons: probes that answer a task from a model's neurons alone."""
