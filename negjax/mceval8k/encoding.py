"""Items as probes of a model: their prompts, with a task's labels as targets."""

from collections.abc import Sequence
from typing import Literal, get_args

from negjax.checks import one_of
from negjax.inputs.encoding import encode
from negjax.inputs.probes import Probes
from negjax.inputs.token_ids import plain_tokens
from negjax.mceval8k.benchmark import Item
from negjax.mceval8k.sampling import check_items, check_labels
from negjax.model.language_model import LanguageModel, check_model

LabelMode = Literal["single", "alone"]


def encode_items(
    lm: LanguageModel,
    items: Sequence[Item],
    labels: Sequence[str],
    *,
    target_mode: LabelMode = "single",
) -> Probes:
    """Tokenises items and, as the K targets of each, the labels.

    A label is the token that follows the header of the answer, without a blank, as in the
    demonstrations.

    Args:
        lm: a causal LM.
        items: B items of one task.
        labels: the task's, K strings.
        target_mode: `single`: labels are tokenised in context. `alone`: without it, as the original
            implementation did (for comparison).

    Raises:
        ValueError: a label is several tokens, or the same as another's: the message names it; or
            the model is a masked LM, or a prompt is longer than its context.
    """
    check_model(lm)
    one_of(target_mode, "target_mode", get_args(LabelMode))
    items, labels = check_items(items), check_labels(labels)
    if not lm.config.causal:
        raise ValueError(f"{lm.name} is a masked LM; MCEval8K's prompts are read by causal LMs")
    if not items:
        raise ValueError("no items: expected at least one")
    # One item a language tells what the labels are: what they follow is the header of the answer.
    for item in {item.language: item for item in items}.values():
        _check_labels(lm, item, labels, target_mode)
    return encode(
        lm,
        [item.prompt for item in items],
        [tuple(labels)] * len(items),
        target_mode=target_mode,
        separator="",
    )


def _check_labels(
    lm: LanguageModel, item: Item, labels: Sequence[str], target_mode: LabelMode
) -> None:
    if target_mode == "alone":
        found = [plain_tokens(lm, f"label {label!r}", label) for label in labels]
        where = "alone"
    else:
        probes = encode(lm, [item.prompt], [tuple(labels)], target_mode="all", separator="")
        found = [
            ids[mask].tolist()
            for ids, mask in zip(probes.target_ids[0], probes.target_mask[0], strict=True)
        ]
        where = f"after {item.question.splitlines()[-1]!r}"
    for label, ids in zip(labels, found, strict=True):
        if len(ids) != 1:
            pieces = [lm.tokenizer.decode([i]) for i in ids]
            raise ValueError(
                f"label {label!r} is {len(ids)} tokens {pieces} {where}; the model must have one "
                "token for each label: choose a template with other labels, or another model"
            )
