"""One of each record of a corpus and of files of neurons."""

import numpy as np

import negjax
from negjax import corpus

TEXTS = ["w3 w5 w7"]


def corpus_records(lm: negjax.LanguageModel) -> list[object]:
    """Of a tiny model, with 3 layers of 20 neurons."""
    found = negjax.corpus_statistics(lm, TEXTS, ["a"], extremes=1)
    none = np.zeros((3, 20))
    return [
        *(found, found.top, found.groups),
        corpus.contexts(lm, found, TEXTS, [[0, 1]])[0][0],
        corpus.LanguageNeurons(
            labels=("a",),
            site="up",
            level=0.1,
            entropy=none,
            chosen=none > 0,
            masks=none[None] > 0,
        ),
        negjax.NeuronMask(mask=none > 0, model="m", fingerprint="f", site="up"),
        negjax.NeuronTable(neurons=np.zeros((4, 2), int), values=np.zeros(4)),
    ]
