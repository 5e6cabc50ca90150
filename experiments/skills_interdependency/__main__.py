"""Whether neurons depend on each other: accuracies of forests by depth and number of trees.

    python -m experiments.skills_interdependency --root=DIRECTORY \\
        --flagfile=experiments/flagfiles/skills_interdependency_quick.flags

Time on 2 cores with the embedded model: about 0.12 s a prompt for features that no other study has
measured, then 25 s a task; skills_interdependency_quick.flags (one task) under 3 minutes,
skills_interdependency_full.flags (22 tasks) an hour and a half, of which six minutes are the
study's own. Expected: many trees do better, deeper ones in few tasks. Source: Zhao, Jiang,
Yoshinaga, *Neuron Empirical Gradient*, ACL 2025, arXiv 2412.18053.

A tree of depth 1 asks one neuron, a deeper one asks a neuron by what another has answered; Polar's
neurons vote alone. A forest's first n trees are the forest of n trees: one fit a depth.
"""

from experiments.running import start

with start.importing("skills_interdependency"):
    from experiments.running import study
    from experiments.skills_interdependency import program

if __name__ == "__main__":
    study.main(program.prepare)
