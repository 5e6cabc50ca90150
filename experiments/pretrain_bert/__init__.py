"""Trains a small BERT on statements of facts: a masked LM to measure where none can be fetched."""
