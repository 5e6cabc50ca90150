"""How far does shifting neurons control an answer: turned, steered, edited?

    python -m experiments.control --flagfile=experiments/flagfiles/control_quick.flags

Time: the quick flags are meant for 3 minutes on 2 quiet cores with the embedded model.
Expected: all 24 (fact, probability) pairs steered to within 1e-3; 256 neurons of each sign, turned
by their own activation, bring the median P(answer) from 0.35 to 0.997 or to below 1e-3.
Papers: Zhao, Jiang, Yoshinaga, *Neuron Empirical Gradient*, ACL 2025, arXiv 2412.18053 (enhancing
and suppressing); Meng, Bau, Andonian, Belinkov, *Locating and Editing Factual Associations in GPT*,
NeurIPS 2022, arXiv 2202.05262 (the measures of an edit). Neither steers to a wanted probability.

Three parts. The strongest neurons of a prompt are turned up and down, by count and amount. Prompts
are steered to wanted probabilities of their answer by the smallest shift of all neurons, and the
same shift is applied to unrelated prompts. And facts are edited by a shift that is folded into the
biases, in several ways, each judged on the prompt, its paraphrases, its neighbours and plain text.
"""

from experiments.running import start

with start.importing("control"):
    from experiments.control import program
    from experiments.running import study

if __name__ == "__main__":
    study.main(program.prepare)
