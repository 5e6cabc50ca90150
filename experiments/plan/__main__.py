"""What a study will take of memory and time on a device, without the weights.

    python -m experiments.plan                                       # the embedded model, here
    python -m experiments.plan --model=llama-2-70b --dtype=bfloat16 --chip=h100 --mesh=model:8
    python -m experiments.plan --model=DIRECTORY/config.json --chip=v5e --weights=streamed
    python -m experiments.plan --validate                            # predicted against measured

Time: a minute; --validate 8 minutes on 2 cores and 7 GB. Of a model only its config is read. The
programs that negjax runs are traced and compiled for the shapes of its parameters, as many prompts
and rows together as it would take, and from them come memory (by XLA), arithmetic and bytes moved
(counted in the programs, loops as often as they run), and with a device's rates, published or, of
this machine, measured first, the time of NeurGrad, of the paper's linearity study, of the exact NEG
of every neuron and of the features of MCEval8K. Of several devices each one's share is compiled,
and what they send each other is derived. Expected: times within 25% of what is measured, here.

Models that need no file: llama-2-7b, llama-2-70b, llama-3.1-8b, the embedded model and facts-bert;
of other names that negjax knows and of hub ids, config.json alone is fetched.
"""

from experiments.running import start

with start.importing("plan"):
    from experiments.plan import program
    from experiments.running import common

if __name__ == "__main__":
    common.run(program.main)
