"""Texts that a model writes while its neurons are moved, beside what it thinks of them unmoved."""
