"""`corpus_statistics`: one stream over texts, in memory that does not grow with them."""

import os
from collections.abc import Iterable, Sequence, Sized
from typing import NamedTuple

import jax
import numpy as np

from negjax import checks
from negjax.corpus.accumulating import Accumulated
from negjax.corpus.histograms import BINS
from negjax.corpus.reductions import Reduced, reduce_batch
from negjax.corpus.stream_states import StreamFolder
from negjax.corpus.summaries import CorpusStatistics, summary_of
from negjax.corpus.text_windows import Cutting, Stream, Window, as_probes, blocks
from negjax.errors import Argument, ArgumentError
from negjax.execution.batching import DEFAULT_BUDGET_BYTES, bucket_count
from negjax.execution.finite import check_finite
from negjax.execution.passes import pass_tokens
from negjax.execution.plans import Planned, fitting, plan_prompts, sizes_of
from negjax.execution.running import Run, run_batches
from negjax.inputs.probes import Probes
from negjax.model.language_model import LanguageModel, check_model
from negjax.model.meshes import to_host
from negjax.process import bars
from negjax.process.bars import with_bar

TEXT = "text"
"""What a bar counts."""
MOST_EXTREMES = 1000
"""Contexts of a neuron that are kept at most, on either side."""
ARRAYS = 10
"""[T, F], of a layer, that a reduction is expected to take beside the pass: with them estimates are
0.8 to 1.8 times what XLA reports."""


@with_bar
def corpus_statistics(
    lm: LanguageModel,
    texts: Iterable[str | Sequence[int]],
    groups: Iterable[str] | None = None,
    *,
    site: str | None = None,
    window: int | None = None,
    special: bool = False,
    extremes: int = 8,
    quantiles: bool = True,
    block_tokens: int = 65536,
    folder: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    budget_bytes: int = DEFAULT_BUDGET_BYTES,
    progress: bool | None = None,
) -> CorpusStatistics:
    """Mean, spread, extremes, quantiles and firing of every neuron over all tokens of a corpus.

    The texts are gone through once, and never held together. A text that is longer than a window
    is cut into several, each with the special tokens that frame the text (BOS; in a masked LM also
    what ends it). Text that the vocabulary does not know counts as the token that stands for it. A
    text without tokens is passed over.

    Args:
        texts: strings, which get the tokenizer's frame once, or lists of token ids, which are read
            as they stand; a list, or a stream that is read once.
        groups: a label of each text, such as its language: means and firing are also taken by
            label. Memory grows with their number.
        site: `act`, `up` or `product`; None is the model's default.
        window: tokens that the model reads at once, at most; None: its context.
        special: count special tokens (BOS, padding, the roles of chats), too. By default they are
            read, and not counted: their activations are unlike those of any text.
        extremes: k, contexts that are kept of each neuron on either side.
        quantiles: whether to count the histograms of `CorpusStatistics.quantiles`, 323 numbers of
            4 bytes a neuron.
        block_tokens: whole texts of about so many tokens are batched together, and what was
            found is saved after each such block.
        folder: what was found so far is kept there; the same call goes on from it, to the same
            bytes. None: nothing is kept.
        overwrite: discard what the folder holds of another call.
        budget_bytes: memory for one batch, besides the weights.
        progress: whether a bar shows how far it is; None: to people, after two seconds.

    Returns:
        the statistics, float64. They depend on the batches by rounding alone.

    Raises:
        ArgumentError: no counted token; a member that is no text, a token that the model does not
            embed, a missing label, an impossible number, by name; a folder of other settings or
            of other texts.
        ValueError: an activation is not finite; an unknown site.
        OSError: the folder cannot be written; what was saved before is kept.
    """
    lm = check_model(lm)
    chosen = lm.config.site(site)
    longest = lm.config.context_length
    length = longest if window is None else checks.whole_number(window, "window", 1, longest)
    cutting = Cutting(lm=lm, length=length, special=checks.flag(special, "special"))
    measure = _Measure(
        lm=lm,
        site=chosen,
        extremes=checks.whole_number(extremes, "extremes", 1, MOST_EXTREMES),
        histograms=checks.flag(quantiles, "quantiles"),
        budget_bytes=checks.whole_number(budget_bytes, "budget_bytes", 1),
    )
    block_tokens = checks.whole_number(block_tokens, "block_tokens", 1)
    checks.flag(overwrite, "overwrite")
    stream = Stream(texts, groups)
    about: dict[str, str | int | bool] = {
        "model": lm.name,
        "fingerprint": lm.fingerprint,
        "site": chosen,
        "window": length,
        "special": cutting.special,
    }
    settings = {
        **{name: value for name, value in about.items() if name != "model"},
        "config": lm.config.digest,
        "dtype": lm.dtype.name,
        "precision": lm.precision,
        "extremes": measure.extremes,
        "quantiles": measure.histograms,
        "block_tokens": block_tokens,
        "groups": groups is not None,
    }
    found = measure.nothing()
    count = len(texts) if isinstance(texts, Sized) else None
    with (
        bars.counted(count, TEXT) as bar,
        StreamFolder(folder, settings, overwrite=overwrite) as kept,
    ):
        found = kept.resumed(found, stream)
        if not kept.finished:
            for block in blocks(stream, cutting, block_tokens):
                measure.add(found, block)
                bar.count(stream.taken - bar.done, TEXT)
                kept.save(found, stream, finished=stream.ended)
    if not found.tokens.sum():
        raise ArgumentError(
            Argument("texts"),
            f": {stream.taken} texts without a token that counts; expected at least one",
        )
    return summary_of(found, labelled=groups is not None, about=about)


