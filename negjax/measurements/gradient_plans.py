"""Which prompts' gradients are computed together: to fill the device, or by few programs."""

from negjax.execution import batching
from negjax.execution.common_heads import HeadGroup, padded_head
from negjax.execution.passes import pass_tokens
from negjax.execution.plans import (
    Planned,
    fitting,
    prompt_batches,
    real_tokens,
    sizes_at,
    uniform_batches,
)
from negjax.inputs.positions import span_and_count
from negjax.inputs.probes import Probes
from negjax.model import meshes
from negjax.model.language_model import LanguageModel

# Where few programs are wanted: length buckets an octave, and tokens of a batch. More would fill
# matrix units no better, and the last batch of a length would be padding for the most part.
FEW_STEPS, FEW_TOKENS, ACCELERATOR_FEW_TOKENS = 2, 1536, 8192
# Of the longest prompt's bucket, what prompts of such a batch fill on average: by it there are
# rows enough for their real tokens, which are what a pass runs.
FILLED_SHARE = 0.8


def gradient_plan(
    lm: LanguageModel,
    probes: Probes,
    group: HeadGroup,
    budget_bytes: int,
    *,
    few_shapes: bool = False,
    tokens: int | None = None,
) -> list[Planned]:
    """Batches of a group's probes that fit the budget.

    Args:
        few_shapes: of a length, all batches have the same number of rows.
        tokens: of a batch at most; None: what suits the kind of device that computes.
    """
    some = probes.select(group.members)
    # Rows one after the other belong to no prompt, along which devices could divide them.
    filled = few_shapes and meshes.prompts_apart(lm.mesh) == 1
    steps = FEW_STEPS if few_shapes else batching.STEPS
    few = batching.tokens_at_once(FEW_TOKENS, ACCELERATOR_FEW_TOKENS)
    most_tokens = tokens or (few if few_shapes else pass_tokens())
    span, positions = span_and_count(probes)

    def each(length: int) -> tuple[int, int]:
        """Tokens and bytes of a prompt with so many tokens of its own."""
        k, m = probes.target_ids.shape[1:]
        own, head = batching.bucket(length, steps=steps), padded_head(group.head)
        sizes = sizes_at(
            lm,
            own,
            targets=k,
            target_tokens=m,
            head=head,
            span=span,
            positions=positions,
            steps=steps,
        )
        return own, sizes.pull_back_bytes

    def largest(length: int) -> int:
        own, size = each(length)
        rows = -int(-most_tokens // (FILLED_SHARE * own)) if filled else most_tokens // own
        most = fitting(budget_bytes, size, max(1, rows), f"one prompt of {own} tokens")
        # A batch is filled up to a bucket: of a size in between, a part would only be padding.
        return most if filled else batching.largest_bucket(most)

    lengths = real_tokens(some, group.head)

    def own_tokens(length: int, rows: int) -> int:
        """Of a batch's prompts, at most."""
        own = each(length)[0]
        return max(own, min(most_tokens, rows * own))

    if few_shapes:
        batches = uniform_batches(some, largest, own_tokens if filled else None, group.head)
    else:
        together = prompt_batches(some, largest(int(lengths.max())), group.head)
        batches = [(index, batching.bucket_count(len(index))) for index in together]
    followers, planned = probes.target_ids.shape[2] - 1, []
    for index, rows in batches:
        longest = int(lengths[index].max())
        batch = Planned(group.members[index], rows, estimate=rows * each(longest)[1])
        if filled:
            # What targets have behind their first tokens runs with a prompt, too.
            batch = batch._replace(tokens=own_tokens(longest, rows) + rows * followers)
        planned.append(batch)
    return planned
