"""What a training run is given: text, vocabulary, model and recipe, as the flags say."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

import negjax
from experiments.pretrain_bert.batches import BatchPlan, Texts, encode_statements
from experiments.pretrain_bert.corpus import Statement, hold_out, read_mceval8k, read_text
from experiments.pretrain_bert.training import Recipe, bert_config
from experiments.pretrain_bert.vocabulary import train_vocabulary, wordpiece_tokenizer
from experiments.running import common, messages
from negjax.model.config import ModelConfig
from negjax.process.quiet import transformers

_CORPUS_DIR = flags.DEFINE_string(
    "corpus_dir",
    None,
    "MCEval8K's folder, whose English MyriadLAMA and mLAMA statements are trained on. Default: the "
    "one that NEGJAX_MCEVAL8K names, or the hub's.",
)
_CORPUS = flags.DEFINE_string(
    "corpus",
    None,
    "Text of your own instead: .txt, a sentence a line; or .jsonl, objects with `text`, and for a "
    "fact [Y] in it and `answer`.",
)
_STATEMENTS = flags.DEFINE_integer(
    "statements", 0, "Train on the first so many statements only; 0: all.", lower_bound=0
)
_HELD_OUT = flags.DEFINE_integer(
    "held_out",
    0,
    "Statements that are asked but not trained on: paraphrases of facts that are.",
    lower_bound=0,
)
_VOCABULARY = flags.DEFINE_integer(
    "vocabulary_size", 8000, "Most tokens of the WordPiece vocabulary.", lower_bound=1
)
_LAYERS = flags.DEFINE_integer("bert_layers", 4, "Layers L.", lower_bound=1)
_WIDTH = flags.DEFINE_integer("bert_width", 256, "Width D of the residual stream.", lower_bound=1)
_NEURONS = flags.DEFINE_integer("bert_neurons", 1024, "Neurons F of a layer.", lower_bound=1)
_HEADS = flags.DEFINE_integer("bert_heads", 4, "Attention heads H.", lower_bound=1)
_CONTEXT = flags.DEFINE_integer("bert_context", 64, "Most tokens of a text.", lower_bound=4)
_STEPS = flags.DEFINE_integer("train_steps", 1000, "Steps of training.", lower_bound=1)
_TOKENS = flags.DEFINE_integer(
    "batch_tokens", 1024, "Tokens of a batch, padding included.", lower_bound=1
)
_RATE = flags.DEFINE_float("learning_rate", 1e-3, "Highest learning rate.")
_WARMUP = flags.DEFINE_integer(
    "warmup_steps", 100, "Steps in which the learning rate rises.", lower_bound=0
)
_DECAY = flags.DEFINE_float("weight_decay", 0.01, "AdamW's, of matrices and embeddings.")
_CLIP = flags.DEFINE_float("clip_norm", 1.0, "Largest norm of a step's gradients.")
_ANSWERS = flags.DEFINE_float(
    "answer_share",
    0.7,
    "Share of the facts whose answer is masked whole, and nothing else; in the others 15% of the "
    "tokens are masked at random.",
)

UNREAD = ("model", "assume_harmless", "dtype", "precision", "site")


@dataclasses.dataclass(frozen=True)
class Job:
    """Everything that decides a training run."""

    statements: list[Statement]
    """Trained on."""
    held_out: list[Statement]
    """Asked only."""
    source: str
    tokenizer: transformers.BertTokenizer
    texts: Texts
    config: ModelConfig
    recipe: Recipe
    plan: BatchPlan

    @property
    def seed(self) -> int:
        """Of everything random."""
        return self.plan.seed

    @property
    def settings(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "experiment": "pretrain_bert",
            "negjax": negjax.__version__,
            "corpus": _digest(self.statements),
            "held_out": _digest(self.held_out),
            "vocabulary": hashlib.sha256(
                "\n".join(self.tokenizer.convert_ids_to_tokens(range(len(self.tokenizer)))).encode()
            ).hexdigest(),
            **{
                name: getattr(self.config, name)
                for name in ("layers", "width", "neurons", "heads", "context_length")
            },
            **dataclasses.asdict(self.recipe),
            "seed": self.plan.seed,
            "batch_tokens": self.plan.tokens,
            "answer_share": self.plan.answer_share,
        }


def read_job() -> Job:
    """The job that the flags name.

    Raises:
        FileNotFoundError, ValueError: there is no such text, or something does not fit together.
    """
    common.refuse_unread("pretrain_bert", UNREAD, "which trains a model of its own")
    recipe = Recipe(
        steps=_STEPS.value,
        learning_rate=_RATE.value,
        warmup=_WARMUP.value,
        weight_decay=_DECAY.value,
        clip=_CLIP.value,
    )
    plan = BatchPlan(common.seed(), _TOKENS.value, _ANSWERS.value)
    if _CORPUS.value is None:
        with messages.of_flag(_CORPUS_DIR):
            every, source = read_mceval8k(_CORPUS_DIR.value), "MCEval8K"
    else:
        with messages.of_flag(_CORPUS):
            every, source = read_text(_CORPUS.value), Path(_CORPUS.value).name
    every = every[: _STATEMENTS.value or len(every)]
    statements, held_out = hold_out(every, _HELD_OUT.value, common.seed())
    # Of all statements, so that words of those held out fall into the same pieces.
    vocabulary = train_vocabulary(every, _VOCABULARY.value)
    tokenizer = wordpiece_tokenizer(vocabulary, _CONTEXT.value)
    config = bert_config(
        vocab_size=len(vocabulary),
        layers=_LAYERS.value,
        width=_WIDTH.value,
        neurons=_NEURONS.value,
        heads=_HEADS.value,
        context_length=_CONTEXT.value,
    )
    texts = encode_statements(statements, tokenizer, _CONTEXT.value)
    if held_out:
        encode_statements(held_out, tokenizer, _CONTEXT.value)  # refuses those that are too long
    return Job(statements, held_out, source, tokenizer, texts, config, recipe, plan)


def _digest(statements: Sequence[Statement]) -> str:
    content = [[s.text, s.answer, s.source] for s in statements]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
