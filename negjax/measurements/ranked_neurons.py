"""The neurons of the largest gradients, as a table that says what they are and what they write."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float, Int

from negjax.checks import flag, instance, whole_number
from negjax.errors import Argument, ArgumentError
from negjax.execution.asked_outputs import TARGET_OUTPUTS
from negjax.execution.batching import DEFAULT_BUDGET_BYTES
from negjax.execution.passes import unperturbed_pass
from negjax.execution.plans import one_by_one
from negjax.execution.running import Run, in_order, run_batches
from negjax.inputs.probes import Probes, check_asked
from negjax.measurements.empirical_gradients import neg
from negjax.measurements.gradients import NeurGrad
from negjax.model.config import Site
from negjax.model.language_model import LanguageModel
from negjax.process.bars import with_bar
from negjax.records import chosen_prompts, readable
from negjax.replay.outputs import AnyOutput
from negjax.replay.suffixes import block_at, stacked_blocks, take_read
from negjax.tabular import Tabular, array_of

Texts = tuple[tuple[tuple[str, ...], ...], ...]


@readable
@dataclasses.dataclass(frozen=True, kw_only=True)
class TopNeurons(Tabular):
    """The k neurons of each of B prompts that move the target's output most, largest first."""

    row_axes = ("B", "k")
    column_names: ClassVar[Mapping[str, str | None]] = {"computed": "cg", "slope": "neg"}

    site: Site
    output: str
    target: int
    """Number of the target."""
    neurons: Int[np.ndarray, "B k 2"]
    """(layer, index)."""
    activation: Float[np.ndarray, "B k"]
    """Unperturbed."""
    computed: Float[np.ndarray, "B k"]
    """CG: output per unit of activation."""
    neurgrad: Float[np.ndarray, "B k"]
    """CG · s(a)."""
    slope: Float[np.ndarray, "B k"] | None = None
    """NEG over `neg`'s usual grid; None where it was not asked for."""
    promoted: Texts | None = None
    """Of each prompt's neurons the tokens whose logits their writes raise most, by a rise of the
    activation; None without a model."""
    demoted: Texts | None = None
    """Those whose logits they lower most."""

    def __getitem__(self, which: int | slice) -> "TopNeurons":
        """As of the other results, with the tokens."""
        at = chosen_prompts(which, len(self))
        texts = {"promoted": self.promoted, "demoted": self.demoted}
        chosen = {name: own and tuple(own[b] for b in at) for name, own in texts.items()}
        return dataclasses.replace(super().__getitem__(which), **chosen)  # type: ignore[arg-type]

    def _derived(self) -> dict[str, tuple[np.ndarray, tuple[str, ...]]]:
        columns: dict[str, tuple[np.ndarray, tuple[str, ...]]] = {}
        for name, texts in (("promotes", self.promoted), ("demotes", self.demoted)):
            if texts is not None:
                rows = array_of([list(tokens) for row in texts for tokens in row])
                columns[name] = rows.reshape(self.activation.shape), ("B", "k")
        return columns


@with_bar
def top_neurons(
    gradients: NeurGrad,
    k: int,
    lm: LanguageModel | None = None,
    probes: Probes | None = None,
    *,
    target: int | None = None,
    with_neg: bool = False,
    tokens: int = 5,
    budget_bytes: int = DEFAULT_BUDGET_BYTES,
    progress: bool | None = None,
) -> TopNeurons:
    """The k neurons of each prompt whose gradients of a target's output are largest, either sign.

    With the model and the probes that the gradients are of, also the tokens that each neuron writes
    for and against: by the first-order change of their logits at the read position, where the
    neuron's write goes straight from its block to the output, past later layers.

    Args:
        gradients: what `neurgrad` returned.
        k: neurons a prompt, 1 to L · F.
        lm, probes: what `gradients` were measured with; needed for tokens and NEG.
        target: number of the target; may be left out where there is one.
        with_neg: measure NEG of these neurons, too, over `neg`'s usual grid.
        tokens: how many tokens each way.
        budget_bytes: memory for one batch, besides the weights and the result.
        progress: whether a bar shows how far it is; None: to people, after two seconds.

    Raises:
        ValueError: no gradients, more neurons than there are, no such target, NEG without a model,
            a model or probes that the gradients are not of; by name.
    """
    gradients = instance(gradients, "gradients", NeurGrad, "what negjax.neurgrad returns")
    if gradients.positions is not None:
        raise ArgumentError(
            *(Argument("gradients"), " are of other positions than where prompts are read; pass "),
            "those that are of these",
        )
    b, count, layers, width = gradients.computed.shape
    k = whole_number(k, "k", 1, layers * width)
    if target is None and count > 1:
        raise ArgumentError(
            f"gradients are of {count} targets a prompt; pass ",
            Argument("target"),
            f" from 0 to {count - 1}",
        )
    target = whole_number(0 if target is None else target, "target", 0, count - 1)
    flag(with_neg, "with_neg")
    tokens = whole_number(tokens, "tokens", 1)
    whole_number(budget_bytes, "budget_bytes", 1)
    size = np.abs(gradients.computed[:, target]).reshape(b, -1)
    flat = np.argsort(-size, axis=1, kind="stable")[:, :k]
    found = TopNeurons(
        site=gradients.site,
        output=gradients.output,
        target=target,
        neurons=np.stack(np.divmod(flat, width), axis=-1).astype(np.int32),
        activation=np.take_along_axis(gradients.activation.reshape(b, -1), flat, 1),
        computed=np.take_along_axis(gradients.computed[:, target].reshape(b, -1), flat, 1),
        neurgrad=np.take_along_axis(gradients.neurgrad[:, target].reshape(b, -1), flat, 1),
    )
    if lm is None and probes is None and not with_neg:
        return found
    if lm is None or probes is None:
        raise ArgumentError(
            "tokens and NEG take the model and the probes that the gradients are of; pass ",
            Argument("lm"),
            " and ",
            Argument("probes"),
        )
    check_asked(lm, probes)
    outputs = probes.target_count if gradients.output in TARGET_OUTPUTS else 1
    own = (len(probes), outputs, lm.config.layers, lm.config.neurons)
    if own != gradients.computed.shape:
        raise ValueError(
            f"gradients are [B, K, L, F] = {list(gradients.computed.shape)}, lm and probes are "
            f"{list(own)}; pass those that the gradients were measured with"
        )
    ids = _written_tokens(lm, probes, found, min(tokens, lm.config.vocab_size), budget_bytes)
    slope = None
    if with_neg:
        measured = neg(
            lm,
            probes,
            found.neurons,
            site=found.site,
            output=cast(AnyOutput, found.output),
            target=target,
            budget_bytes=budget_bytes,
        )
        slope = measured.slope
    promoted, demoted = (_spelled(lm, ids[:, :, way]) for way in (0, 1))
    return dataclasses.replace(found, slope=slope, promoted=promoted, demoted=demoted)


