"""A directory's tokenizer.json gives the ids, to the last one, whatever else the directory says."""

import itertools
import json
import logging
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)

from negjax.process.notices import Notice
from negjax.process.quiet import muted, transformers
from negjax.weights.formats.tokenizer_files import read_tokenizer

TEXTS = [
    "The capital of France is",
    "a  1",
    "x = [\n    1,",
    "Answer:\n\n  3",
    " The capital",
    "A</s>B",
    "<s> already there",
    "tabs\tand\r\nlines\n\n\n",
    "1234567890 3.14 10%",
    "don't WE'LL I'm",
    "café cafe\u0301 \u212b \ufb01",
    "東京は日本の首都です。 한국어 ไทย",
    "👩‍👩‍👧 🇫🇷 🙂",
    "e\u0301\u0323 a\u200db \u200f",
    "[MASK] <mask> <|endoftext|> <extra> [UNK]",
    "   ",
    "▁x ▁▁ _",
    "\x07\x00",
    "",
]
"""Digits, runs of blanks, new lines, leading blanks, combining marks, special tokens inside text,
CJK, emoji with joiners, control characters."""

SPECIAL = ["<s>", "</s>", "<|endoftext|>", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[PAD]"]
PATTERN = r"(?i:'s|'t|'re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+"


def _byte_level(*steps: pre_tokenizers.PreTokenizer, own_cuts: bool = True) -> Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merged = ["Ġt", "he", "Ġthe", "ĠĠ", "ĊĊ", "ap", "it"]
    merges = [("Ġ", "t"), ("h", "e"), ("Ġt", "he"), ("Ġ", "Ġ"), ("Ċ", "Ċ"), ("a", "p"), ("i", "t")]
    vocabulary = {token: i for i, token in enumerate([*alphabet, *merged])}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=own_cuts)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*steps, last]) if steps else last
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer


def _digits() -> Tokenizer:
    """SmolLM2's."""
    return _byte_level(pre_tokenizers.Digits(individual_digits=True))


def _regex() -> Tokenizer:
    """Llama 3's and Qwen's, which also composes characters."""
    cuts = pre_tokenizers.Split(Regex(PATTERN), behavior="isolated")
    tokenizer = _byte_level(cuts, own_cuts=False)
    tokenizer.normalizer = normalizers.NFC()
    return tokenizer


def _prefix_space() -> Tokenizer:
    """RoBERTa's byte-level kind, a blank before the text, with a frame."""
    tokenizer = _byte_level()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", tokenizer.get_vocab()["</s>"]), ("<s>", tokenizer.get_vocab()["<s>"])
    )
    return tokenizer


def _sentencepiece_bpe() -> Tokenizer:
    letters = ["▁", *"TheAcapitlB<>/sofx13=", *[f"<0x{byte:02X}>" for byte in range(256)]]
    vocabulary = {
        token: i for i, token in enumerate(dict.fromkeys(["<unk>", *letters, "▁T", "▁▁"]))
    }
    return Tokenizer(
        models.BPE(
            vocabulary,
            [("▁", "T"), ("▁", "▁")],
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )


def _llama2() -> Tokenizer:
    """A blank before the text, blanks replaced, added tokens inside text, a BOS in front."""
    tokenizer = _sentencepiece_bpe()
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in SPECIAL])
    bos = tokenizer.token_to_id("<s>")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", bos)]
    )
    return tokenizer


def _metaspace() -> Tokenizer:
    """Mistral's newer kind: the blank is put there by cutting, and not before every piece."""
    tokenizer = _sentencepiece_bpe()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer


def _word_pieces(lowercase: bool) -> Tokenizer:
    words = [*SPECIAL, "the", "The", "capital", "cafe", "café", "##s", "1", "##2", "a", "b", "x"]
    vocabulary = {token: i for i, token in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 5), ("[CLS]", 4))
    return tokenizer


