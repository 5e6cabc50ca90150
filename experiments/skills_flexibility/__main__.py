"""Whether other neurons do as well: accuracies of the 1st, 2nd, … nth disjoint set of neurons.

    python -m experiments.skills_flexibility --root=DIRECTORY \\
        --flagfile=experiments/flagfiles/skills_flexibility_quick.flags

Time on 2 cores with the embedded model: about 0.12 s a prompt for features that no other study has
measured, then 10 s a task; skills_flexibility_quick.flags (one task) under 3 minutes,
skills_flexibility_full.flags (22 tasks) an hour and a half, nearly all of it for features.
Expected: sets far down the ranking are within the interval of the first. Source: Zhao, Jiang,
Yoshinaga, *Neuron Empirical Gradient*, ACL 2025, arXiv 2412.18053.

The ranking of Polar, and that of Magn, is cut into sets of k neurons, each of which votes alone.
Random sets are a random order of as many neurons cut in the same way, with the polarities that the
training prompts give them.
"""

from experiments.running import start

with start.importing("skills_flexibility"):
    from experiments.running import study
    from experiments.skills_flexibility import program

if __name__ == "__main__":
    study.main(program.prepare)
