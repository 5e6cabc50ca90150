"""The texts around the tokens at which a neuron's activation is most extreme."""

import dataclasses
from collections.abc import Iterable, Sequence

from numpy.typing import ArrayLike

from negjax import checks
from negjax.corpus.summaries import CorpusStatistics, check_of_model
from negjax.corpus.text_windows import Cutting, Stream
from negjax.errors import Argument, ArgumentError
from negjax.inputs.neurons import check_neurons
from negjax.model.language_model import LanguageModel
from negjax.records import readable

MOST_AROUND = 10**6
"""Tokens on either side that may be asked for."""


@readable
@dataclasses.dataclass(frozen=True, kw_only=True)
class Context:
    """A token of a corpus, and what stands around it."""

    layer: int
    index: int
    """Of the neuron in its layer."""
    value: float
    """The neuron's activation at the token."""
    text: int
    """Number of the text."""
    token: int
    """Number of the token among all tokens of its text."""
    before: str
    at: str
    """The token itself."""
    after: str


def contexts(
    lm: LanguageModel,
    statistics: CorpusStatistics,
    texts: Iterable[str | Sequence[int]],
    neurons: ArrayLike,
    around: int = 12,
    lowest: bool = False,
) -> list[list[Context]]:
    """The tokens at which neurons' activations were largest, with the text around them.

    Args:
        statistics: of this model and these texts.
        texts: as they were given to `corpus_statistics`; they are gone through once.
        neurons: (layer, index) pairs [N, 2].
        around: tokens on either side to show.
        lowest: those at which the activations were smallest.

    Returns:
        of each of N neurons up to k contexts, the most extreme first.

    Raises:
        ArgumentError: statistics of another model; fewer texts than they are of, or a text that is
            shorter than the token that they name.
        ValueError: a neuron that the model does not have.
    """
    statistics = check_of_model(lm, statistics)
    around = checks.whole_number(around, "around", 0, MOST_AROUND)
    found = statistics.bottom if checks.flag(lowest, "lowest") else statistics.top
    pairs = check_neurons(lm.config, neurons, 1)[0].tolist()
    wanted: dict[int, list[tuple[int, int, int]]] = {}
    for number, (layer, index) in enumerate(pairs):
        of_neuron = zip(found.text[layer, index], found.token[layer, index], strict=True)
        for rank, (text_number, token) in enumerate(of_neuron):
            if text_number >= 0:
                wanted.setdefault(int(text_number), []).append((number, rank, int(token)))
    shown: dict[tuple[int, int], Context] = {}
    stream = Stream(texts, None)
    cutting = Cutting(lm=lm, length=statistics.window, special=statistics.special)
    while wanted:
        text = stream.take()
        if text is None:
            raise ArgumentError(
                Argument("texts"),
                f" end after {stream.taken}, and statistics name text {min(wanted)}; pass the "
                "texts that they are of",
            )
        places = wanted.pop(text.number, [])
        ids = cutting.tokens(text) if places else []
        for number, rank, token in places:
            if token >= len(ids):
                raise ArgumentError(
                    Argument(f"texts[{text.number}]"),
                    f" has {len(ids)} tokens, and statistics name its token {token}; pass the "
                    "texts that they are of",
                )
            layer, index = pairs[number]
            parts = (
                ids[max(0, token - around) : token],
                ids[token : token + 1],
                ids[token + 1 : token + 1 + around],
            )
            before, at, after = (str(lm.tokenizer.decode(part)) for part in parts)
            shown[number, rank] = Context(
                layer=layer,
                index=index,
                value=float(found.value[layer, index, rank]),
                text=text.number,
                token=token,
                before=before,
                at=at,
                after=after,
            )
    return [
        [shown[number, rank] for rank in range(found.text.shape[-1]) if (number, rank) in shown]
        for number in range(len(pairs))
    ]
