"""Writing a model as a directory in Hugging Face layout, for other programs or a later `load`."""

import json
from pathlib import Path

from negjax import checks
from negjax.model.language_model import LanguageModel, check_model
from negjax.weights.conversion import to_tensors
from negjax.weights.families import family_of
from negjax.weights.formats import generation_files, safetensors_files


def save_pretrained(lm: LanguageModel, directory: str | Path) -> Path:
    """Writes config.json, model.safetensors, the tokenizer and which tokens end a text.

    `negjax.load` reads them back equal.

    Args:
        lm: the model; its weights are written in their own dtype.
        directory: made where it does not exist; files of the same names in it are replaced.

    Returns:
        The directory.

    Raises:
        ValueError: config.json has no way to say what the model computes, or
            the directory holds sharded weights, which a reader would prefer.
    """
    check_model(lm)
    directory = checks.path(directory, "directory")
    family = family_of(lm.config.family, lm.name)
    settings = family.config_to_hf(lm.config) | {"dtype": lm.dtype.name}
    directory.mkdir(parents=True, exist_ok=True)
    index = directory / safetensors_files.INDEX
    if index.exists():
        raise ValueError(f"{index}: sharded weights are here already; choose another directory")
    tensors = to_tensors(lm.params, family.table(lm.config), lm.config)
    safetensors_files.write_file(directory / safetensors_files.SINGLE, tensors)
    config_file = directory / "config.json"
    config_file.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    lm.tokenizer.save_pretrained(directory)
    if lm.end_tokens:
        generation_files.write_end_tokens(directory, lm.end_tokens)
    return directory
