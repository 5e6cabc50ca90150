"""Writes `tests/golden/smollm2_small.npz`: a piece of the float64 references of the embedded model.

    python -m tests.support.make_small_golden

It needs the full references beside the repository. Kept: two prompts, their gradients and
activations of 384 neurons each (the 64 of largest gradient, the others random), two swept neurons.
"""

import numpy as np

from tests.support.places import STORED
from tests.support.shared_data import GOLDEN

SMALL = STORED / "smollm2_small.npz"
PROMPTS = (1, 2)
LARGEST, RANDOM = 64, 320
SWEPT = (0, 7)


def main() -> None:
    full = np.load(GOLDEN / "smollm2_neg.npz")
    rows = list(PROMPTS)
    kept = {
        name: full[name][rows]
        for name in ("prompt", "answer", "token_ids", "length", "target", "p_target")
    }
    flat = {
        name: full[name][rows].reshape(len(rows), -1)
        for name in ("act_up", "act_product", "grad_up", "grad_product")
    }
    size = flat["grad_up"].shape[1]
    neurons = []
    for row in range(len(rows)):
        largest = np.argsort(-np.abs(flat["grad_up"][row]))[:LARGEST]
        rest = np.setdiff1d(np.arange(size), largest)
        chosen = np.random.default_rng(row).choice(rest, RANDOM, replace=False)
        neurons.append(np.sort(np.concatenate([largest, chosen])))
    kept["neuron"] = np.stack(neurons).astype(np.int32)
    for name, values in flat.items():
        kept[name] = np.take_along_axis(values, kept["neuron"], axis=1)
        # Tolerances are in units of the largest value of all neurons.
        kept[f"largest_{name}"] = np.abs(values).max()
    for name in ("sweep_layer", "sweep_neuron", "sweep_p_up", "sweep_p_product"):
        kept[name] = full[name][rows][:, list(SWEPT)]
    kept["sweep_delta"] = full["sweep_delta"]
    np.savez_compressed(SMALL, **kept)


if __name__ == "__main__":
    main()
