"""What decides a training run: text, vocabulary, model and recipe, as the flags say."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import negjax
from experiments.pretrain_bert.batches import BatchPlan, Texts, encode_statements
from experiments.pretrain_bert.corpus import Statement, hold_out, read_mceval8k, read_text
from experiments.pretrain_bert.training import Recipe, bert_config
from experiments.pretrain_bert.vocabulary import train_vocabulary, wordpiece_tokenizer
from experiments.running import common, messages
from experiments.running.settings import define, setting
from negjax.model.config import ModelConfig
from negjax.process.quiet import transformers


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Text, vocabulary, model and recipe."""

    corpus_dir: str | None = setting(
        None,
        "MCEval8K's folder, whose English MyriadLAMA and mLAMA statements are trained on. Default: "
        "the one that NEGJAX_MCEVAL8K names, or the hub's.",
    )
    corpus: str | None = setting(
        None,
        "Text of your own instead: .txt, a sentence a line; or .jsonl, objects with `text`, and "
        "for a fact [Y] in it and `answer`.",
    )
    statements: int = setting(
        0, "Train on the first so many statements only; 0: all of them.", least=0
    )
    held_out: int = setting(
        0, "Statements that are asked but not trained on: paraphrases of facts that are.", least=0
    )
    vocabulary_size: int = setting(8000, "Most tokens of the WordPiece vocabulary.", least=1)
    bert_layers: int = setting(4, "Layers L.", least=1)
    bert_width: int = setting(256, "Width D of the residual stream.", least=1)
    bert_neurons: int = setting(1024, "Neurons F of a layer.", least=1)
    bert_heads: int = setting(4, "Attention heads H.", least=1)
    bert_context: int = setting(64, "Most tokens of a text.", least=4)
    train_steps: int = setting(1000, "Steps of training.", least=1)
    batch_tokens: int = setting(1024, "Tokens of a batch, padding included.", least=1)
    learning_rate: float = setting(1e-3, "Highest learning rate.")
    warmup_steps: int = setting(100, "Steps in which the learning rate rises.", least=0)
    weight_decay: float = setting(0.01, "AdamW's, of matrices and embeddings.")
    clip_norm: float = setting(1.0, "Largest norm of a step's gradients.")
    answer_share: float = setting(
        0.7,
        "Share of the facts whose answer is masked whole, and nothing else; in the others 15% of "
        "the tokens are masked at random.",
    )
    save_every: int = setting(
        100,
        "Steps from one saved state to the next. A run that is stopped loses what came after it.",
        least=1,
    )
    sample: int = setting(500, "Trained facts that are asked at every saved state.", least=1)


FLAGS = define(Settings)
UNREAD = ("model", "weights", "mesh", "assume_harmless", "dtype", "precision", "site")


@dataclass(frozen=True, kw_only=True)
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
    save_every: int
    """Steps from one saved state to the next."""
    sample: int
    """Trained facts that are asked at every saved state."""

    @property
    def seed(self) -> int:
        """Of everything random."""
        return self.plan.seed

    @property
    def settings(self) -> dict[str, Any]:
        """As JSON values."""
        return {
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
    settings = FLAGS.read()
    if settings.warmup_steps >= settings.train_steps:
        raise ValueError(
            f"--warmup_steps={settings.warmup_steps}: expected fewer than --train_steps, which are "
            f"{settings.train_steps}"
        )
    recipe = Recipe(
        steps=settings.train_steps,
        learning_rate=settings.learning_rate,
        warmup=settings.warmup_steps,
        weight_decay=settings.weight_decay,
        clip=settings.clip_norm,
    )
    plan = BatchPlan(common.seed(), settings.batch_tokens, settings.answer_share)
    every, source = _text(settings)
    every = every[: settings.statements or len(every)]
    statements, held_out = hold_out(every, settings.held_out, common.seed())
    # Of all statements, so that words of those held out fall into the same pieces.
    vocabulary = train_vocabulary(every, settings.vocabulary_size)
    tokenizer = wordpiece_tokenizer(vocabulary, settings.bert_context)
    config = bert_config(
        vocab_size=len(vocabulary),
        layers=settings.bert_layers,
        width=settings.bert_width,
        neurons=settings.bert_neurons,
        heads=settings.bert_heads,
        context_length=settings.bert_context,
    )
    texts = encode_statements(statements, tokenizer, settings.bert_context)
    if held_out:
        # Refuses those that are too long.
        encode_statements(held_out, tokenizer, settings.bert_context)
    return Job(
        statements=statements,
        held_out=held_out,
        source=source,
        tokenizer=tokenizer,
        texts=texts,
        config=config,
        recipe=recipe,
        plan=plan,
        save_every=min(settings.save_every, recipe.steps),
        sample=settings.sample,
    )


def _text(settings: Settings) -> tuple[list[Statement], str]:
    """All statements, and what they are from."""
    if settings.corpus is None:
        with messages.of_flag(FLAGS["corpus_dir"]):
            return read_mceval8k(settings.corpus_dir), "MCEval8K"
    with messages.of_flag(FLAGS["corpus"]):
        return read_text(settings.corpus), Path(settings.corpus).name


def _digest(statements: Sequence[Statement]) -> str:
    content = [[s.text, s.answer, s.source] for s in statements]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
