"""negjax against two PyTorch baselines, in one run on one machine.

    python -m experiments.bench                       # needs the extra `torch`
    NEGJAX_MCEVAL8K=DIRECTORY python -m experiments.bench --cases=agnews_500,agnews_8000
    python -m experiments.bench --cases=precisions    # of every --precision that the device has

Time: 20 minutes on 2 cores with the embedded model, in float32; needs 12 GB for what the serial
baseline takes. Expected: the figures under "to reach".

`serial` is what the original implementation does: a forward hook and two full forwards for each
neuron and shift, a full backward for each target. `best` is the best that could be written by hand
in PyTorch: shifts batched, prefix keys and values cached, weights packed for the CPU. Every tool
runs in a process of its own, so that its peak memory is its own; a case's tools take turns, so that
a noisy machine treats them alike, and measure the rate of a plain matrix product beside their work.
All get the same weights and the same tokens, and their answers are compared. The cases `agnews_500`
and `agnews_8000`, measured when they are named, are studies of skill neurons, 25 minutes more.

    python -m experiments.bench --scaling             # how cost grows, on random models

The last takes five and a half minutes of two cores, --scaling_points=3 three and a half.
The weights of its largest model take 4.4 GB. Nothing is known beforehand of its exponents.

With a GPU the baselines run on CUDA, memory is the GPU's, and the goals, which are for 2 cores, are
left out.
"""

from experiments.running import start

with start.importing("bench"):
    from experiments.bench import program
    from experiments.running import common

if __name__ == "__main__":
    common.run(program.main)
