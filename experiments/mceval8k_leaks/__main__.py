"""How much of MCEval8K's test items a probe has seen in training: published parts, and ours.

    python -m experiments.mceval8k_leaks --root=DIRECTORY

Time: half a minute on 2 cores for all 22 tasks; no model is loaded. Expected: in 8 tasks every test
item is a training item as published; the parts of `negjax.mceval8k.load` share nothing.
Benchmark: Zhao, Jiang, Yoshinaga, *Neuron Empirical Gradient*, ACL 2025, arXiv 2412.18053.

An item of one part stands in another part if one of its input texts does, as it is or normalised
(letter case, punctuation and white space aside).
"""

from experiments.running import start

with start.importing("mceval8k_leaks"):
    from experiments.mceval8k_leaks import program
    from experiments.running import study

if __name__ == "__main__":
    study.main(program.prepare)
