"""Is the relation between a neuron's activation and the probability of the answer linear?

    python -m experiments.linearity --flagfile=experiments/flagfiles/linearity_quick.flags

Time: 2 minutes on 2 cores with the embedded model (48 prompts × 40 neurons, shifts ±10 by 0.2);
quickstart.flags (24 × 40) takes 1, linearity_paper.flags (723 × 1,000) some 10 hours.
Expected: within ±2, |r| ≥ 0.95 for over 90% of the neurons, about half of them positive, and
NeurGrad close to NEG.
Paper: Zhao, Jiang, Yoshinaga, *Neuron Empirical Gradient*, ACL 2025, arXiv 2412.18053.

Shifts random neurons one at a time and measures, for each shift range, how linear P(answer) is in
the activation (Pearson r), how steep (NEG), and how well NeurGrad predicts the steepness. Curves
are measured as Chebyshev series (`negjax.response`), on the plain grid, or both, compared.
"""

from experiments.running import start

with start.importing("linearity"):
    from experiments.linearity import program
    from experiments.running import study

if __name__ == "__main__":
    study.main(program.prepare)
