"""Model families: how configs and weights of Hugging Face models map to negjax's.

A family is a mapping of settings and a weight table; what is computed is `negjax.model` alone.
"""

from negjax.weights.families import bert, gpt2, llama, modernbert, plain_decoders
from negjax.weights.families.common import Family

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        *(*llama.FAMILIES, gpt2.FAMILY, *plain_decoders.FAMILIES),
        *(*bert.FAMILIES, modernbert.FAMILY),
    )
}
"""By `model_type` of config.json, which is also `ModelConfig.family`."""

SHORT_NAMES = {
    name: hub_id for family in FAMILIES.values() for name, hub_id in family.short_names.items()
}
"""Hub ids of the models that people ask for most."""


def family_of(model_type: object, origin: str) -> Family:
    """The family of a `model_type`.

    Args:
        model_type: as config.json or GGUF metadata give it.
        origin: the file, for errors.

    Raises:
        ValueError: negjax has no such family.
    """
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        raise ValueError(
            f"{origin}: model_type is {model_type!r}; negjax knows {', '.join(FAMILIES)}"
        )
    return FAMILIES[model_type]
