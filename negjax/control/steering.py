"""Steering: the smallest shift of the neurons at a read position that gives a target probability.

Every neuron of a site is shifted at once, a → a + δ (the additive convention, so that the same
shift can be applied to another prompt). P is moved in log-odds, where its relation to a shift is
straighter than in P or log P (`experiments.control` measures it).
"""

import dataclasses
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from negjax.checks import whole_number
from negjax.control import search
from negjax.control.arguments import allowed_shifts, check_probability
from negjax.control.odds import replays_of, to_log_odds, to_probability
from negjax.control.outcome import shifted_outcomes
from negjax.control.rays import FIRST_LOOK
from negjax.control.unrelated import unrelated_facts
from negjax.errors import Argument, ArgumentError
from negjax.execution.batching import DEFAULT_BUDGET_BYTES
from negjax.execution.finite import check_finite
from negjax.execution.plans import Planned, plan_prompts, sizes_of
from negjax.execution.row_plans import STEPS
from negjax.execution.running import Run, run_batches
from negjax.generation.interventions import Intervention
from negjax.inputs.chats import Options, check_options
from negjax.inputs.directed import direction_sets, refuse_site
from negjax.inputs.encoding import encode
from negjax.inputs.neurons import NeuronSets, sets_of_shifts
from negjax.inputs.positions import Positions, placed
from negjax.inputs.probes import Probes, TargetMode, check_asked
from negjax.inputs.prompt_forms import Prompt, Target, asked_prompt, asked_target
from negjax.inputs.residual_directions import Directions, check_directions
from negjax.measurements.joint_interventions import joint
from negjax.model.config import SiteOrPlace
from negjax.model.language_model import LanguageModel, check_model
from negjax.process import bars
from negjax.process.bars import with_bar
from negjax.records import readable
from negjax.replay.written_blocks import LayerVectors

TOLERANCE = 1e-3
"""Largest distance from the wanted log-odds that counts as reached: at most 2.5e-4 in P."""
PARALLEL = 0.999
"""Cosine of a shift with the gradient there, from which it counts as the shortest."""
TURNS = 25
"""Most directions that are tried to make a shift shorter."""
# Prompts searched together, so that each fetch of the weights serves them all.
TOGETHER = 16


@readable
@dataclasses.dataclass(frozen=True, kw_only=True)
class SmallestShift:
    """The smallest shift found that gives a probability; of one prompt, or of the facts of an edit,
    whose log-odds are then their mean."""

    site: SiteOrPlace
    wanted: float
    """The probability asked for."""
    shift: np.ndarray
    """[L, F], added to the activations: at the read position, at others that were asked for, or in
    an edit at every position; of directions [N], how much of each is written."""
    reached: bool
    """Whether the log-odds are within `TOLERANCE` of the wanted ones. False is no proof that it
    cannot be done: the search, a local one, did not get there."""
    cosine: float
    """Of the shift with the gradient at the shifted point, over the shifts that are allowed: 1
    where the first-order (Karush-Kuhn-Tucker) condition of a smallest shift holds, and for no
    shift. That no smaller one lies elsewhere is not verified."""
    path: tuple[tuple[float, float], ...]
    """(L2 norm of the shift, P of the log-odds) of every accepted point, from no shift on."""

    @property
    def converged(self) -> bool:
        """Reached, and parallel to the gradient (`PARALLEL`)."""
        return self.reached and self.cosine >= PARALLEL

    @property
    def norm(self) -> float:
        """L2 norm of the shift."""
        return float(np.linalg.norm(self.shift))

    @property
    def intervention(self) -> Intervention:
        """The shift as `negjax.generate` takes it; of neurons, with `site=` beside it.

        What `steer` found where a prompt is read gives the first token that probability under
        `when="generated"`; what `edit` found is the edited model's under `when="all"`.
        """
        return Intervention(sets_of_shifts(self.shift[None].astype(np.float64)), "additive")


