"""Where in the prompt and in the layers an answer is decided: clean against corrupted prompts.

    python -m experiments.trace --flagfile=experiments/flagfiles/trace_quick.flags

Time: 1 minute on 2 cores for 8 pairs of the shipped facts with the embedded model; trace_full.flags
takes all pairs, 10 minutes.
Expected: what is restored is restored at the subject's last token by early layers and where the
prompt is read by late ones; the gradient predicts it with r above 0.9.
Source: Meng et al., *Locating and Editing Factual Associations in GPT*, NeurIPS 2022, arXiv
2202.05262, which corrupts by noise; here another fact of the same form is the corrupted prompt, as
in Zhang, Nanda, *Towards Best Practices of Activation Patching*, ICLR 2024, arXiv 2309.16042. The
prediction is attribution patching (Nanda 2023; Syed, Rager, Conmy 2023, arXiv 2310.10348).

Two facts whose prompts differ in some tokens in one place are a pair. The corrupted prompt runs,
and the feed-forward activations of one layer at one token are set to what they are in the clean
one: how far does the difference of the two answers' logits go back?
"""

from experiments.running import start

with start.importing("trace"):
    from experiments.running import study
    from experiments.trace import program

if __name__ == "__main__":
    study.main(program.prepare)