def _unigram() -> Tokenizer:
    """XLM-R's kind, with text brought to NFKC and runs of blanks made one."""
    pieces = [("<unk>", 0.0), *((letter, -3.0) for letter in "▁Theacapitlfx13"), ("▁The", -1.0)]
    tokenizer = Tokenizer(models.Unigram(list(dict(pieces).items()), 0))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.add_special_tokens([*SPECIAL, "<mask>"])
    return tokenizer


def _extra_token() -> Tokenizer:
    """A token added after training, parsed inside text, blanks about it swallowed."""
    tokenizer = _digits()
    tokenizer.add_tokens([AddedToken("<extra>", lstrip=True, rstrip=True, normalized=True)])
    return tokenizer


PIPELINES: dict[str, Callable[[], Tokenizer]] = {
    "byte level": _byte_level,
    "single digits": _digits,
    "regex and NFC": _regex,
    "prefix space": _prefix_space,
    "Llama 2": _llama2,
    "metaspace": _metaspace,
    "WordPiece, cased": lambda: _word_pieces(False),
    "WordPiece, lower case": lambda: _word_pieces(True),
    "unigram": _unigram,
    "added token": _extra_token,
}
CLASSES = [
    *("BertTokenizer", "BertTokenizerFast", "DistilBertTokenizer", "CodeLlamaTokenizer"),
    *("GPT2Tokenizer", "GPT2TokenizerFast", "GPTNeoXTokenizer", "GemmaTokenizer"),
    *("LlamaTokenizer", "LlamaTokenizerFast", "PreTrainedTokenizerFast", "Qwen2Tokenizer"),
    *("Qwen2TokenizerFast", "RobertaTokenizer", "TokenizersBackend", "XLMRobertaTokenizer"),
    *("NobodyKnowsIt", None),
]
"""`tokenizer_class` as published directories have it; None: they have no tokenizer_config.json."""


