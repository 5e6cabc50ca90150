"""An atlas of every neuron of a model: pages that open from the disk, without a server.

    python -m experiments.atlas --flagfile=experiments/flagfiles/atlas_paper.flags

Then open the index.html that it names. Each neuron has a page, and a link: which answers of the
facts it raises and lowers (NeurGrad), its exact curves and NEG, how far they are straight, the
tokens that its write promotes and demotes, where in texts it is most active, which neurons act
alike. Neurons are searched by name, layer, token and fact, and sorted by any column.
Time: 14 minutes on 2 cores for the 46,080 neurons of the embedded model and 723 facts;
atlas_quick.flags takes 3 layers and 60 facts, two minutes.
Expected: NeurGrad predicts NEG of the sample with Pearson r above 0.99; half of the neurons have
the neighbour of most similar effect within three layers, of which chance would find a fifth.
Paper: Zhao, Jiang, Yoshinaga, *Neuron Empirical Gradient*, ACL 2025, arXiv 2412.18053.
"""

from experiments.running import start

with start.importing("atlas"):
    from experiments.atlas import program
    from experiments.running import study

if __name__ == "__main__":
    study.main(program.prepare)
