"""Do tasks share skill neurons? Overlaps, layers, and what another task's neurons know.

    python -m experiments.skills_inclusivity --root=DIRECTORY \\
        --flagfile=experiments/flagfiles/skills_inclusivity_quick.flags

Each task's k best neurons, by Polar and by Magn, are compared with every other task's: how many are
the same (Jaccard index, beside random sets), in which layers they lie, and how well a task is
answered by another task's neurons. How those vote (their polarity) comes from training prompts of
the tested task, which they are does not.

Time on 2 cores with the embedded model: about 0.12 s a prompt, a second a pair of tasks once the
features are there; skills_inclusivity_quick.flags (two tasks) under 3 minutes,
skills_inclusivity_full.flags (22 tasks) 50 minutes, or 10 with the features of experiments.skills.
Expected: tasks share more neurons than chance gives, those with the same labels most. Source: Zhao,
Jiang, Yoshinaga, *Neuron Empirical Gradient*, arXiv 2412.18053 (first version: inclusivity).
"""

from experiments.running import start

with start.importing("skills_inclusivity"):
    from experiments.running import study
    from experiments.skills_inclusivity import program

if __name__ == "__main__":
    study.main(program.prepare)
