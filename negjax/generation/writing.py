"""`generate`: what a model writes after prompts, and what its neurons have to do with it."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, Self, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from negjax import checks
from negjax.errors import Argument, ArgumentError
from negjax.execution.batching import DEFAULT_BUDGET_BYTES, Sizes, bucket, tokens_at_once
from negjax.execution.interventions import check_reroute
from negjax.execution.passes import pass_tokens
from negjax.execution.plans import Planned, plan_prompts, sizes_of
from negjax.execution.running import Run, in_order, run_batches
from negjax.generation.choosing import Draws
from negjax.generation.continuing import Settings, read_prompts, write_on
from negjax.generation.interventions import Intervention, checked_interventions
from negjax.generation.moves import moves_of
from negjax.inputs.chats import Options
from negjax.inputs.directed import refuse_site
from negjax.inputs.encoding import prompt_tokens, say_frames
from negjax.inputs.probes import Probes
from negjax.inputs.prompt_forms import Asked, Prompt, asked_prompts, decoded
from negjax.inputs.token_ids import check_given_ids
from negjax.model.config import Site
from negjax.model.language_model import LanguageModel, check_model
from negjax.process.bars import with_bar
from negjax.records import chosen_prompts, readable
from negjax.tabular import Tabular, array_of

When = Literal["all", "prompt", "generated"]

# Texts that are written at once: each step fetches all weights once for all of them.
TOGETHER, ACCELERATOR_TOGETHER = 64, 256
MOST_SEED = 2**32 - 1


@readable
@dataclasses.dataclass(frozen=True, kw_only=True)
class Generated(Tabular):
    """What was written after each of B prompts, at most N tokens."""

    row_axes = ("B",)
    column_names: ClassVar[Mapping[str, str | None]] = dict.fromkeys(
        ("tokens", "mask", "log_probability", "baseline_log_probability", "entropy")
    )

    prompts: tuple[str, ...]
    """As read: given, rendered or decoded."""
    texts: tuple[str, ...]
    """What follows each, without the token that ends it."""
    stops: tuple[str, ...]
    """Why each ends there: `end`, a token that ends a text, or `length`, `max_tokens`."""
    site: Site
    when: When
    tokens: Int[np.ndarray, "B N"]
    """Token ids, with the one that ends a text; 0 after it."""
    mask: Bool[np.ndarray, "B N"]
    """True where there is a token."""
    log_probability: Float[np.ndarray, "B N"]
    """Of each token by the model that wrote it, at temperature 1, in nats; 0 where none is."""
    baseline_log_probability: Float[np.ndarray, "B N"] | None
    """Of the same tokens of the same text by the model without interventions; None where it was not
    asked for."""
    entropy: Float[np.ndarray, "B N"]
    """Of the distribution that the model that wrote it took each token from, at temperature 1, in
    nats; 0 where no token is."""
    template_options: Options | None = dataclasses.field(default=None, repr=False)
    """That chats among the prompts were rendered with."""

    def __getitem__(self, which: int | slice) -> Self:
        """What was written after one prompt, whose axis stays with B = 1, or after a slice of them.

        Raises:
            IndexError: there is no such prompt.
            TypeError: neither a whole number nor a slice.
        """
        at = chosen_prompts(which, len(self))
        prompts, texts, stops = (
            tuple(words[number] for number in at)
            for words in (self.prompts, self.texts, self.stops)
        )
        chosen = super().__getitem__(which)
        return dataclasses.replace(chosen, prompts=prompts, texts=texts, stops=stops)

    def _derived(self) -> dict[str, tuple[np.ndarray, tuple[str, ...]]]:
        texts = {"asked": self.prompts, "text": self.texts, "stop": self.stops}
        by_token: dict[str, np.ndarray | None] = {
            "tokens": self.tokens,
            "log_probability": self.log_probability,
            "baseline_log_probability": self.baseline_log_probability,
            "entropy": self.entropy,
        }
        written = {
            name: [row[there].tolist() for row, there in zip(values, self.mask, strict=True)]
            for name, values in by_token.items()
            if values is not None
        }
        return {name: (array_of(values), ("B",)) for name, values in (texts | written).items()}


@with_bar
def generate(
    lm: LanguageModel,
    prompts: Sequence[Prompt],
    interventions: Intervention | Sequence[Intervention] | None = None,
    *,
    when: When = "all",
    site: str | None = None,
    max_tokens: int = 32,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    end_tokens: Sequence[int] | None = None,
    template_options: Options | None = None,
    reroute: bool = False,
    baseline: bool = True,
    budget_bytes: int = DEFAULT_BUDGET_BYTES,
    progress: bool | None = None,
) -> Generated:
    """Lets a causal LM write after prompts while neurons or directions are moved.

    The model without interventions reads along: it says what it thinks of the same tokens, and is
    what the `signed` convention and the choice of experts refer to. Where nothing asks for it, it
    does not read along, which takes about two thirds of the time.

    Args:
        prompts: B of them, each a text, a list of token ids or a chat, as for `encode`.
        interventions: sets of neurons or directions and what is done to them, the same for all
            prompts or one set a prompt; several are all done. None: nothing is.
        when: the tokens at which they are moved. `prompt`: those of the prompt. `generated`:
            those that a token is written after, which are the prompt's last and all written ones;
            the first token's probability is then that of `joint`. `all`: both.
        site: `act`, `up` or `product`; None is the model's default.
        max_tokens: N, tokens that are written at most.
        temperature: logits are divided by it before a token is drawn; 0: the likeliest is taken,
            of equal ones the lowest id.
        top_p: tokens are drawn from the fewest likeliest whose probabilities add up to this.
        seed: with a prompt's place among the prompts it decides what is drawn; 0 to 2**32 - 1.
        end_tokens: ids after which a text ends; None: those that the model's files name.
        template_options: of chats, as for `encode`.
        reroute: where neurons are moved, routers choose experts again. Otherwise tokens keep the
            experts that they pass without interventions.
        baseline: whether the model without interventions says what it thinks of the same tokens.
        budget_bytes: memory for one batch, besides the weights.
        progress: whether a bar shows how far it is; None: to people, after two seconds.

    Returns:
        texts, tokens and their log-probabilities with and without the interventions.

    Raises:
        ValueError: a masked LM; no prompts; a prompt that is empty, or whose text would be longer
            than the context; an intervention that does not fit the model or the prompts; another
            argument out of its bounds, by name; a budget that holds not even one prompt.
    """
    lm = _check_writes(check_model(lm))
    chosen = lm.config.site(site)
    checks.one_of(when, "when", get_args(When))
    check_reroute(lm.config, reroute)
    baseline = checks.flag(baseline, "baseline")
    limit = checks.whole_number(max_tokens, "max_tokens", 1, lm.config.context_length)
    warmth = checks.real_number(temperature, "temperature", least=0.0)
    nucleus = checks.real_number(top_p, "top_p", above=0.0, most=1.0)
    seed = checks.whole_number(seed, "seed", 0, MOST_SEED)
    ends = _end_ids(lm, end_tokens)
    texts, rows = _encoded(lm, asked_prompts(lm, prompts, template_options), limit)
    moving = checked_interventions(lm, interventions, len(rows))
    probes = _as_probes(texts, rows)
    if moving and all(some.place is not None for some in moving):
        refuse_site(site)
    held = bool(moving) and lm.config.experts > 0 and not reroute
    beside = held or any(some.how == "signed" for some in moving) or (bool(moving) and baseline)
    settings = Settings(
        site=chosen,
        rows=2 if beside else 1,
        held=held,
        at_prompt=bool(moving) and when != "generated",
        at_written=when != "prompt",
        greedy=warmth == 0,
        whole=nucleus == 1,
    )
    most = bucket(limit)
    plan = _plan(lm, probes, most, settings.rows, moving, budget_bytes)

    def kernel(run: Run) -> tuple[jax.Array, ...]:
        padded = run.batch.padded
        moves = moves_of(lm, moving, padded)
        moves = None if moves is None else moves.placed(lm.mesh)
        assert run.split.prefix_tokens is not None
        capacity = bucket(run.split.prefix_tokens.shape[1] + 1 + most)
        last = run.split.suffix.tokens[:, 0]
        reading = run(read_prompts, run.split, moves, capacity, settings)
        draws = Draws(
            temperature=jnp.asarray(warmth, jnp.float32),
            top_p=jnp.asarray(nucleus, jnp.float32),
            seed=jnp.asarray(seed, jnp.uint32),
            prompt=jnp.asarray(padded, jnp.int32),
        )
        bound = jnp.asarray(limit, jnp.int32)
        written, _ = run(write_on, reading, last, moves, draws, ends, bound, most, settings)
        checked = written.log_probability, written.entropy
        return *checked, written.tokens, written.mask, written.ended

    batches = run_batches(lm, probes, plan, kernel, target=0, budget_bytes=budget_bytes)
    what = ["a log-probability of generated text", "an entropy of generated text"]
    log_probability, entropy, tokens, mask, ended = in_order(lm, len(probes), batches, what)
    longest = int(mask.sum(1).max())
    tokens, mask = tokens[:, :longest], mask[:, :longest]
    return Generated(
        prompts=texts,
        texts=tuple(
            added_text(lm, prompt, own[there].tolist(), ends.tolist())
            for prompt, own, there in zip(rows, tokens, mask, strict=True)
        ),
        stops=tuple("end" if end else "length" for end in ended),
        site=chosen,
        when=when,
        tokens=tokens,
        mask=mask,
        log_probability=log_probability[:, :longest, 1],
        baseline_log_probability=log_probability[:, :longest, 0] if baseline else None,
        entropy=entropy[:, :longest],
        template_options=None if template_options is None else dict(template_options),
    )


def _check_writes(lm: LanguageModel) -> LanguageModel:
    if not lm.config.causal:
        raise ArgumentError(
            Argument("lm"),
            f" is a masked LM ({lm.config.family}), which fills in a [MASK] and writes no text; "
            "pass a causal LM",
        )
    return lm


def _end_ids(lm: LanguageModel, given: object) -> Int[np.ndarray, " ends"]:
    """Tokens that end a text."""
    if given is None:
        return np.asarray(lm.end_tokens, np.int32)
    expected = "a list of token ids, or None for the model's own"
    listed = checks.listed(given, "end_tokens", expected)
    ids = checks.integers(listed, "end_tokens", expected) if listed else np.zeros(0, np.int32)
    if ids.ndim != 1:
        raise ArgumentError(
            Argument("end_tokens"), f" are {checks.described(listed)}, expected {expected}"
        )
    check_given_ids(lm, "end_tokens", ids.tolist())
    return ids.astype(np.int32)


def _encoded(
    lm: LanguageModel, asked: list[Asked], limit: int
) -> tuple[tuple[str, ...], list[list[int]]]:
    """Texts and tokens of prompts."""
    if not asked:
        raise ValueError("no prompts: expected at least one")
    rows = []
    for number, prompt in enumerate(asked):
        if prompt.ids is None and not prompt.text.strip():
            raise ValueError(f"prompt {number} is empty: {prompt.text!r}; expected text")
        found = prompt_tokens(lm, number, prompt)
        # The last token written is not read.
        ids, used = found.ids, len(found.ids) + limit - 1
        if used > lm.config.context_length:
            most = lm.config.context_length - len(ids) + 1
            instead = f"or max_tokens, to {most} at most" if most > 0 else "it is too long alone"
            raise ArgumentError(
                Argument("max_tokens", limit),
                f": prompt {number} is {len(ids)} tokens, {used} with what follows, and the "
                f"model's context holds {lm.config.context_length}; shorten the prompt, {instead}",
            )
        rows.append(found)
    say_frames(rows)
    return tuple(prompt.text for prompt in asked), [row.ids for row in rows]


def _as_probes(texts: tuple[str, ...], rows: Sequence[Sequence[int]]) -> Probes:
    """Prompts as batches take them, with a target that nobody reads."""
    length = max(map(len, rows))
    mask = np.arange(length) < np.asarray([[len(row)] for row in rows])
    tokens = np.zeros(mask.shape, np.int32)
    tokens[mask] = np.concatenate(rows)
    return Probes(
        prompts=texts,
        targets=(("",),) * len(rows),
        tokens=tokens,
        mask=mask,
        read=mask.sum(1) - 1,
        target_ids=np.zeros((len(rows), 1, 1), np.int32),
        target_mask=np.ones((len(rows), 1, 1), bool),
    )


def _plan(
    lm: LanguageModel,
    probes: Probes,
    most: int,
    rows: int,
    moving: Sequence[Intervention],
    budget_bytes: int,
) -> list[Planned]:
    sizes = sizes_of(lm, probes)
    together = tokens_at_once(TOGETHER, ACCELERATOR_TOGETHER)
    together = min(together, max(1, 4 * pass_tokens() // (rows * sizes.length)))
    each = _prompt_bytes(sizes, most, rows, moving)
    return plan_prompts(probes, sizes, each, min(together, len(probes)), budget_bytes)


def _prompt_bytes(sizes: Sizes, most: int, rows: int, moving: Sequence[Intervention]) -> int:
    """That one prompt takes: its pass, its buffers and their copy, logits, what is moved."""
    c = sizes.config
    room = bucket(sizes.length + 1 + most)
    entries = rows * (2 * c.layers * 2 * room * c.kv_heads * c.head_width + 4 * c.vocab_size)
    if any(some.place is None for some in moving):
        entries += rows * 3 * sizes.length * c.neurons + 2 * c.layers * c.neurons
    directions = sum(len(some.sets.directions or ()) for some in moving)
    entries += directions and rows * sizes.length * (3 * directions + c.width)
    return rows * sizes.prefix_bytes + sizes.itemsize * entries


def added_text(
    lm: LanguageModel, prompt: list[int], written: list[int], ends: Sequence[int]
) -> str:
    """What written token ids, one or more, add to their prompt's text; without one that ends it."""
    own = written[:-1] if written[-1] in ends else written
    # Some tokenizers write a blank before a word only where something stands before it.
    before, whole = decoded(lm, prompt), decoded(lm, [*prompt, *own])
    return whole[len(before) :] if whole.startswith(before) else decoded(lm, own)
