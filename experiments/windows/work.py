"""What the study of control windows measures, fact by fact."""

import dataclasses
import functools

import numpy as np

import negjax
from experiments.inputs import facts
from experiments.inputs.written_texts import padded, prompt_ids, token_rows
from experiments.reporting.dose_grids import dose_unit
from experiments.running import common
from experiments.windows.settings import Settings
from negjax.inputs.neurons import sets_of_shifts
from negjax.inputs.probes import Probes
from negjax.inputs.ranking import top
from negjax.measurements.writes import summed_writes, write_norms
from negjax.storage import store


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What to measure of whom."""

    inputs: facts.Inputs
    settings: Settings
    site: str
    written: int
    """Tokens of a text at most."""


def array_specs(plan: Plan) -> dict[str, store.ArraySpec]:
    """The arrays of a run."""
    settings = plan.settings
    sizes = {
        "fact": len(plan.inputs.probes),
        "dose": len(settings.dose_grid),
        # No shift, then the doses.
        "row": 1 + len(settings.dose_grid),
        "token": plan.written,
        "member": settings.size,
        "single": settings.singles,
        "place": 2,
    }

    def spec(meaning: str, axes: str, dtype: str = "float64") -> store.ArraySpec:
        names = tuple(axes.split())
        shape = tuple(sizes[name] for name in names)
        return store.ArraySpec(
            shape=shape, dtype=dtype, axes=names, meaning=meaning, chunks=(1, *shape[1:])
        )

    singles = {
        "single": spec("neurons dosed one by one: layer, index", "fact single place", "int32"),
        "gradient": spec("NeurGrad of each", "fact single"),
        "unit": spec("shift of each that dose 1 is, against the answer", "fact single"),
        "single_top": spec("most probable token under each", "fact single dose", "int32"),
    }
    return {
        "answer": spec("id of the answer's first token", "fact", "int32"),
        "probability": spec("P(answer), unshifted and at each dose", "fact row"),
        "top": spec("most probable token", "fact row", "int32"),
        "member": spec("neurons shifted together: layer, index", "fact member place", "int32"),
        "shift": spec("of each at dose 1", "fact member"),
        "text": spec("ids of what is written; -1: none", "fact row token", "int32"),
        "moved": spec("log P of each token by the model that wrote it, nats", "fact row token"),
        "unmoved": spec("log P of each token by the unshifted model, nats", "fact row token"),
        "entropy": spec("of what each token was taken from, nats", "fact row token"),
        **(singles if settings.singles else {}),
    }


def all_work(plan: Plan) -> list[common.Work]:
    """A group a fact."""
    return [
        common.Work(f"fact {number}", 1, functools.partial(_fact, plan, number))
        for number in range(len(plan.inputs.probes))
    ]


def set_shift(
    lm: negjax.LanguageModel, probe: Probes, gradient: np.ndarray, size: int, site: str
) -> tuple[np.ndarray, np.ndarray]:
    """Neurons [size, 2] of largest |gradient| [L, F], and their shift [L, F] at dose 1.

    Within a layer shifts are as the gradients, against them; each layer's are scaled to its dose.
    """
    members = np.stack(np.divmod(top(np.abs(gradient).ravel(), size), gradient.shape[1]), axis=1)
    layer, index = members.T
    against = np.zeros_like(gradient)
    against[layer, index] = -gradient[layer, index]
    # In units of the largest: sums of small gradients' squares would underflow in float32.
    against /= np.abs(against).max() or 1.0
    norm = summed_writes(lm, probe, against[None], site)[0, 0].astype(np.float64)
    residual = write_norms(lm, probe, site).residual[0].astype(np.float64)
    factor = np.divide(residual, norm, out=np.zeros_like(norm), where=norm > 0)
    return members, against * factor[:, None]


def _fact(plan: Plan, number: int) -> common.Values:
    lm, settings, budget = plan.inputs.lm, plan.settings, common.budget_bytes()
    probe = plan.inputs.probes.select([number])
    doses = np.asarray(settings.dose_grid)
    found = negjax.neurgrad(lm, probe, plan.site, budget_bytes=budget)
    gradient = found.computed[0, 0].astype(np.float64)
    members, unit = set_shift(lm, probe, gradient, settings.size, plan.site)
    shifts = np.concatenate([[0.0], doses])[:, None, None] * unit
    answers = negjax.joint(
        lm, probe, shifts, "additive", plan.site, spread=True, budget_bytes=budget
    )
    assert answers.top_token is not None
    values: dict[str, np.ndarray] = {
        "answer": probe.target_ids[0, 0, 0],
        "probability": answers.probability[0],
        "top": answers.top_token[0],
        "member": members,
        "shift": unit[members[:, 0], members[:, 1]],
    }
    # An answer that the model does not give cannot flip: the fact is counted, and no more.
    if values["answer"] == values["top"][0]:
        values |= _texts(plan, probe, shifts)
        values |= _singles(plan, probe, gradient) if settings.singles else {}
    return (number,), values


def _texts(plan: Plan, probe: Probes, shifts: np.ndarray) -> dict[str, np.ndarray]:
    """What follows a prompt under shifts [R, L, F], each in a row of one batch."""
    written = negjax.generate(
        plan.inputs.lm,
        [prompt_ids(probe, 0)] * len(shifts),
        negjax.Intervention(sets_of_shifts(shifts), "additive"),
        when=plan.settings.moved,
        site=plan.site,
        max_tokens=plan.written,
        budget_bytes=common.budget_bytes(),
    )
    assert written.baseline_log_probability is not None
    values = {
        "moved": written.log_probability,
        "unmoved": written.baseline_log_probability,
        "entropy": written.entropy,
    }
    return {
        "text": token_rows(written, plan.written),
        **{
            name: padded(np.where(written.mask, own, np.nan), plan.written, np.nan)
            for name, own in values.items()
        },
    }


def _singles(plan: Plan, probe: Probes, gradient: np.ndarray) -> dict[str, np.ndarray]:
    """The most probable token under each of some neurons alone, at every dose."""
    lm, settings = plan.inputs.lm, plan.settings
    chosen = top(np.abs(gradient).ravel(), gradient.size)[ranks(gradient.size, settings.singles)]
    layer, index = np.divmod(chosen, gradient.shape[1])
    norms = write_norms(lm, probe, plan.site)
    size = dose_unit(norms.residual[0].astype(np.float64), norms.write[0].astype(np.float64))
    # A neuron that writes nothing has no dose.
    size = np.where(np.isfinite(size), size, 0)[layer, index]
    slope = gradient[layer, index]
    unit = np.where(slope > 0, -size, size)
    sets = [
        ([[row, column]], dose * own)
        for row, column, own in zip(layer, index, unit, strict=True)
        for dose in settings.dose_grid
    ]
    found = negjax.joint(
        lm,
        probe,
        negjax.neuron_sets(lm.config, sets),
        "additive",
        plan.site,
        spread=True,
        budget_bytes=common.budget_bytes(),
    )
    assert found.top_token is not None
    return {
        "single": np.stack([layer, index], axis=1),
        "gradient": slope,
        "unit": unit,
        "single_top": found.top_token[0].reshape(len(chosen), -1),
    }


def ranks(every: int, count: int) -> np.ndarray:
    """`count` different ranks from 0 on of so many, at even steps of the logarithm as far as whole
    numbers allow."""
    found: list[int] = []
    for rank in np.geomspace(1, every, count).round().astype(int).tolist():
        found.append(max(rank - 1, found[-1] + 1) if found else rank - 1)
    return np.asarray(found)