class _Measure(NamedTuple):
    """What is computed of windows, and with what."""

    lm: LanguageModel
    site: str
    extremes: int
    histograms: bool
    budget_bytes: int

    def nothing(self) -> Accumulated:
        """What is known before the first text."""
        config = self.lm.config
        return Accumulated.none(
            (config.layers, config.neurons),
            gated=config.gated,
            extremes=self.extremes,
            histograms=self.histograms,
        )

    def add(self, found: Accumulated, windows: list[Window]) -> None:
        """Runs a block of windows, and adds what they say."""
        if not windows:
            return
        probes = as_probes(windows)
        members = np.asarray([found.number_of(window.label) for window in windows], np.int64)
        first = {w.text: int(group) for w, group in zip(windows, members, strict=True)}
        for group in first.values():
            found.texts[group] += 1

        def kernel(run: Run) -> tuple[Reduced, _Rows]:
            prefix = run.split.prefix_tokens
            lengths = 0 if prefix is None else prefix.shape[1], run.split.suffix.tokens.shape[1]
            # So many groups at most, whichever these are: few shapes compile.
            most = bucket_count(min(len(found.groups), run.batch.rows))
            rows = _rows(windows, members, run.batch, *lengths, most)
            given = rows.counted, rows.grouped, self.site, self.extremes, self.histograms
            return run(reduce_batch, run.split, *given), rows

        batches = run_batches(
            self.lm, probes, self._plan(probes), kernel, budget_bytes=self.budget_bytes
        )
        bar = bars.current()
        for batch, (reduced, rows) in batches:
            bar.count(len(first) * len(batch.members) / len(windows), TEXT)
            if not rows.tokens.sum():
                continue
            arrays: Reduced = jax.tree.map(to_host, reduced)
            for values, at in (
                (arrays.highest, arrays.top_at),
                (arrays.lowest, arrays.bottom_at),
            ):
                # What is no number comes first at one of the ends, and so names its text.
                wrong = at[..., 0][~np.isfinite(values)]
                if wrong.size:
                    check_finite(self.lm, "an activation", values[None], rows.text[wrong[:1]])
            found.add(arrays, rows.groups, rows.tokens, rows.text, rows.place)

    def _plan(self, probes: Probes) -> list[Planned]:
        sizes, config = sizes_of(self.lm, probes), self.lm.config
        each = sizes.prefix_bytes + ARRAYS * sizes.itemsize * (sizes.length + 1) * config.neurons
        # A batch's results are as large whatever its texts.
        fixed = 4 * config.layers * config.neurons * (BINS if self.histograms else 1)
        most = max(1, pass_tokens() // sizes.length)
        fitting(self.budget_bytes, fixed + each, most, f"one window of {sizes.length} tokens")
        plan = plan_prompts(probes, sizes, each, most, self.budget_bytes - fixed)
        # In the order of the corpus: of equal activations the device keeps the first.
        return [
            batch._replace(members=np.sort(batch.members), estimate=batch.estimate + fixed)
            for batch in plan
        ]


class _Rows(NamedTuple):
    """What is known of a batch's rows beside their tokens."""

    counted: np.ndarray
    """[P, T + S], True where a token counts."""
    grouped: np.ndarray
    """[g, P], True where a row is of the group."""
    groups: list[int]
    """Numbers of the groups that there are; g is filled up."""
    tokens: np.ndarray
    """Of each, that count."""
    text: np.ndarray
    place: np.ndarray
    """[P · (T + S)], number of the text and of the token in it."""


def _rows(
    windows: list[Window],
    members: np.ndarray,
    batch: Planned,
    prefix: int,
    suffix: int,
    most: int,
) -> _Rows:
    """What is known of a batch's rows, each a right-padded prefix and a suffix of tokens.

    Args:
        members: numbers of the windows' groups.
        most: g.
    """
    shape = (batch.rows, prefix + suffix)
    place, text = np.full(shape, -1), np.zeros(shape, np.int64)
    for row, number in enumerate(batch.members):
        places = windows[number].places
        # A masked LM's rows have no prefix, and are padded themselves.
        before = len(places) - suffix if prefix else 0
        place[row, :before] = places[:before]
        place[row, prefix : prefix + len(places) - before] = places[before:]
        text[row] = windows[number].text
    counted = place >= 0
    of_rows = members[batch.members]
    groups = sorted({int(group) for group in of_rows})
    grouped = np.zeros((most, batch.rows), bool)
    for row, group in enumerate(groups):
        grouped[row, : len(of_rows)] = of_rows == group
    tokens = grouped.astype(int)[: len(groups)] @ counted.sum(1)
    return _Rows(counted, grouped, groups, tokens, text.reshape(-1), place.reshape(-1))
