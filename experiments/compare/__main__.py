"""Finished runs of one experiment beside each other and beside what the paper reports.

    python -m experiments.compare RUN [RUN …] --output=table.md

Time: none; only the runs' summaries are read. RUN is the folder of a finished run of `linearity`,
`estimators` or `multi_neuron`. Prints one Markdown table with a column a run, and writes it where
--output says.
Paper: Zhao, Jiang, Yoshinaga, *Neuron Empirical Gradient*, ACL 2025, arXiv 2412.18053.
"""

from experiments.running import start

with start.importing("compare"):
    from experiments.compare import program
    from experiments.running import common

if __name__ == "__main__":
    common.run_on(program.main)