@readable
@dataclasses.dataclass(frozen=True, kw_only=True)
class Steered(SmallestShift):
    """A shift that moves a prompt's target to a probability, and what else it does."""

    prompt: str
    target: str
    before: float
    """P(target) without the shift."""
    probability: float
    """P(target) with it; where the wanted one was not reached, the nearest that was."""
    predicted: float
    """Norm of the shift that the gradient at 0 asks for, the log-odds taken to be linear."""
    kl: float
    """KL(unshifted ‖ shifted) of the next-token distribution at the read position, in nats."""
    unrelated: tuple[str, ...]
    """U prompts to which the same shift was applied."""
    unrelated_kl: np.ndarray
    """[U], KL of each of them."""
    template_options: Options | None = dataclasses.field(default=None, repr=False)
    """That the prompt, a chat, was rendered with."""
    directions: Directions | None = None
    """Given, the shift is of them, and `site` their place."""

    @property
    def intervention(self) -> Intervention:
        """As for `SmallestShift`."""
        if self.directions is None:
            return super().intervention
        every = np.arange(len(self.directions))
        return Intervention(direction_sets(self.directions, [(every, self.shift)]), "additive")


@with_bar
def steer(
    lm: LanguageModel,
    prompt: Prompt,
    target: Target,
    probability: float,
    *,
    site: str | None = None,
    neurons: np.ndarray | Directions | None = None,
    layers: Sequence[int] | None = None,
    positions: Positions = None,
    turns: int = TURNS,
    unrelated: Probes | None = None,
    target_mode: TargetMode = "single",
    template_options: Options | None = None,
    budget_bytes: int = DEFAULT_BUDGET_BYTES,
    progress: bool | None = None,
) -> Steered:
    """The smallest shift (L2) of a prompt's neurons that moves P(target) to a probability.

    Starts where the gradient at 0 predicts the probability along its own direction, corrects the
    length by replays, then turns towards the gradient at the shifted point and corrects again, as
    long as that makes the shift shorter (`negjax.control.search`).

    Args:
        prompt: one text, list of token ids or list of chat messages, and target: one text or list
            of token ids, as in `encode`; a masked LM's prompt has one `[MASK]`.
        probability: wanted P(target), between 0 and 1.
        site: `act`, `up` or `product`; None is the model's default.
        neurons: [N, 2], (layer, index) of those that may be shifted; a set: a neuron named twice
            counts once. Default: all. Or `directions`, of which so much each is written: the shift
            is [N], in units of the vectors, and its norm that of these numbers.
        layers: instead, the layers whose neurons may be shifted.
        positions: of the neurons, among the prompt's own tokens: None (where it is read), an index
            from either end, a slice, "all", or `tokens_of(probes, text)`. At several, all have the
            same shift. Unrelated prompts are shifted where they are read.
        turns: most directions tried to make the shift shorter; 0 keeps the first that is found,
            along the gradient at 0 where that leads to the probability.
        unrelated: prompts to apply the shift to; their targets play no part. Default: shipped
            facts, one of each relation but the prompt's own (`unrelated_facts`).
        target_mode, template_options: as in `encode`.
        budget_bytes: memory for one batch, besides the weights and the result.
        progress: whether a bar shows how far it is; None: to people, after two seconds.

    Raises:
        ValueError: a probability outside (0, 1), a prompt or target that cannot be asked, unknown
            site, neurons or layers, negative turns, unrelated prompts that are not encoded; by
            name.
    """
    check_model(lm)
    # By the names that they have here; `encode` has them in lists.
    asked_prompt(lm, prompt, "prompt", check_options(lm, template_options))
    asked_target(lm, target, "target")
    return steer_probes(
        lm,
        encode(lm, [prompt], [target], target_mode=target_mode, template_options=template_options),
        probability,
        site=site,
        neurons=neurons,
        layers=layers,
        positions=positions,
        turns=turns,
        unrelated=unrelated,
        budget_bytes=budget_bytes,
    )[0]


