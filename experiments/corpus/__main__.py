"""Every neuron over a corpus: how it is distributed, when it fires, whose texts it belongs to.

    python -m experiments.corpus --flagfile=experiments/flagfiles/corpus_quick.flags

Texts have groups: the relation that a shipped fact is about, or with --texts=mceval8k the language
of a text (corpus_languages.flags; needs --root or NEGJAX_MCEVAL8K), or a column of a table of your
own. One half of each group's texts chooses neurons by activation probability entropy (LAPE): those
that fire for few groups. On the other half it is counted how often they fire there.

Time on 2 shared cores with the embedded model: 10 to 20 ms a token; corpus_quick.flags 1.5 minutes.
Expected: on the held-out half neurons of a group fire about twice as often in its texts as in
others', and the two halves choose half of their neurons in common, where chance gives 0.5%.
Source: Tang et al. 2024, *Language-Specific Neurons* (arXiv 2402.16438).
"""

from experiments.running import start

with start.importing("corpus"):
    from experiments.corpus import program
    from experiments.running import study

if __name__ == "__main__":
    study.main(program.prepare)
