"""How few neurons and how few training prompts do: accuracies of probes by the number of either.

    python -m experiments.skills_efficiency --root=DIRECTORY \\
        --flagfile=experiments/flagfiles/skills_efficiency_quick.flags

Time on 2 cores with the embedded model: about 0.12 s a prompt for features that no other study has
measured, then 25 s a task; skills_efficiency_quick.flags (one task) under 3 minutes,
skills_efficiency_full.flags (22 tasks) an hour and a half, of which seven minutes are the study's.
Expected: with some hundreds of neurons and a part of the prompts, probes are within the interval of
their best. Source: Zhao, Jiang, Yoshinaga, *Neuron Empirical Gradient*, ACL 2025, arXiv 2412.18053.

Rankings of the first 2³, 2⁴, … training prompts come from one pass over all of them, and the votes
of a ranking's first 2⁰, 2¹, … neurons from one pass over the prompts that are asked.
"""

from experiments.running import start

with start.importing("skills_efficiency"):
    from experiments.running import study
    from experiments.skills_efficiency import program

if __name__ == "__main__":
    study.main(program.prepare)
