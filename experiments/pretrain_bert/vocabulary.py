"""A cased WordPiece vocabulary in which every word of an answer is one token.

Sources: WordPiece as BERT uses it (arXiv 1810.04805), its pieces chosen by merging frequent pairs
(Sennrich et al., arXiv 1508.07909), as `tokenizers` does.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from experiments.pretrain_bert.corpus import Statement
from negjax.process.quiet import transformers

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
# Everything that can be typed in ASCII has a token, whatever the statements hold.
ASCII = tuple(map(chr, range(33, 127)))


def train_vocabulary(statements: Sequence[Statement], size: int) -> list[str]:
    """Tokens in the order of their ids: the same for the same statements, on any machine.

    Special tokens; every character, alone and as a continuation; every word of an answer, by
    frequency, since it should be one token; then pieces merged from the other words' frequent pairs
    until the vocabulary is full or no pair occurs twice. Case is kept: names carry it.

    Raises:
        ValueError: `size` holds less than the characters and the answers.
    """
    spoken = Counter(word for s in statements for word in _words(s.filled))
    answers = {word for s in statements if s.answer is not None for word in _words(s.answer)}
    characters = sorted({*ASCII, *(letter for word in spoken for letter in word)})
    continued = [f"##{letter}" for letter in characters]
    whole = sorted(answers, key=lambda word: (-spoken[word], word))
    needed = list(dict.fromkeys([*SPECIAL, *characters, *continued, *whole]))
    if size < len(needed):
        raise ValueError(
            f"a vocabulary of {size}: expected at least {len(needed)}, which {len(characters)} "
            f"characters and {len(whole)} words of answers need"
        )
    others = [word for word in spoken.elements() if word not in answers]
    merged = _merged_pieces(others, characters, continued, size)
    return list(dict.fromkeys([*needed, *merged]))[:size]


def wordpiece_tokenizer(
    vocabulary: Sequence[str], context_length: int
) -> transformers.BertTokenizer:
    """transformers' BERT tokenizer with this vocabulary: cased, accents kept."""
    return transformers.BertTokenizer(
        vocab={token: index for index, token in enumerate(vocabulary)},
        do_lower_case=False,
        strip_accents=False,
        model_max_length=context_length,
    )


def _words(text: str) -> Iterator[str]:
    """Words and marks as BERT's tokenizer separates them."""
    cleaned = normalizers.BertNormalizer(lowercase=False, strip_accents=False).normalize_str(text)
    return (word for word, _ in pre_tokenizers.BertPreTokenizer().pre_tokenize_str(cleaned))


def _merged_pieces(
    words: Iterable[str], characters: list[str], continued: list[str], size: int
) -> list[str]:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        min_frequency=2,
        # Ids break ties between pairs. Left to itself, the trainer numbers continuations in the
        # order of a hash table, which differs from process to process.
        special_tokens=continued,
        initial_alphabet=characters,
        limit_alphabet=len(characters),
        show_progress=False,
    )
    tokenizer.train_from_iterator(words, trainer)
    numbers = tokenizer.get_vocab()
    return sorted(numbers, key=numbers.__getitem__)
