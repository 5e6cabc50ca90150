"""BERT and its relatives with their masked-LM heads: post-norm, plain feed-forward, learned
positions, attending both ways.

Sources: BERT (arXiv 1810.04805), RoBERTa (arXiv 1907.11692), XLM-R (arXiv 1911.02116), CamemBERT
(arXiv 1911.03894), DistilBERT (arXiv 1910.01108); further details: the classes in transformers.
"""

import dataclasses
import functools
from collections.abc import Collection, Mapping
from typing import Any

from negjax.model.config import ModelConfig
from negjax.weights.conversion import Table
from negjax.weights.families.bert_gguf import BERT_FORM
from negjax.weights.families.common import Family, GGUFForm
from negjax.weights.families.modules import module_table
from negjax.weights.families.settings import Settings
from negjax.weights.families.sizes import Sizes

OTHER_TASKS = (
    *("Model", "ForPreTraining", "ForNextSentencePrediction", "ForSequenceClassification"),
    *("ForTokenClassification", "ForQuestionAnswering", "ForMultipleChoice"),
)
"""Classes of files that may hold a masked-LM head besides; whether they do, the weights say."""

ENCODER = {
    "embedding.token": "embeddings.word_embeddings",
    "embedding.position": "embeddings.position_embeddings",
    "embedding.token_type": "embeddings.token_type_embeddings",
    "embedding.norm": "embeddings.LayerNorm",
    "blocks.attention.query": "encoder.layer.{l}.attention.self.query",
    "blocks.attention.key": "encoder.layer.{l}.attention.self.key",
    "blocks.attention.value": "encoder.layer.{l}.attention.self.value",
    "blocks.attention.out": "encoder.layer.{l}.attention.output.dense",
    "blocks.attention_norm": "encoder.layer.{l}.attention.output.LayerNorm",
    "blocks.ffn.up": "encoder.layer.{l}.intermediate.dense",
    "blocks.ffn.down": "encoder.layer.{l}.output.dense",
    "blocks.ffn_norm": "encoder.layer.{l}.output.LayerNorm",
}
DISTILLED_ENCODER = {
    "embedding.token": "embeddings.word_embeddings",
    "embedding.position": "embeddings.position_embeddings",
    "embedding.norm": "embeddings.LayerNorm",
    "blocks.attention.query": "transformer.layer.{l}.attention.q_lin",
    "blocks.attention.key": "transformer.layer.{l}.attention.k_lin",
    "blocks.attention.value": "transformer.layer.{l}.attention.v_lin",
    "blocks.attention.out": "transformer.layer.{l}.attention.out_lin",
    "blocks.attention_norm": "transformer.layer.{l}.sa_layer_norm",
    "blocks.ffn.up": "transformer.layer.{l}.ffn.lin1",
    "blocks.ffn.down": "transformer.layer.{l}.ffn.lin2",
    "blocks.ffn_norm": "transformer.layer.{l}.output_layer_norm",
}
"""After the prefix: the file's name of a module, by the model's."""

