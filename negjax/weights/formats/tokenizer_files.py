"""The tokenizer of a directory in Hugging Face layout.

Where tokenizer.json lies there, it is the tokenizer, as it stands: its normalizer, its cuts, its
merges, its added tokens and what it puts around a text. tokenizer_config.json adds names of special
tokens and the chat template. transformers' classes are not asked: those named after a model build
the steps anew from vocabulary and merges, and so give other ids for the same text.

Only without tokenizer.json are the files of slow tokenizers read, by transformers, and what those
files leave open is said.
"""

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from negjax.checks import shown
from negjax.process import quiet
from negjax.process.notices import say
from negjax.storage import given_files
from negjax.weights.formats.sources import check_tokenizer_files

FILE, SETTINGS, SPECIAL, TEMPLATE, PROCESSOR_TEMPLATE = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "chat_template.json",
)
SENTENCEPIECE = "tokenizer.model"
SLOW_FILES = (SENTENCEPIECE, "vocab.json", "vocab.txt")

# How special tokens are spelled where no file says which is which, as in BERT's and GPT-2's
# directories: the first that the tokenizer has.
SPELLINGS = {
    "bos_token": ("<s>", "<|begin_of_text|>", "<|endoftext|>"),
    "eos_token": ("</s>", "<|end_of_text|>", "<|endoftext|>"),
    "unk_token": ("[UNK]", "<unk>"),
    "sep_token": ("[SEP]",),
    "pad_token": ("[PAD]", "<pad>"),
    "cls_token": ("[CLS]",),
    "mask_token": ("[MASK]", "<mask>"),
}

# What slow tokenizers assume where tokenizer_config.json does not say, by their file.
_OPEN = {
    "vocab.txt": ("do_lower_case", "strip_accents", "tokenize_chinese_chars"),
    "vocab.json": ("add_prefix_space",),
    SENTENCEPIECE: ("add_prefix_space", "legacy"),
}


def read_tokenizer(directory: Path) -> "quiet.transformers.PreTrainedTokenizerFast":
    """A directory's tokenizer, wrapped for names of special tokens and chat template.

    Its ids are those of `tokenizers.Tokenizer.from_file(…).encode(text).ids`, but that it neither
    cuts nor pads: the prompts of a measurement are whole.

    Raises:
        FileNotFoundError: there is no tokenizer.
        ValueError: a file is damaged, asks to run code, or needs a package that is not installed.
    """
    settings = _read_if_there(directory / SETTINGS)
    if "auto_map" in settings:
        raise ValueError(
            f"{directory / SETTINGS}: auto_map asks to run the repository's own code; negjax does "
            "not"
        )
    if (directory / FILE).is_file():
        return _from_file(directory, settings)
    slow = [name for name in SLOW_FILES if (directory / name).is_file()]
    if not slow:
        raise FileNotFoundError(
            f"{directory}: no tokenizer here, expected one of {', '.join((FILE, *SLOW_FILES))}; "
            "write one with the save_pretrained method of the model's tokenizer"
        )
    return _from_slow_files(directory, slow[0], settings)


def _read_if_there(path: Path) -> dict[str, Any]:
    return given_files.read_json(path) if path.is_file() else {}


def _from_file(
    directory: Path, settings: Mapping[str, Any]
) -> "quiet.transformers.PreTrainedTokenizerFast":
    path = directory / FILE
    text = given_files.decoded(path.read_bytes(), path)
    content = given_files.parsed(text, path)
    if not isinstance(content, dict):
        raise ValueError(f"{path}: holds a JSON {type(content).__name__}, expected an object")
    try:
        backend = Tokenizer.from_str(text)
    # The tokenizers package raises nothing more particular.
    except Exception as error:
        raise ValueError(
            f"{path}: not a tokenizer that the tokenizers package can read ({error}); fetch or "
            "write it again, or upgrade that package"
        ) from error
    backend.no_truncation()
    backend.no_padding()
    return wrapped(
        backend,
        _roles(backend, content, settings, _read_if_there(directory / SPECIAL)),
        _chat_template(directory, settings),
    )


