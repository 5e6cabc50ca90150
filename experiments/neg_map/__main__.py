"""The empirical gradient of every neuron of a model: exact, and drawn.

    python -m experiments.neg_map --flagfile=experiments/flagfiles/neg_map_paper.flags

Time: 4 minutes on 2 cores for the 46,080 neurons of the embedded model and one prompt;
neg_map_quick.flags maps 1 layer in 5 and takes 1 to 2.
Expected: about half of the neurons positive, Pearson r of NEG with NeurGrad above 0.99 and the
same sign for more than 99% of the neurons.
Paper: Zhao, Jiang, Yoshinaga, *Neuron Empirical Gradient*, ACL 2025, arXiv 2412.18053, which
measures 1,000 neurons a prompt; no map of all of them was drawn there.

Every neuron is shifted by every one of --shifts, alone; its NEG is the slope of the line through
the origin that fits the changes of P(answer).
"""

from experiments.running import start

with start.importing("neg_map"):
    from experiments.neg_map import program
    from experiments.running import study

if __name__ == "__main__":
    study.main(program.prepare)
