"""The card of a trained model: what it is, what it was trained on, what it recalls, its licence."""

from collections.abc import Mapping
from typing import Any

from experiments.reporting.escaping import code_span
from experiments.reporting.tables import Column, Table, markdown_lines, written

# As the data sets' own pages state them, looked up on 2026-11-22.
LICENCES = """\
- MCEval8K (`iszhaoxin/MCEval8K` on the Hugging Face hub): its page states CC BY 4.0.
- MyriadLAMA (arXiv 2406.12277), from which it takes `fact/myriadlama`: unknown; no licence of its
  own was found.
- mLAMA (`cis-lmu/m_lama`, arXiv 2102.00894), from which it takes `multilingual/mlama`: its page
  states CC BY-NC-SA 4.0.
- LAMA (Petroni et al., 2019), which both extend: its repository states CC BY-NC 4.0, its page on
  the hub CC BY 4.0.

The weights and the tables of facts were made from these data. negjax's own licence covers the code,
not them: take them as for non-commercial use, with attribution, unless you have clarified more."""
_NAMES = {"trained": "trained on", "held_out": "held-out paraphrases"}
_RECALL = (
    Column("facts", lambda row: _NAMES[row[0]]),
    Column("number", lambda row: row[1]["facts"]),
    Column("P(answer) > 0.5", lambda row: row[1]["above_half"], ".4f"),
    Column("mean P(answer)", lambda row: row[1]["mean_probability"], ".4f"),
    Column("answer first", lambda row: row[1]["first"], ".4f"),
)
OWN_TEXT = "- The text is the user's own; its licence is unknown to negjax."


def model_card(summary: Mapping[str, Any]) -> str:
    """README.md of the model's directory; its numbers are those of summary.json."""
    corpus, settings, model = summary["corpus"], summary["settings"], summary["model"]
    shipped = corpus["source"] == "MCEval8K"
    parts = ", ".join(
        f"{count:,} of {code_span(name)}" for name, count in corpus["by_source"].items()
    )
    single = written(corpus["single_token_answers"], ".1%")
    table = Table(columns=_RECALL, rows=list(summary["recall"].items()))
    recall = "\n".join(markdown_lines(table))
    return f"""\
---
language: en
library_name: negjax
pipeline_tag: fill-mask
license: other
---

# A small BERT of facts

A masked language model with {model["layers"]} layers, width {model["width"]}, {model["neurons"]:,}
neurons a layer and {model["heads"]} heads, trained from scratch by negjax to recall facts, so that
there is a masked model to measure where none can be fetched. It knows the statements it was trained
on and little else. `BertForMaskedLM` of transformers loads it too.

## Data

{corpus["statements"]:,} English statements ({parts}), {corpus["facts"]:,} of them facts with an
answer, which is one token in {single}. {corpus["held_out"]:,} further statements were held
out: they state facts of the training text in other words. Vocabulary: {corpus["vocabulary"]:,}
WordPiece tokens, cased; every word of an answer is one.

## What it recalls

Each fact with a one-token answer was asked with `[MASK]` in its place, with the weights as they are
here (bfloat16).

{recall}

`facts.csv` holds facts that it was trained on, `held_out.csv` those that it was not, each with its
P(answer).

## Training

Masked language modelling (arXiv 1810.04805): in {settings["answer_share"]:.1%} of the facts
the answer is masked whole, in the others 15% of the tokens are predicted (80% masked, 10% random,
10% kept). {summary["steps"]:,} steps of {settings["batch_tokens"]:,} tokens, AdamW, learning rate
up to {settings["learning_rate"]}, {settings["warmup"]:,} steps of warm-up, cosine decay, weight
decay {settings["weight_decay"]}, gradients clipped at norm {settings["clip"]}.

- seed: {settings["seed"]}
- loss, first epoch: {summary["loss"]["first_epoch"]:.4f} nats
- loss, last epoch: {summary["loss"]["last_epoch"]:.4f} nats
- CPU time: {summary["speed"]["cpu_hours"]:.2f} hours
- command: {code_span(summary["command"])}

## Licence of the data

{LICENCES if shipped else OWN_TEXT}
"""
