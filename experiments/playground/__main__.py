"""A page in your browser: turn neurons of a model, and see what becomes of its answer.

    python -m experiments.playground                         # needs the extra `app`
    python -m experiments.playground --model=DIRECTORY --port=9000

Then open the address that it prints. Type a prompt, or a chat, and an answer; the page shows the
neurons that move its probability most, by NeurGrad and by exact NEG, and a map of all. Chosen
neurons are moved by a slider: probabilities of the tokens follow it without a round trip, beside
what the gradient predicts. It steers the answer to a probability, shows what the model writes then,
and gives a link, JSON, a picture and the Python that measures the same.
Time: programs are compiled at the start, about half a minute for each length of prompts; the next
start finds them in the cache. Then the first answer takes about a second on 2 cores.
Source: Zhao, Jiang, Yoshinaga, *Neuron Empirical Gradient*, ACL 2025, arXiv 2412.18053.

It listens on this machine alone (127.0.0.1), answers its own page alone, and writes no files. With
another --host it asks for the token that it prints.
"""

from experiments.running import start

with start.importing("playground"):
    from experiments.playground import program
    from experiments.running import common

if __name__ == "__main__":
    common.run(program.main)
