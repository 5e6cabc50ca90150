"""How good an edit is: the measures of the editing literature.

Source: ROME and its CounterFact benchmark (Meng et al., *Locating and Editing Factual Associations
in GPT*, NeurIPS 2022, arXiv 2202.05262). There fluency is the entropy of generated text's n-grams;
here it is the perplexity of held-out text.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from negjax import checks
from negjax.checks import real_number, real_numbers
from negjax.execution import batching
from negjax.execution.batching import Split
from negjax.execution.finite import check_finite
from negjax.execution.passes import unperturbed_pass
from negjax.execution.plans import fitting, plan_prompts, sizes_at, sizes_of
from negjax.execution.row_plans import STEPS
from negjax.execution.running import Run, in_order, run_batches, run_program
from negjax.inputs.probes import Probes, check_asked
from negjax.inputs.token_ids import check_ids
from negjax.measurements.answers import plain_answers
from negjax.model.language_model import LanguageModel, check_model
from negjax.model.meshes import to_host
from negjax.process import bars
from negjax.process.bars import with_bar
from negjax.replay.suffixes import Suffix, run, take_read

# Texts that are scored together.
MOST_TEXTS = 64
# By which the exponential of a float32 log-probability may be above 1.
ROUNDING = 1e-5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Success:
    """Prompts of one kind: how often, and by how much, one answer is likelier than another."""

    prompts: int
    score: float
    """Share of the prompts where P(first) > P(second)."""
    magnitude: float
    """Mean P(first) − P(second)."""
    probability: float
    """Mean P(first)."""


def success(first: np.ndarray, second: np.ndarray) -> Success:
    """Of probabilities [n] of two answers.

    With (new, old) on the edited prompts this is ROME's efficacy, on paraphrases its paraphrase
    score; with (own answer, new) on prompts about other subjects, its neighbourhood score.

    Raises:
        ValueError: no prompts, different numbers of them, or what is no probability.
    """
    first, second = real_numbers(first, "first"), real_numbers(second, "second")
    if first.ndim != 1 or first.shape != second.shape or not first.size:
        raise ValueError(
            f"first is {list(first.shape)} and second {list(second.shape)}, expected the same "
            "number of probabilities [n], 1 or more"
        )
    for name, values in (("first", first), ("second", second)):
        wrong = values[~((values >= 0) & (values <= 1 + ROUNDING))]
        if wrong.size:
            raise ValueError(f"{name}: probability is {wrong[0]}, expected a number from 0 to 1")
    return Success(
        prompts=first.size,
        score=float((first > second).mean()),
        magnitude=float((first - second).mean()),
        probability=float(first.mean()),
    )


def overall(efficacy: float, paraphrase: float, neighbourhood: float) -> float:
    """ROME's score of an editor: the harmonic mean of three shares; 0 where one of them is.

    Raises:
        ValueError: what is no share, from 0 to 1.
    """
    named = {"efficacy": efficacy, "paraphrase": paraphrase, "neighbourhood": neighbourhood}
    parts = np.asarray([real_number(value, name, least=0, most=1) for name, value in named.items()])
    return float(3 / (1 / parts).sum()) if (parts > 0).all() else 0.0


@with_bar
def target_probabilities(
    lm: LanguageModel,
    probes: Probes,
    *,
    budget_bytes: int = batching.DEFAULT_BUDGET_BYTES,
    progress: bool | None = None,
) -> np.ndarray:
    """P of each target, [B, K], by a plain forward.

    Args:
        progress: whether a bar shows how far it is; None: to people, after two seconds.

    Raises:
        ValueError: probes that are not encoded; a budget that holds not even one prompt.
    """
    return plain_answers(lm, probes, budget_bytes=budget_bytes).probability


@with_bar
def next_token_kl(
    before: LanguageModel,
    after: LanguageModel,
    probes: Probes,
    *,
    budget_bytes: int = batching.DEFAULT_BUDGET_BYTES,
    progress: bool | None = None,
) -> np.ndarray:
    """KL(before ‖ after) of the next-token distributions at the read positions, [B], in nats.

    A difference of float32 log-probabilities: KL below about 1e-6 is rounding.

    Args:
        before, after: models of one vocabulary; targets of the probes play no part.
        progress: whether a bar shows how far it is; None: to people, after two seconds.

    Raises:
        ValueError: probes that are not encoded, models of different vocabularies or of which one
            is causal and one masked; a budget that holds not even one prompt.
    """
    check_model(before, "before")
    check_model(after, "after")
    check_asked(before, probes)
    (one, causal), (other, also) = (
        (lm.config.vocab_size, lm.config.causal) for lm in (before, after)
    )
    if (one, causal) != (other, also):
        kinds = ("causal" if causal else "masked", "causal" if also else "masked")
        raise ValueError(
            f"{before.name} is {kinds[0]} with a vocabulary of {one}, {after.name} {kinds[1]} with "
            f"one of {other}: their next tokens cannot be compared; pass a model and an edit of it"
        )
    sizes = sizes_of(before, probes, steps=STEPS)
    each = sizes.prefix_bytes + 4 * sizes.itemsize * before.config.vocab_size
    plan = plan_prompts(probes, sizes, each, len(probes), budget_bytes)

    def kernel(run: Run) -> np.ndarray:
        without, with_edit = (_spread_of(dataclasses.replace(run, lm=lm)) for lm in (before, after))
        kl: np.ndarray = np.einsum("pv,pv->p", np.exp(without), without - with_edit)
        return kl

    batches = run_batches(before, probes, plan, kernel, target=0, budget_bytes=budget_bytes)
    result: np.ndarray = in_order(after, len(probes), batches, ["KL of the next token"])
    return result


def _spread_of(run: Run) -> np.ndarray:
    last = run(unperturbed_pass, run.split).resid
    return to_host(run(_spread, run.split, last)).astype(np.float64)


@functools.partial(jax.jit, static_argnums=0)
def _spread(
    graphdef: nnx.GraphDef[Any], params: nnx.State[Any, Any], split: Split, resid: jax.Array
) -> jax.Array:
    """Log-probabilities [P, V] of all tokens at the read position."""
    model = nnx.merge(graphdef, params)
    return jax.nn.log_softmax(model.logits(take_read(resid[:, 0], split.suffix)))


@with_bar
def perplexity(
    lm: LanguageModel,
    texts: Sequence[str],
    *,
    budget_bytes: int = batching.DEFAULT_BUDGET_BYTES,
    progress: bool | None = None,
) -> float:
    """exp of the mean −log P per token, of all texts together; the lower, the more fluent.

    A causal LM predicts each token but the first from those before it. A masked LM predicts each
    token from all others, its own place masked: pseudo-perplexity (Salazar et al., ACL 2020, arXiv
    1910.14659), over all but those that frame a text, such as [CLS]. An unknown word counts: it is
    the token [UNK].

    Args:
        progress: whether a bar shows how far it is; None: to people, after two seconds.

    Raises:
        ValueError: no texts, a text longer than the context or without a token to predict.
    """
    check_model(lm)
    texts = checks.texts(texts, "texts")
    if not texts:
        raise ValueError("no texts: expected at least one")
    rows, targets, places = _prediction_rows(lm, texts)
    length = batching.bucket(max(map(len, rows)))
    c = lm.config
    sizes = sizes_at(lm, length, whole=True)
    vocabulary = 3 * sizes.itemsize * c.vocab_size
    each = sizes.prefix_bytes + vocabulary * (length if c.causal else 1)
    largest = batching.largest_bucket(
        fitting(budget_bytes, each, MOST_TEXTS, f"one text of {length} tokens")
    )
    total = count = 0.0
    bar = bars.current()
    bar.expect(len(rows))
    for start in range(0, len(rows), largest):
        some = slice(start, start + largest)
        found = _scored(lm, rows[some], targets[some], places[some], length)
        check_finite(lm, "log P of a text's token", found)
        total, count = total - found.sum(), count + found.size
        bar.count(len(rows[some]), bars.ROW)
    return float(np.exp(total / count))


def _prediction_rows(
    lm: LanguageModel, texts: Sequence[str]
) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """Rows of tokens, and in each the tokens to predict and the places that predict them."""
    rows, targets, places = [], [], []
    names = ("cls_token_id", "sep_token_id", "pad_token_id", "bos_token_id", "eos_token_id")
    framing = [i for i in (getattr(lm.tokenizer, name) for name in names) if i is not None]
    for number, text in enumerate(texts):
        tokens = np.asarray(lm.tokenizer(text)["input_ids"], np.int32)
        if not 2 <= len(tokens) <= lm.config.context_length:
            raise ValueError(
                f"text {number} is {len(tokens)} tokens, expected 2 to "
                f"{lm.config.context_length}: {text!r}"
            )
        check_ids(lm, f"text {number}", tokens.tolist())
        if lm.config.causal:
            rows.append(tokens)
            targets.append(tokens[1:])
            places.append(np.arange(len(tokens) - 1))
            continue
        predicted = np.flatnonzero(~np.isin(tokens, framing))
        if not predicted.size:
            raise ValueError(f"text {number} has no token to predict: {text!r}")
        for place in predicted:
            masked = tokens.copy()
            masked[place] = lm.tokenizer.mask_token_id
            rows.append(masked)
            targets.append(tokens[[place]])
            places.append(np.asarray([place]))
    return rows, targets, places


def _scored(
    lm: LanguageModel,
    rows: list[np.ndarray],
    targets: list[np.ndarray],
    places: list[np.ndarray],
    length: int,
) -> np.ndarray:
    """Log-probabilities of all tokens to predict, flat."""
    p = batching.bucket_count(len(rows))
    tokens, mask = np.zeros((p, length), np.int32), np.zeros((p, length), bool)
    width = length if lm.config.causal else 1
    at, wanted = np.zeros((2, p, width), np.int32)
    for i, row in enumerate(rows):
        tokens[i, : len(row)], mask[i, : len(row)] = row, True
        at[i, : len(places[i])], wanted[i, : len(places[i])] = places[i], targets[i]
    mask[len(rows) :, 0] = True
    positions = np.broadcast_to(np.arange(length, dtype=np.int32), tokens.shape)
    first = np.zeros(p, np.int32)
    suffix = Suffix(*map(jnp.asarray, (tokens, positions, mask, first, first[:, None])))
    found = run_program(lm, _token_scores, suffix, jnp.asarray(at), jnp.asarray(wanted))
    scores = to_host(found).astype(np.float64)
    return np.concatenate([scores[i, : len(own)] for i, own in enumerate(places)])


@functools.partial(jax.jit, static_argnums=0)
def _token_scores(
    graphdef: nnx.GraphDef[Any],
    params: nnx.State[Any, Any],
    suffix: Suffix,
    places: jax.Array,
    wanted: jax.Array,
) -> jax.Array:
    """Log-probability [P, W] of wanted tokens [P, W] at places [P, W]."""
    model = nnx.merge(graphdef, params)
    resid = run(model, None, None, suffix).resid[:, 0]
    logits = model.logits(jnp.take_along_axis(resid, places[..., None], axis=1))
    picked = jnp.take_along_axis(logits, wanted[..., None], axis=-1)[..., 0]
    return picked - jax.nn.logsumexp(logits, axis=-1)
