"""Which estimator shows what a neuron does to the probability of the answer, and which misses it?

    python -m experiments.estimators --flagfile=experiments/flagfiles/estimators_quick.flags

Time: some 3 minutes on 2 cores with the embedded model (2 prompts of 200 neurons, 3 layers dosed);
estimators_paper.flags an estimated 3 hours.
Expected: under the signed convention NeurGrad is close to NEG (r above 0.99 within ±2) and CG is
not; under the additive one it is the other way round, since NeurGrad's correction is the signed
convention. IG, RelP and the ablation follow the convention if divided by the activation.
Papers: Zhao, Jiang, Yoshinaga, *Neuron Empirical Gradient*, ACL 2025, arXiv 2412.18053 (the
comparison); Liu, *Leverage Is Not Reach*, 2026, arXiv 2606.19831 (neurons that control at large
doses with a gradient near 0); those of the estimators stand in `negjax.estimators`.

Three parts. Random neurons are shifted one at a time, and each estimator is compared with their
exact NEG, for each shift range and under both shift conventions. Their first and second derivatives
predict how far each curve is straight, which the curves confirm or not. And every neuron of one
prompt, or a few, is shifted so far that its write is as long as the residual stream, or several
times so: which of them control the output while NeurGrad is small, and which estimator shows them.
"""

from experiments.running import start

with start.importing("estimators"):
    from experiments.estimators import program
    from experiments.running import study

if __name__ == "__main__":
    study.main(program.prepare)
