"""Trains a small BERT on statements of facts: a masked LM to measure where none can be fetched.

    python -m experiments.pretrain_bert --flagfile=experiments/flagfiles/pretrain_bert_quick.flags

Time: 2 minutes on 2 cores (a small model on 400 statements); pretrain_bert_paper.flags, which made
the shipped `negjax.load("facts-bert")`, 44 minutes (41 CPU-minutes of steps).
Expected: P(answer) above 0.5 for over half of the facts it was trained on.
Papers: Devlin et al., *BERT*, arXiv 1810.04805; the statements are MCEval8K's (Zhao, Jiang,
Yoshinaga, ACL 2025, arXiv 2412.18053).

Masked language modelling with AdamW on negjax's own BERT. The run's folder holds the losses, saved
states from which a run that was stopped or killed continues to the same losses, the report, and in
`model` a directory that `negjax.load` and transformers' `BertForMaskedLM` load.
"""

from experiments.running import start

with start.importing("pretrain_bert"):
    from experiments.pretrain_bert import program
    from experiments.running import study

if __name__ == "__main__":
    study.main(program.prepare)