@with_bar
@bars.counted(None, search.LOOK)
def steer_probes(
    lm: LanguageModel,
    probes: Probes,
    probability: float | np.ndarray,
    *,
    site: str | None = None,
    neurons: np.ndarray | Directions | None = None,
    layers: Sequence[int] | None = None,
    positions: Positions = None,
    turns: int = TURNS,
    unrelated: Probes | None = None,
    budget_bytes: int = DEFAULT_BUDGET_BYTES,
    progress: bool | None = None,
) -> list[Steered]:
    """`steer` for B prompts together, with one target each and one probability or [B].

    By default the unrelated prompts are unrelated to all of them.

    Args:
        progress: whether a bar shows how far it is; None: to people, after two seconds.

    Raises:
        ValueError: as `steer`; probes with several targets, probabilities of another shape.
    """
    check_asked(lm, probes)
    whole_number(budget_bytes, "budget_bytes", 1)
    c = lm.config
    along, vectors = None, None
    if not isinstance(neurons, Directions):
        chosen: SiteOrPlace = c.site(site)
        project, shape = allowed_shifts(c, neurons, layers), (c.layers, c.neurons)
    else:
        along, chosen = neurons, _checked_place(lm, neurons, site, layers)
        written = jnp.asarray(along.vectors, lm.compute_dtype)
        vectors = LayerVectors(jnp.asarray(along.layer), written)
        project, shape = _as_it_is, (1, len(along))
    wanted = check_probability(probability, len(probes))
    turns = whole_number(turns, "turns", 0)
    if probes.target_count != 1:
        raise ValueError(f"probes have {probes.target_count} targets a prompt: steering moves one")
    others = unrelated_facts(lm, probes) if unrelated is None else unrelated
    check_asked(lm, others, "unrelated")
    probes = placed(probes, positions)
    results = {}

    def searched(run: Run) -> search.Found:
        return search.minimal_shifts(
            replays_of(run, chosen, vectors),
            to_log_odds(wanted[run.batch.padded]),
            shape,
            project,
            tolerance=TOLERANCE,
            turns=turns,
            cosine=PARALLEL,
        )

    plan = _plan(lm, probes, along, budget_bytes)
    for batch, found in run_batches(
        lm, probes, plan, searched, target=0, steps=STEPS, budget_bytes=budget_bytes
    ):
        index = batch.members
        check_finite(lm, "the log-odds that steering reached", found.level[: len(index)], index)
        shifts, group = found.shift[: len(index)].astype(lm.compute_dtype), probes.select(index)
        _, _, kl = shifted_outcomes(lm, group, shifts, chosen, vectors, budget_bytes=budget_bytes)
        spread = joint(
            lm,
            others,
            shifts if along is None else _sets_of(along, shifts[:, 0]),
            "additive",
            chosen if along is None else None,
            target=0,
            spread=True,
            budget_bytes=budget_bytes,
        )
        assert spread.kl is not None
        for row, number in enumerate(index.tolist()):
            results[number] = Steered(
                site=chosen,
                wanted=float(wanted[number]),
                shift=shifts[row] if along is None else shifts[row, 0],
                reached=bool(found.reached[row]),
                cosine=float(found.cosine[row]),
                path=tuple((p.norm, float(to_probability(p.level))) for p in found.paths[row]),
                prompt=group.prompts[row],
                target=group.targets[row][0],
                template_options=group.template_options,
                before=float(to_probability(found.start[row])),
                probability=float(to_probability(found.level[row])),
                predicted=float(found.predicted[row]),
                kl=float(kl[row]),
                unrelated=others.prompts,
                unrelated_kl=spread.kl[:, row],
                directions=along,
            )
    return [results[number] for number in range(len(probes))]


def _as_it_is(shift: np.ndarray) -> np.ndarray:
    """The projection on shifts of directions, all of which may be written."""
    return shift


def _checked_place(
    lm: LanguageModel, along: Directions, site: str | None, layers: Sequence[int] | None
) -> SiteOrPlace:
    """Where directions are written.

    Raises:
        ArgumentError: directions of another model; a site or layers beside them.
    """
    check_directions(lm, along, "neurons")
    refuse_site(site)
    if layers is not None:
        raise ArgumentError(
            *(Argument("layers"), " are of neurons, and directions have layers of their own; "),
            "leave them out",
        )
    return along.place


def _sets_of(along: Directions, shifts: np.ndarray) -> NeuronSets:
    """A set for each of the shifts [B, N]."""
    return direction_sets(along, [(np.arange(len(along)), row) for row in shifts])


def _plan(
    lm: LanguageModel, probes: Probes, along: Directions | None, budget_bytes: int
) -> list[Planned]:
    """Groups of prompts that are searched together."""
    sizes = sizes_of(lm, probes, steps=STEPS)
    c = lm.config
    numbers = c.layers * c.neurons if along is None else c.layers * c.width + 2 * len(along)
    shift_bytes = sizes.itemsize * numbers
    rows = FIRST_LOOK.size * (sizes.active_row_bytes + shift_bytes)
    each = sizes.prefix_bytes + max(sizes.gradient_bytes, rows)
    return plan_prompts(probes, sizes, each, TOGETHER, budget_bytes)
