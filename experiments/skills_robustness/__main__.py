"""Are skill neurons robust? Probes that learn from one way of asking, tested on others.

    python -m experiments.skills_robustness --root=DIRECTORY \\
        --flagfile=experiments/flagfiles/skills_robustness_quick.flags

A probe is fitted to a task asked with one template and tested with every other one; likewise with
more and fewer demonstrations and, in the multilingual tasks, from language to language. Test items
of all templates and numbers of demonstrations are the same.

Time on 2 cores with the embedded model: about 0.12 s a prompt, and prompts are asked in every way;
skills_robustness_quick.flags (one task) under 3 minutes, skills_robustness_full.flags (22 tasks)
4 hours. Expected: probes lose little between templates, and nearly all that they know between
zero-shot and few-shot. Source: Zhao, Jiang, Yoshinaga, *Neuron Empirical Gradient*, ACL 2025,
arXiv 2412.18053.
"""

from experiments.running import start

with start.importing("skills_robustness"):
    from experiments.running import study
    from experiments.skills_robustness import program

if __name__ == "__main__":
    study.main(program.prepare)
