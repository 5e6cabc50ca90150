"""Do the effects of many neurons add up, and for how many?

    python -m experiments.multi_neuron --flagfile=experiments/flagfiles/multi_neuron_quick.flags

Time: under 3 minutes on 2 cores with the embedded model (3 prompts, sets of up to 4,096 neurons);
multi_neuron_paper.flags (100 prompts, more shifts and draws) an estimated 4 hours.
Expected: the correlation of the predicted change of P(answer) with the measured one falls as sets
and shifts grow; the paper reports r ≥ 0.7 for 2^12 neurons. With the embedded model: r ≈ 0.9 for
4,096 drawn neurons at ±0.5, 0.7 at ±1, 0.2 at ±2.
Paper: Zhao, Jiang, Yoshinaga, *Neuron Empirical Gradient*, ACL 2025, arXiv 2412.18053.

Shifts 2^0 … 2^12 neurons together, by up to ±2: drawn from all neurons, evenly over the layers,
from one layer, or those of largest |NeurGrad|. Each neuron's NEG is measured alone, exactly;
predicted are Σ NEG_i x_i and Σ NeurGrad_i x_i. Neurons of several layers are shifted from what
their activations have become, or clamped to where the shift alone would take them.
"""

from experiments.running import start

with start.importing("multi_neuron"):
    from experiments.multi_neuron import program
    from experiments.running import study

if __name__ == "__main__":
    study.main(program.prepare)
