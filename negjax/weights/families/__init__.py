"""Model families: how configs and weights of Hugging Face models map to negjax's.

A family is a mapping of settings and a weight table; what is computed is `negjax.model` alone.
"""

from collections.abc import Mapping
from typing import Any

from negjax.weights.families import bert, gpt2, llama, modernbert, plain_decoders
from negjax.weights.families.common import Family, GGUFForm

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


def family_of_gguf(metadata: Mapping[str, Any], origin: str) -> tuple[Family, GGUFForm]:
    """The family of a GGUF file, and what its files look like.

    Args:
        origin: the file, for errors.

    Raises:
        ValueError: negjax reads no files of this architecture.
    """
    known = [(family, family.gguf) for family in FAMILIES.values() if family.gguf is not None]
    arch = metadata.get("general.architecture")
    found = [(family, form) for family, form in known if form.architecture == arch]
    if not found:
        why = ": these files hold no masked-LM head" if arch == "modern-bert" else ""
        names = dict.fromkeys(form.architecture for _, form in known)
        raise ValueError(
            f"{origin}: general.architecture is {arch!r}{why}; negjax reads GGUF files of "
            f"{', '.join(names)}"
        )
    marked = [(family, form) for family, form in found if metadata.get(f"{arch}.{form.marker}")]
    return (marked or found)[0]
