"""What a masked LM recalls of facts: the probability of each answer in its gap, and its rank."""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from negjax import batching
from negjax.batching import DEFAULT_BUDGET_BYTES, Split
from negjax.language_model import LanguageModel
from negjax.model.replay import run, take_read
from negjax.pretraining.corpus import Statement
from negjax.probes import Probes, encode

# Probability above which a fact counts as recalled: no other answer can be as likely.
RECALLED = 0.5
# Enough tokens in one pass to fill the matrix units; more only takes memory.
PASS_TOKENS = 4096


@dataclasses.dataclass(frozen=True)
class Recall:
    """Of B facts."""

    probability: np.ndarray
    """[B], of the answer."""
    first: np.ndarray
    """[B], True where no token is more likely."""

    @property
    def summary(self) -> dict[str, float | int]:
        """How many facts, the share with P above 0.5, mean P, and the share whose answer is first.

        Raises:
            ValueError: there are no facts.
        """
        if not len(self.probability):
            raise ValueError("no facts to summarise")
        return {
            "facts": len(self.probability),
            "above_half": float((self.probability > RECALLED).mean()),
            "mean_probability": float(self.probability.mean()),
            "first": float(self.first.mean()),
        }


def single_token_facts(lm: LanguageModel, statements: Sequence[Statement]) -> list[Statement]:
    """Statements with an answer that is one token."""
    facts = [s for s in statements if s.answer is not None]
    if not facts:
        return []
    ids = lm.tokenizer([s.answer for s in facts], add_special_tokens=False)["input_ids"]
    return [fact for fact, tokens in zip(facts, ids, strict=True) if len(tokens) == 1]


def fact_probes(lm: LanguageModel, facts: Sequence[Statement]) -> Probes:
    """The facts as prompts with `[MASK]` for the answer, the answer as target."""
    return encode(lm, [s.masked for s in facts], [str(s.answer) for s in facts])


def recall_of(
    lm: LanguageModel, probes: Probes, *, budget_bytes: int = DEFAULT_BUDGET_BYTES
) -> Recall:
    """Probability of each prompt's first target, and whether no token of the vocabulary beats it.

    Args:
        probes: of a masked LM, with one-token targets.
        budget_bytes: memory for one batch, besides the weights.
    """
    found = Recall(np.empty(len(probes)), np.empty(len(probes), bool))
    length = batching.bucket(int(probes.mask.sum(1).max()))
    sizes = batching.Sizes(lm.config, length, 1, length, np.dtype(lm.compute_dtype).itemsize)
    each = sizes.prefix_bytes + 3 * sizes.itemsize * lm.config.vocab_size
    most = max(1, PASS_TOKENS // length)
    largest = batching.fitting(budget_bytes, each, most, f"one prompt of {length} tokens")
    for index in batching.prompt_batches(probes, largest):
        padded = np.resize(index, batching.bucket_count(len(index)))
        split = batching.split_probes(lm.config, probes, padded, 0)
        with lm.numerics():
            probability, first = _answers(lm.graphdef, lm.params, split)
        found.probability[index] = probability[: len(index)]
        found.first[index] = first[: len(index)]
    return found


@functools.partial(jax.jit, static_argnums=0)
def _answers(
    graphdef: nnx.GraphDef, params: nnx.State, split: Split
) -> tuple[jax.Array, jax.Array]:
    model = nnx.merge(graphdef, params)
    passed = run(model, split.prefix_tokens, split.prefix_mask, split.suffix)
    logits = model.logits(take_read(passed.resid[:, 0], split.suffix))
    answer = jnp.take_along_axis(logits, split.targets[:, 0], axis=-1)[:, 0]
    return jnp.exp(answer - jax.nn.logsumexp(logits, axis=-1)), answer >= logits.max(-1)