def wrapped(
    backend: Tokenizer, roles: Mapping[str, str], chat_template: str | dict[str, str] | None = None
) -> "quiet.transformers.PreTrainedTokenizerFast":
    """transformers' face of a tokenizer, which stays as it is.

    Args:
        roles: names such as `mask_token`, and tokens that the tokenizer has.
    """
    with quiet.muted():
        face = quiet.transformers.PreTrainedTokenizerFast(
            tokenizer_object=backend,
            clean_up_tokenization_spaces=False,
            chat_template=chat_template,
            **roles,
        )
    # The constructor makes named tokens special, whether or not the file does, and for some
    # vocabularies other cuts: ids would no longer be the file's.
    face._tokenizer = backend
    return face


def _roles(
    backend: Tokenizer,
    content: Mapping[str, Any],
    settings: Mapping[str, Any],
    named: Mapping[str, Any],
) -> dict[str, str]:
    """Special tokens by role: as the files name them, or by their spelling."""
    added = content.get("added_tokens") or []
    special = {token["content"] for token in added if token.get("special")}
    roles = {}
    for role, spellings in SPELLINGS.items():
        value = settings.get(role, named.get(role))
        token = value.get("content") if isinstance(value, dict) else value
        if token is None and role == "unk_token":
            token = _unknown(content.get("model") or {})
        if token is None:
            token = next((spelling for spelling in spellings if spelling in special), None)
        # A name for a token that the file does not have would only make one up.
        if isinstance(token, str) and backend.token_to_id(token) is not None:
            roles[role] = token
    return roles


def _unknown(model: Mapping[str, Any]) -> str | None:
    """The token that a vocabulary has for what it does not know."""
    if model.get("type") == "Unigram" and model.get("unk_id") is not None:
        return str(model["vocab"][model["unk_id"]][0])
    token = model.get("unk_token")
    return token if isinstance(token, str) else None


def _chat_template(directory: Path, settings: Mapping[str, Any]) -> str | dict[str, str] | None:
    """The template, or several by name: of its own file, the settings, or a processor's file."""
    if (directory / TEMPLATE).is_file():
        origin = directory / TEMPLATE
        return given_files.decoded(origin.read_bytes(), origin)
    origin, found = directory / SETTINGS, settings.get("chat_template")
    if found is None:
        origin = directory / PROCESSOR_TEMPLATE
        found = _read_if_there(origin).get("chat_template")
    if found is None or isinstance(found, str):
        return found
    named: dict[str, str] = {}
    for entry in found if isinstance(found, list) else [found]:
        match entry:
            case {"name": str(name), "template": str(template)} if isinstance(found, list):
                named[name] = template
            case _:
                raise ValueError(
                    f"{origin}: chat_template is {shown(found)}, expected a template, or a list of "
                    "names and templates; fetch or write the file again"
                )
    return named


def _from_slow_files(
    directory: Path, file: str, settings: Mapping[str, Any]
) -> "quiet.transformers.PreTrainedTokenizerFast":
    check_tokenizer_files(directory)
    expected = f"write {FILE} beside it with the save_pretrained method of the model's tokenizer"
    if file == SENTENCEPIECE and importlib.util.find_spec("sentencepiece") is None:
        raise ValueError(
            f"{directory / file}: reading it takes the package sentencepiece, which is not "
            f"installed; run `pip install sentencepiece`, or {expected}"
        )
    try:
        with quiet.muted():
            found = quiet.transformers.AutoTokenizer.from_pretrained(
                directory, local_files_only=True
            )
    except (ValueError, OSError, ImportError, LookupError, TypeError, RuntimeError) as error:
        raise ValueError(
            f"{directory / file}: transformers cannot read the tokenizer ({error}); {expected}"
        ) from error
    if not isinstance(found, quiet.transformers.PreTrainedTokenizerFast):
        raise ValueError(
            f"{directory / file}: {type(found).__name__} does not say which text a token covers; "
            f"{expected}"
        )
    assumed = {
        name: found.init_kwargs.get(name, getattr(found, name, None))
        for name in _OPEN[file]
        if name not in settings
    }
    if assumed:
        listed = ", ".join(f"{name} = {json.dumps(value)}" for name, value in assumed.items())
        say(
            f"{directory}: no {FILE} here, so the tokenizer is made of {file} by the rules of "
            f"transformers' {type(found).__name__}; no file says, and it assumes: {listed}"
        )
    return found
