"""Probes of a case's tokens, whose texts do not matter."""

import numpy as np

import negjax


def blank_probes(tokens: np.ndarray, mask: np.ndarray, targets: np.ndarray) -> negjax.Probes:
    """Prompts that are read at their last token.

    Args:
        tokens, mask: [B, T].
        targets: token ids [B, K], one a target.
    """
    ids = targets[..., None]
    return negjax.Probes(
        prompts=("",) * len(mask),
        targets=(("",) * targets.shape[1],) * len(mask),
        tokens=tokens,
        mask=mask,
        read=mask.sum(1) - 1,
        target_ids=ids,
        target_mask=np.ones_like(ids, bool),
    )
