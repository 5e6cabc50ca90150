"""At which doses a shift changes the answer, and at which the text that follows falls apart.

    python -m experiments.windows --flagfile=experiments/flagfiles/windows_quick.flags

Time: 2 minutes on 2 cores for 12 of the shipped facts with the embedded model; windows_full.flags
takes 200, at finer doses.
Expected: answers flip at doses below those at which texts collapse, for most facts; neurons of
large NeurGrad flip the answer at smaller doses.
Source of control windows and of the unit: Liu, *Leverage Is Not Reach*, 2026, arXiv 2606.19831,
whose coherence budget is residual norm over write norm.

The neurons of largest NeurGrad are shifted together against the answer. At dose 1 what they write
in a layer is as long as the residual stream there, where the prompt is read. Dose by dose: is
another token the likeliest, and what does the model then write?
"""

from experiments.running import start

with start.importing("windows"):
    from experiments.running import study
    from experiments.windows import program

if __name__ == "__main__":
    study.main(program.prepare)
