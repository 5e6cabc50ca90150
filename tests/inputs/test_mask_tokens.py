"""Masked LMs whose mask is `<mask>`: it takes the blank before it, a word may begin after it."""

import dataclasses
from pathlib import Path

import pytest
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    pre_tokenizers,
    processors,
    trainers,
)

import negjax
from negjax.model.language_model import LanguageModel
from negjax.weights.formats.tokenizer_files import wrapped
from negjax.weights.saving import save_pretrained
from tests.support.block_shapes import BERT
from tests.support.tiny_models import language_model

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
MASK = AddedToken("<mask>", lstrip=True, special=True)
TEXT = "The capital of France is Paris. Paris is a city, and Rome is a city."


def byte_level() -> Tokenizer:
    """RoBERTa's kind."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([f"{TEXT} Rome"] * 3, trainer)
    return framed(tokenizer)


def pieces() -> Tokenizer:
    """XLM-R's kind, which begins a word after every added token."""
    words = [f"▁{word}" for word in ("The", "capital", "of", "France", "is", "Paris", "Rome", "a")]
    letters = sorted({*TEXT, "▁"} - {" "})
    scores = [*((token, 0.0) for token in SPECIAL), *((word, -1.0) for word in words)]
    tokenizer = Tokenizer(models.Unigram([*scores, *((x, -5.0) for x in letters)], unk_id=3))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    tokenizer.decoder = decoders.Metaspace()
    return framed(tokenizer)


def framed(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer.add_special_tokens([*SPECIAL, MASK])
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return tokenizer


@pytest.fixture(params=[byte_level, pieces])
def lm(request: pytest.FixtureRequest, tmp_path: Path) -> LanguageModel:
    """A RoBERTa, from its files, in which no file names the mask."""
    tokenizer = request.param()
    sizes = {"vocab_size": tokenizer.get_vocab_size(), "context_length": 40}
    config = dataclasses.replace(
        BERT, family="roberta", activation="gelu", position_offset=2, token_types=1, **sizes
    )
    made = dataclasses.replace(language_model(config), tokenizer=wrapped(tokenizer, {}))
    save_pretrained(made, tmp_path)
    (tmp_path / "tokenizer_config.json").unlink(missing_ok=True)
    found = negjax.load(tmp_path)
    assert found.config == config and found.fingerprint == made.fingerprint
    return found


def spelled(lm: LanguageModel, tokens: list[int]) -> list[str]:
    return [token.replace("Ġ", "▁") for token in lm.tokenizer.convert_ids_to_tokens(tokens)]


def test_targets_take_the_place_of_the_mask(lm: LanguageModel) -> None:
    for prompt in ("The capital of France is [MASK].", "The capital of France is <mask>."):
        probes = negjax.encode(lm, [prompt], [["Paris", "Rome"]])
        assert spelled(lm, probes.tokens[0, probes.read[0] - 1 :].tolist())[:2] == ["▁is", "<mask>"]
        assert spelled(lm, probes.target_ids[0, :, 0].tolist()) == ["▁Paris", "▁Rome"]
        assert probes.tokens[0, 0] == 0 and probes.tokens[0, -1] == 2
    found = negjax.neurgrad(lm, probes)
    assert found.computed.shape[1] == 2


def test_what_merges_with_the_mask_is_refused(lm: LanguageModel) -> None:
    # Inside a word the target is what continues it.
    with pytest.raises(ValueError, match=r"'Paris' of prompt 0 is \d tokens \['Pa?'"):
        negjax.encode(lm, ["The capital of France is[MASK]."], ["Paris"])
    with pytest.raises(ValueError, match=r"merges with the words beside \[MASK\]"):
        negjax.encode(lm, ["The capital is [MASK]ris."], ["Pa"])


def test_what_stands_apart_keeps_its_tokens(lm: LanguageModel) -> None:
    probes = negjax.encode(lm, ["Paris is a [MASK] , and"], ["city"], target_mode="first")
    plain = negjax.encode(lm, ["Paris is a [MASK], and"], ["city"], target_mode="first")
    assert probes.target_ids.tolist() == plain.target_ids.tolist()