def _spelled(lm: LanguageModel, ids: np.ndarray) -> Texts:
    return tuple(
        tuple(tuple(str(lm.tokenizer.decode([int(i)])) for i in tokens) for tokens in row)
        for row in ids
    )


def _written_tokens(
    lm: LanguageModel, probes: Probes, top: TopNeurons, count: int, budget_bytes: int
) -> Int[np.ndarray, "B k 2 {count}"]:
    """Ids of the tokens that writes raise and lower most."""

    def kernel(run: Run) -> np.ndarray:
        passed = run(unperturbed_pass, run.split)
        (neurons,) = top.neurons[run.batch.members]
        layer, index = neurons.T
        # At `up` a unit of the activation writes act(gate) times the row, which may be negative.
        gate = passed.trace.at_positions.get("gate")
        gain = gate[layer, 0, 0, index] if gate is not None and top.site == "up" else None
        signs = np.ones(len(neurons)) if gain is None else np.where(np.asarray(gain) < 0, -1, 1)
        at_read: Callable[[jax.Array], jax.Array] = jax.vmap(
            lambda x: take_read(x, run.split.suffix)
        )
        mid, ffn_out = (at_read(x)[:, 0] for x in (passed.trace.mid, passed.trace.ffn_out))
        last = take_read(passed.resid[:, 0], run.split.suffix)[0]
        arguments = last, mid[layer], ffn_out[layer], neurons, signs
        return np.asarray(run(_extremes, *arguments, count))[None]

    batches = run_batches(
        lm, probes, one_by_one(probes, 0), kernel, target=0, budget_bytes=budget_bytes
    )
    result: np.ndarray = in_order(lm, len(probes), batches, [None])
    return result


@functools.partial(jax.jit, static_argnums=(0, 7))
def _extremes(
    graphdef: nnx.GraphDef[Any],
    params: nnx.State[Any, Any],
    resid: jax.Array,
    mid: jax.Array,
    ffn_out: jax.Array,
    neurons: jax.Array,
    signs: jax.Array,
    count: int,
) -> jax.Array:
    """Tokens [k, 2, count] whose logits writes raise, and lower, most.

    Args:
        resid: the last residual, [D].
        mid, ffn_out: what each neuron's block has made of it before and in its FFN, [k, D].
        neurons: [k, 2].
        signs: of what each writes, by a rise of its activation, along its row of W_down, [k].
    """
    model = nnx.merge(graphdef, params)
    block_def, blocks = stacked_blocks(model)

    def of_neuron(entry: tuple[jax.Array, ...]) -> jax.Array:
        (layer, index), sign, before, out = entry
        block = block_at(block_def, blocks, layer)
        row = block.ffn.down.kernel[...][index].astype(resid.dtype) * sign.astype(resid.dtype)
        write = jax.jvp(lambda x: block.finish(before, x), (out,), (row,))[1]
        slope = jax.jvp(model.logits, (resid,), (write,))[1]
        return jnp.stack([jax.lax.top_k(way, count)[1] for way in (slope, -slope)])

    result: jax.Array = jax.lax.map(of_neuron, (neurons, signs, mid, ffn_out))
    return result