SIZES = Sizes(usual_activation="gelu", usual_eps=1e-12, tied=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BertVariant:
    """What a relative of BERT computes, where relatives differ, and how its files are called."""

    name: str
    """`model_type` in config.json."""
    classes: str
    """What the names of its classes in transformers begin with."""
    prefix: str
    """What the names of the encoder's tensors begin with; some files leave it out."""
    encoder: Mapping[str, str] = dataclasses.field(default_factory=lambda: ENCODER)
    dense: str = "lm_head.dense"
    """The file's names of what the masked-LM head consists of."""
    dense_norm: str = "lm_head.layer_norm"
    decoder: str = "lm_head.decoder"
    second_bias: str | None = "lm_head.bias"
    other_heads: Collection[str] = ("classifier", "qa_outputs")
    """What the names of other heads' tensors begin with."""
    sizes: Sizes = SIZES
    token_types: bool = True
    padding_shifts: bool = False
    """Whether positions begin after the row of the padding token's id, and the masked-LM head's
    activation is GELU whatever that of the layers is."""
    harmless: Collection[str] = ()
    """Keys of its config.json that change nothing, beside those of every family."""
    short_names: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Hub ids of its models that people ask for most."""
    gguf: GGUFForm | None = None


def _read(settings: Settings, variant: BertVariant) -> ModelConfig:
    fields = variant.sizes.read(settings)
    settings.only("position_embedding_type", "absolute")
    settings.only("tie_weights_", True)
    offset = 0
    if variant.padding_shifts:
        settings.only(variant.sizes.activation, "gelu")
        offset = settings.whole("pad_token_id", 1) + 1
        if fields["context_length"] <= offset:
            raise settings.wrong(variant.sizes.context, f"more than {offset} positions")
    token_types = settings.integer("type_vocab_size", 2) if variant.token_types else 0
    return ModelConfig(
        family=variant.name,
        **fields | {"context_length": fields["context_length"] - offset},
        position_offset=offset,
        token_types=token_types,
        gated=False,
        norm_placement="post",
        causal=False,
        rope=None,
        qkv_bias=True,
        out_bias=True,
        ffn_bias=True,
        embedding_norm=True,
        final_norm=False,
        mlm_head=True,
        output_bias=True,
    )


def _write(config: ModelConfig, variant: BertVariant) -> dict[str, Any]:
    settings = variant.sizes.write(config)
    settings[variant.sizes.context] += config.position_offset
    if variant.padding_shifts:
        settings["pad_token_id"] = config.position_offset - 1
    if variant.token_types:
        settings["type_vocab_size"] = config.token_types
    return settings


def _table(config: ModelConfig, variant: BertVariant) -> Table:
    encoder = {module: f"{variant.prefix}.{name}" for module, name in variant.encoder.items()}
    tops = "|".join(sorted({name.split(".")[0] for name in variant.encoder.values()}))
    others = (*variant.other_heads, f"{variant.prefix}.pooler")
    return module_table(
        encoder | {"head.dense": variant.dense, "head.dense_norm": variant.dense_norm},
        config,
        decoder=variant.decoder,
        second_bias=variant.second_bias,
        ignored=(rf"{variant.prefix}\.embeddings\.position_ids",),
        other_heads=others,
        renames=(
            (r"LayerNorm\.gamma$", "LayerNorm.weight"),
            (r"LayerNorm\.beta$", "LayerNorm.bias"),
            (rf"^(?=({tops}|pooler)\.)", f"{variant.prefix}."),
        ),
    )


VARIANTS = (
    BertVariant(
        name="bert",
        classes="Bert",
        prefix="bert",
        dense="cls.predictions.transform.dense",
        dense_norm="cls.predictions.transform.LayerNorm",
        decoder="cls.predictions.decoder",
        second_bias="cls.predictions.bias",
        other_heads=("classifier", "qa_outputs", "cls.seq_relationship"),
        # Of the sentence embedding; attention looks both ways in every file that says so.
        harmless=(
            *("directionality", "pooler_fc_size", "pooler_num_attention_heads"),
            *("pooler_num_fc_layers", "pooler_size_per_head", "pooler_type"),
        ),
        short_names={
            "bert-base-cased": "google-bert/bert-base-cased",
            "bert-base-uncased": "google-bert/bert-base-uncased",
            "bert-large-cased": "google-bert/bert-large-cased",
            "bert-large-uncased": "google-bert/bert-large-uncased",
            "bert-base-multilingual-cased": "google-bert/bert-base-multilingual-cased",
        },
        gguf=BERT_FORM,
    ),
    BertVariant(
        name="roberta",
        classes="Roberta",
        prefix="roberta",
        padding_shifts=True,
        short_names={
            "roberta-base": "FacebookAI/roberta-base",
            "roberta-large": "FacebookAI/roberta-large",
        },
    ),
    BertVariant(
        name="xlm-roberta",
        classes="XLMRoberta",
        prefix="roberta",
        padding_shifts=True,
        short_names={"xlm-roberta-base": "FacebookAI/xlm-roberta-base"},
    ),
    BertVariant(
        name="camembert",
        classes="Camembert",
        prefix="roberta",
        padding_shifts=True,
        short_names={"camembert-base": "almanach/camembert-base"},
    ),
    BertVariant(
        name="distilbert",
        classes="DistilBert",
        prefix="distilbert",
        encoder=DISTILLED_ENCODER,
        dense="vocab_transform",
        dense_norm="vocab_layer_norm",
        decoder="vocab_projector",
        second_bias=None,
        other_heads=("pre_classifier", "classifier", "qa_outputs"),
        sizes=Sizes(
            layers="n_layers",
            width="dim",
            neurons="hidden_dim",
            heads="n_heads",
            activation="activation",
            norm_eps=None,
            usual_activation="gelu",
            usual_eps=1e-12,
            tied=True,
        ),
        token_types=False,
        # Sinusoids, where positions are such, are a table in the file all the same.
        harmless=("dropout", "qa_dropout", "seq_classif_dropout", "sinusoidal_pos_embds"),
        short_names={
            "distilbert-base-cased": "distilbert/distilbert-base-cased",
            "distilbert-base-uncased": "distilbert/distilbert-base-uncased",
        },
    ),
)


def _family(variant: BertVariant) -> Family:
    return Family(
        name=variant.name,
        architectures=tuple(f"{variant.classes}{kind}" for kind in ("ForMaskedLM", *OTHER_TASKS)),
        read=functools.partial(_read, variant=variant),
        write=functools.partial(_write, variant=variant),
        table=functools.partial(_table, variant=variant),
        harmless=variant.harmless,
        short_names=variant.short_names,
        gguf=variant.gguf,
    )


FAMILIES = tuple(map(_family, VARIANTS))
