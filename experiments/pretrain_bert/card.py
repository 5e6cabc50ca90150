"""The card of a trained model: what it is, what it was trained on, what it recalls, its licence."""

from collections.abc import Mapping
from typing import Any

from experiments.reporting.escaping import code_span
from experiments.reporting.tables import Column, Table, markdown_lines, written
from experiments.running import study

CARD = "card.md"
LICENCES = "licences.md"
"""As the data sets' own pages state them, looked up on 2026-11-22."""
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
    corpus = summary["corpus"]
    parts = (f"{count:,} of {code_span(name)}" for name, count in corpus["by_source"].items())
    recall = Table(columns=_RECALL, rows=list(summary["recall"].items()))
    shipped = corpus["source"] == "MCEval8K"
    return study.template("pretrain_bert", CARD).format_map(
        {
            **summary,
            "parts": ", ".join(parts),
            "single": written(corpus["single_token_answers"], ".1%"),
            "recall": "\n".join(markdown_lines(recall)),
            "command": code_span(summary["command"]),
            "licences": study.template("pretrain_bert", LICENCES).strip() if shipped else OWN_TEXT,
        }
    )
