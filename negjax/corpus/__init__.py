"""Every neuron over a corpus: statistics in one stream, and what they say of texts' groups."""

from negjax.corpus.by_group import LanguageNeurons, contrast, language_neurons
from negjax.corpus.mean_ablation import mean_sets
from negjax.corpus.showing import Context, contexts
from negjax.corpus.streaming import corpus_statistics
from negjax.corpus.summaries import SIGNS, CorpusStatistics, Extremes, GroupStatistics

__all__ = [
    "SIGNS",
    "Context",
    "CorpusStatistics",
    "Extremes",
    "GroupStatistics",
    "LanguageNeurons",
    "contexts",
    "contrast",
    "corpus_statistics",
    "language_neurons",
    "mean_sets",
]
