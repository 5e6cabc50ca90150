"""How much of a task a model's neurons know: accuracies of probes, without test items in training.

    python -m experiments.skills --root=DIRECTORY \\
        --flagfile=experiments/flagfiles/skills_quick.flags

Time on 2 cores with the embedded model: about 0.12 s a prompt and a minute a task and split for the
probes; skills_quick.flags (one task) under 3 minutes, skills_full.flags (22 tasks, both splits)
3 hours and 12 GB of disk. Expected: of the 22 tasks, Linear beats the model's own answers (LM-Prob)
in half, Polar in few. Source: Zhao, Jiang, Yoshinaga, *Neuron Empirical Gradient*, ACL 2025,
arXiv 2412.18053.

Numbers of neurons and strengths of penalties are chosen on valid; test is looked at once.
"""

from experiments.running import start

with start.importing("skills"):
    from experiments.running import study
    from experiments.skills import program

if __name__ == "__main__":
    study.main(program.prepare)
