"""BERT with its masked-LM head: post-norm, plain feed-forward, attending both ways.

Source: Devlin et al., arXiv 1810.04805.
"""

from typing import Any

from negjax.model.config import ModelConfig
from negjax.weights.conversion import Rule, Table
from negjax.weights.families.common import HF_NAMES_BY_ACTIVATION, Family
from negjax.weights.families.settings import Settings


def _read(settings: Settings) -> ModelConfig:
    width, heads = settings.integer("hidden_size"), settings.integer("num_attention_heads")
    settings.divides("num_attention_heads", "hidden_size")
    settings.only("position_embedding_type", "absolute")
    return ModelConfig(
        family="bert",
        vocab_size=settings.integer("vocab_size"),
        layers=settings.integer("num_hidden_layers"),
        width=width,
        neurons=settings.integer("intermediate_size"),
        heads=heads,
        kv_heads=heads,
        head_width=width // heads,
        context_length=settings.integer("max_position_embeddings"),
        activation=settings.activation("hidden_act", "gelu"),
        gated=False,
        norm="layer",
        norm_eps=settings.number("layer_norm_eps", 1e-12),
        norm_placement="post",
        causal=False,
        rope=None,
        qkv_bias=True,
        out_bias=True,
        ffn_bias=True,
        qk_norm="none",
        tied=settings.flag("tie_word_embeddings", True),
        token_types=settings.integer("type_vocab_size", 2),
        embedding_norm=True,
        final_norm=False,
        mlm_head=True,
        output_bias=True,
    )


def _write(config: ModelConfig) -> dict[str, Any]:
    return {
        "vocab_size": config.vocab_size,
        "num_hidden_layers": config.layers,
        "hidden_size": config.width,
        "intermediate_size": config.neurons,
        "num_attention_heads": config.heads,
        "max_position_embeddings": config.context_length,
        "type_vocab_size": config.token_types,
        "hidden_act": HF_NAMES_BY_ACTIVATION[config.activation],
        "layer_norm_eps": config.norm_eps,
        "tie_word_embeddings": config.tied,
    }


def _table(config: ModelConfig) -> Table:
    layer, block = "bert.encoder.layer.{l}", "blocks"
    attention, head = f"{layer}.attention", "cls.predictions"
    rules = [
        Rule("bert.embeddings.word_embeddings.weight", "embedding.token", "v d -> v d"),
        Rule("bert.embeddings.position_embeddings.weight", "embedding.position", "t d -> t d"),
        Rule("bert.embeddings.token_type_embeddings.weight", "embedding.token_type", "e d -> e d"),
        Rule("bert.embeddings.LayerNorm.weight", "embedding.norm.scale", "d -> d"),
        Rule("bert.embeddings.LayerNorm.bias", "embedding.norm.bias", "d -> d"),
        Rule(
            f"{attention}.self.query.weight", f"{block}.attention.query.kernel", "(h c) d -> d h c"
        ),
        Rule(f"{attention}.self.query.bias", f"{block}.attention.query.bias", "(h c) -> h c"),
        Rule(f"{attention}.self.key.weight", f"{block}.attention.key.kernel", "(g c) d -> d g c"),
        Rule(f"{attention}.self.key.bias", f"{block}.attention.key.bias", "(g c) -> g c"),
        Rule(
            f"{attention}.self.value.weight", f"{block}.attention.value.kernel", "(g c) d -> d g c"
        ),
        Rule(f"{attention}.self.value.bias", f"{block}.attention.value.bias", "(g c) -> g c"),
        Rule(
            f"{attention}.output.dense.weight", f"{block}.attention.out.kernel", "d (h c) -> h c d"
        ),
        Rule(f"{attention}.output.dense.bias", f"{block}.attention.out.bias", "d -> d"),
        Rule(f"{attention}.output.LayerNorm.weight", f"{block}.attention_norm.scale", "d -> d"),
        Rule(f"{attention}.output.LayerNorm.bias", f"{block}.attention_norm.bias", "d -> d"),
        Rule(f"{layer}.intermediate.dense.weight", f"{block}.ffn.up.kernel", "f d -> d f"),
        Rule(f"{layer}.intermediate.dense.bias", f"{block}.ffn.up.bias", "f -> f"),
        Rule(f"{layer}.output.dense.weight", f"{block}.ffn.down.kernel", "d f -> f d"),
        Rule(f"{layer}.output.dense.bias", f"{block}.ffn.down.bias", "d -> d"),
        Rule(f"{layer}.output.LayerNorm.weight", f"{block}.ffn_norm.scale", "d -> d"),
        Rule(f"{layer}.output.LayerNorm.bias", f"{block}.ffn_norm.bias", "d -> d"),
        Rule(f"{head}.transform.dense.weight", "head.dense.kernel", "o d -> d o"),
        Rule(f"{head}.transform.dense.bias", "head.dense.bias", "o -> o"),
        Rule(f"{head}.transform.LayerNorm.weight", "head.dense_norm.scale", "d -> d"),
        Rule(f"{head}.transform.LayerNorm.bias", "head.dense_norm.bias", "d -> d"),
    ]
    duplicates: tuple[tuple[str, str], ...] = ()
    stand_ins: tuple[tuple[str, str], ...] = ()
    if config.tied:
        rules.append(Rule(f"{head}.bias", "head.bias", "v -> v"))
        duplicates = (
            (f"{head}.decoder.bias", f"{head}.bias"),
            (f"{head}.decoder.weight", "bert.embeddings.word_embeddings.weight"),
        )
    else:
        # PyTorch's head adds the decoder's bias. Until transformers 5 the other one was the same
        # tensor, whatever the config said: files of older versions hold it alone.
        rules.append(Rule(f"{head}.decoder.bias", "head.bias", "v -> v"))
        rules.append(Rule(f"{head}.decoder.weight", "head.output", "v d -> v d"))
        stand_ins = ((f"{head}.bias", f"{head}.decoder.bias"),)
    return Table(
        rules=tuple(rules),
        duplicates=duplicates,
        stand_ins=stand_ins,
        # Position numbers, the sentence embedding, next-sentence prediction.
        ignored=(
            r"bert\.embeddings\.position_ids",
            r"bert\.pooler\..*",
            r"cls\.seq_relationship\..*",
        ),
        renames=(
            (r"LayerNorm\.gamma$", "LayerNorm.weight"),
            (r"LayerNorm\.beta$", "LayerNorm.bias"),
        ),
    )


FAMILY = Family(
    name="bert",
    architectures=("BertForMaskedLM", "BertForPreTraining"),
    read=_read,
    write=_write,
    table=_table,
    # Of the sentence embedding; attention looks both ways in every file that says so.
    harmless=frozenset(
        {
            "directionality",
            "pooler_fc_size",
            "pooler_num_attention_heads",
            "pooler_num_fc_layers",
            "pooler_size_per_head",
            "pooler_type",
        }
    ),
    short_names={
        "bert-base-cased": "google-bert/bert-base-cased",
        "bert-base-uncased": "google-bert/bert-base-uncased",
        "bert-large-cased": "google-bert/bert-large-cased",
        "bert-large-uncased": "google-bert/bert-large-uncased",
    },
)
