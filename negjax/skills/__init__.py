"""Skill neurons: probes that answer a task from a model's neurons alone.

    probe = negjax.skills.Polar(k=64).fit(scores, gold)      # scores [B, K, L, F], gold [B]
    probe.neurons, probe.polarity, probe.predict(others)
    probe.save("ner.safetensors"); negjax.skills.load_probe("ner.safetensors")

`Polar`, `Magn`, `Tree` and `Linear` read scores, one a label: NeurGrad or another gradient. `Act`
reads activations, `LMProb` output probabilities. For more prompts than fit memory, scores become
codes (`encode_scores`: one or two bytes a neuron), from which everything above can be fitted and
predicted, and `Polar` and `Magn` only need sums over batches (`polar_votes`, `magn_votes`).
`extract` (`negjax.skills.features`) runs any number of prompts through a model and keeps just that.
"""

from negjax.skills.evaluation.accuracy import Interval, bootstrap_interval, share_right
from negjax.skills.evaluation.curves import predict_by_neurons, predict_by_set, votes_by_prompts
from negjax.skills.evaluation.explanations import Explanation, explain
from negjax.skills.evaluation.sharing import Chance, chance_jaccard, jaccard
from negjax.skills.features.feature_files import Features, read_features
from negjax.skills.features.feature_streams import activation_windows, chosen_scores
from negjax.skills.features.features import extract
from negjax.skills.probes.act import Act, ActProbe
from negjax.skills.probes.baselines import LMProb, LMProbProbe, Majority, MajorityProbe, Random
from negjax.skills.probes.codes import code_dtype, decode_scores, encode_scores
from negjax.skills.probes.fitted import FittedProbe, ScoreProbe
from negjax.skills.probes.forest import ForestProbe, Tree, score_features
from negjax.skills.probes.linear import Linear, LinearProbe, choose
from negjax.skills.probes.polarity import Magn, MagnProbe, Polar, PolarProbe
from negjax.skills.probes.rankings import MAGN, POLAR, Ranking, Rule, random_ranking, rank_neurons
from negjax.skills.probes.saved import load_probe
from negjax.skills.probes.votes import magn_votes, polar_votes

__all__ = [
    "MAGN",
    "POLAR",
    "Act",
    "ActProbe",
    "Chance",
    "Explanation",
    "Features",
    "FittedProbe",
    "ForestProbe",
    "Interval",
    "LMProb",
    "LMProbProbe",
    "Linear",
    "LinearProbe",
    "Magn",
    "MagnProbe",
    "Majority",
    "MajorityProbe",
    "Polar",
    "PolarProbe",
    "Random",
    "Ranking",
    "Rule",
    "ScoreProbe",
    "Tree",
    "activation_windows",
    "bootstrap_interval",
    "chance_jaccard",
    "choose",
    "chosen_scores",
    "code_dtype",
    "decode_scores",
    "encode_scores",
    "explain",
    "extract",
    "jaccard",
    "load_probe",
    "magn_votes",
    "polar_votes",
    "predict_by_neurons",
    "predict_by_set",
    "random_ranking",
    "rank_neurons",
    "read_features",
    "score_features",
    "share_right",
    "votes_by_prompts",
]