def write(directory: Path, tokenizer: Tokenizer, settings: dict[str, object] | None = None) -> Path:
    directory.mkdir(exist_ok=True)
    tokenizer.save(str(directory / "tokenizer.json"))
    (directory / "config.json").write_text(json.dumps({"model_type": "llama"}))
    if settings is not None:
        (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    return directory


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_ids_are_the_files(pipeline: str, tmp_path: Path) -> None:
    plain = PIPELINES[pipeline]()
    directory = write(tmp_path, plain)
    expected = [
        plain.encode(text, add_special_tokens=special).ids
        for text, special in itertools.product(TEXTS, (True, False))
    ]
    for name in CLASSES:
        # Settings that say otherwise than the file: the file is right.
        settings: dict[str, object] = {
            "tokenizer_class": name,
            "add_bos_token": True,
            "add_prefix_space": True,
            "do_lower_case": True,
            "legacy": False,
            "bos_token": {"content": "<s>", "special": True},
            "eos_token": "</s>",
            "pad_token": "<a token that the file does not have>",
            "unk_token": "x",  # which the file has as an ordinary token
            "clean_up_tokenization_spaces": True,
            "model_max_length": 2,
            "extra_special_tokens": {"image_token": "capital"},
        }
        (directory / "tokenizer_config.json").unlink(missing_ok=True)
        if name is not None:
            write(directory, plain, settings)
        found = read_tokenizer(directory)
        ids = [
            found(text, add_special_tokens=special)["input_ids"]
            for text, special in itertools.product(TEXTS, (True, False))
        ]
        assert ids == expected, name
        assert found.pad_token is None or found.pad_token in plain.get_vocab()
        assert len(found) == plain.get_vocab_size()


def test_a_prompt_is_neither_cut_nor_padded(tmp_path: Path) -> None:
    plain = _digits()
    text = "the capital of France"
    whole = plain.encode(text).ids
    plain.enable_truncation(max_length=3)
    plain.enable_padding(length=40, pad_id=0, pad_token="!")
    assert len(plain.encode(text).ids) == 40
    assert read_tokenizer(write(tmp_path, plain))(text)["input_ids"] == whole


def test_what_is_written_is_read_alike(tmp_path: Path) -> None:
    """A second look, at what `save_pretrained` writes of the first."""
    for name, make in PIPELINES.items():
        first = read_tokenizer(write(tmp_path / name.replace(" ", "-"), make(), {}))
        first.save_pretrained(tmp_path / "again")
        again = read_tokenizer(tmp_path / "again")
        for text in TEXTS:
            assert again(text)["input_ids"] == first(text)["input_ids"], (name, text)


def test_special_tokens_have_their_names(tmp_path: Path) -> None:
    """Named by a file, by what the model does not know, or by how they are spelled."""
    plain = read_tokenizer(write(tmp_path / "plain", _word_pieces(False)))
    assert (plain.mask_token, plain.unk_token, plain.cls_token, plain.pad_token) == (
        "[MASK]",
        "[UNK]",
        "[CLS]",
        "[PAD]",
    )
    unigram = read_tokenizer(write(tmp_path / "unigram", _unigram()))
    assert (unigram.mask_token, unigram.unk_token) == ("[MASK]", "<unk>")
    directory = write(tmp_path / "named", _unigram(), {"mask_token": {"content": "<mask>"}})
    (directory / "special_tokens_map.json").write_text(json.dumps({"eos_token": "</s>"}))
    named = read_tokenizer(directory)
    assert (named.mask_token, named.eos_token) == ("<mask>", "</s>")
    assert named.mask_token_id == named.convert_tokens_to_ids("<mask>")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"version": "1.0"', "tokenizer.json: not JSON"),
        ('{"version": "1.0"}', "tokenizer.json: not a tokenizer that the tokenizers package"),
        ("[]", "tokenizer.json: holds a JSON list"),
    ],
)
def test_a_damaged_file_is_named(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        read_tokenizer(tmp_path)


# ---- Without tokenizer.json.


def slow_words(directory: Path, **settings: object) -> Path:
    directory.mkdir(exist_ok=True)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "Paris", "paris", "caf", "##é", "cafe"]
    (directory / "vocab.txt").write_text("\n".join(words))
    (directory / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    return directory


def test_what_slow_files_leave_open_is_said(tmp_path: Path) -> None:
    with pytest.warns(
        Notice,
        match=r"no tokenizer.json here, .* made of vocab.txt .*BertTokenizer;"
        r" no file says, and it assumes: do_lower_case = true, strip_accents = null,",
    ):
        assumed = read_tokenizer(slow_words(tmp_path / "open"))
    assert assumed.tokenize("Paris café") == ["paris", "cafe"]
    settings = {"do_lower_case": False, "strip_accents": False, "tokenize_chinese_chars": True}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        said = read_tokenizer(slow_words(tmp_path / "said", **settings))
    assert said.tokenize("Paris café") == ["Paris", "caf", "##é"]


def test_byte_level_slow_files(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text(json.dumps({"a": 0, "b": 1, "ab": 2, "Ġ": 3, "Ġab": 4}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b\nĠ ab\n")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.warns(Notice, match=r"made of vocab.json .* it assumes: add_prefix_space = false"):
        found = read_tokenizer(tmp_path)
    assert found("ab ab")["input_ids"] == [2, 4]
    (tmp_path / "merges.txt").unlink()
    with pytest.raises(ValueError, match=r"vocab.json: transformers cannot read the tokenizer \("):
        read_tokenizer(tmp_path)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tokenizer.model").write_bytes(b"")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match=r"takes the package sentencepiece, .* run .pip install sentencepiece"
    ):
        read_tokenizer(tmp_path)


def test_transformers_is_muted_and_heard_again(capsys: pytest.CaptureFixture[str]) -> None:
    child = logging.getLogger("transformers.tokenization_utils_base")
    with muted():
        child.warning("advice that nobody can act on")
        assert not child.isEnabledFor(logging.WARNING)
    assert child.isEnabledFor(logging.WARNING)
    assert "advice" not in capsys.readouterr().err
    assert transformers.__version__
