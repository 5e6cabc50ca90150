"""Rules of modules whose weight and bias a file holds under the module's name, as PyTorch does."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from negjax.model.config import ModelConfig
from negjax.weights.conversion import Table
from negjax.weights.rules import Rule

QUERY, KEY, OUT, UP, DOWN = (
    *("(h c) d -> d h c", "(g c) d -> d g c", "d (h c) -> h c d"),
    *("f d -> d f", "d f -> f d"),
)


class _Linear(NamedTuple):
    """A linear map, whose weight is stored [out, in]."""

    kernel: str
    bias: str
    field: str
    """Of `ModelConfig`: whether it has a bias."""


LINEAR = {
    "blocks.attention.query": _Linear(QUERY, "(h c) -> h c", "qkv_bias"),
    "blocks.attention.key": _Linear(KEY, "(g c) -> g c", "qkv_bias"),
    "blocks.attention.value": _Linear(KEY, "(g c) -> g c", "qkv_bias"),
    "blocks.attention.out": _Linear(OUT, "d -> d", "out_bias"),
    "blocks.ffn.up": _Linear(UP, "f -> f", "ffn_bias"),
    "blocks.ffn.down": _Linear(DOWN, "d -> d", "ffn_bias"),
    "head.dense": _Linear("o d -> d o", "o -> o", "mlm_head_bias"),
}
TABLES = {
    "embedding.token": "v d -> v d",
    "embedding.position": "t d -> t d",
    "embedding.token_type": "e d -> e d",
}


def module_rules(modules: Mapping[str, str], config: ModelConfig) -> list[Rule]:
    """Rules of all weights and biases.

    Args:
        modules: by the model's name of a linear map, a norm or an embedding: the file's.
    """
    rules = []
    for module, source in modules.items():
        if module in TABLES:
            rules.append(Rule(f"{source}.weight", module, TABLES[module]))
            continue
        linear = LINEAR.get(module)
        kernel, bias, field = linear or ("d -> d", "d -> d", "norm_bias")
        target = f"{module}.{'scale' if linear is None else 'kernel'}"
        # The one norm of which the first layer may have none.
        first = int(module == "blocks.attention_norm" and not config.first_norm)
        rules.append(Rule(f"{source}.weight", target, kernel, first))
        if getattr(config, field):
            rules.append(Rule(f"{source}.bias", f"{module}.bias", bias, first))
    return rules


def module_table(
    modules: Mapping[str, str],
    config: ModelConfig,
    *,
    decoder: str,
    second_bias: str | None = None,
    rules: Sequence[Rule] = (),
    **others: Any,
) -> Table:
    """A family's whole conversion.

    Args:
        modules: as in `module_rules`.
        decoder: the file's name of the output embedding.
        second_bias: a second name of its bias, which tied files have, with or without the first.
        rules: of tensors that several modules share.
        others: fields of `Table`.
    """
    output, duplicates, stand_ins = [], [], []
    bias, weight = f"{decoder}.bias", f"{decoder}.weight"
    if config.tied:
        duplicates.append((weight, f"{modules['embedding.token']}.weight"))
    else:
        output.append(Rule(weight, "head.output", "v d -> v d"))
    if second_bias is not None and config.tied:
        duplicates.append((bias, second_bias))
        bias = second_bias
    elif second_bias is not None:
        # PyTorch's head adds the decoder's bias. Until transformers 5 the other one was the same
        # tensor, whatever the config said: files of older versions hold it alone.
        stand_ins.append((second_bias, bias))
    if config.output_bias:
        output.append(Rule(bias, "head.bias", "v -> v"))
    return Table(
        rules=(*module_rules(modules, config), *rules, *output),
        duplicates=tuple(duplicates),
        stand_ins=tuple(stand_ins),
        **others,
    )
