"""Prompts of random tokens for models whose tokenizers mean nothing."""

import numpy as np

import negjax
from negjax.model.language_model import LanguageModel

MASK_ID = 3


def asked(lm: LanguageModel) -> negjax.Probes:
    """Two prompts of 13 and 9 tokens, the shorter one padded."""
    generator = np.random.default_rng(4)
    mask = np.arange(13) < np.asarray([[13], [9]])
    tokens = np.where(mask, generator.integers(4, lm.config.vocab_size, mask.shape), 0)
    read: np.ndarray = mask.sum(1) - 1
    if not lm.config.causal:
        read = np.asarray([6, 4])
        tokens[[0, 1], read] = MASK_ID
    length = 3 if lm.config.causal else 1
    ids = generator.integers(4, lm.config.vocab_size, (2, 1, length))
    return negjax.Probes(
        prompts=("", ""),
        targets=(("",), ("",)),
        tokens=tokens,
        mask=mask,
        read=read,
        target_ids=ids,
        target_mask=np.ones(ids.shape, bool),
        target_mode="all" if lm.config.causal else "single",
        mask_id=None if lm.config.causal else MASK_ID,
    )
