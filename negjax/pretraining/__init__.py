"""Training a small BERT on statements of facts: text, vocabulary, batches, steps, what it recalls.

Masked language modelling of Devlin et al., arXiv 1810.04805, with answers masked whole part of the
time, since recalling them is the aim.
"""
