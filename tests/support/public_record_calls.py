"""Methods of what the functions of `negjax` return, with arguments that they take."""

import numpy as np

import negjax
from tests.support.odd_values import these
from tests.support.public_calls import NEURONS, NONE, Call, curve, lm, probes


def records() -> dict[str, Call]:
    """Methods of what `negjax` returns."""
    found, swept = curve(), negjax.sweep(lm(), probes(), NEURONS, np.asarray([-1.0, 1.0]))
    numbers = these("half", "minus one", "array without axes")
    return {
        "Probes.select": Call(probes().select, {"index": [0]}),
        "Probes.select_target": Call(probes().select_target, {"number": 0}),
        "Response.__call__": Call(found, {"shifts": [1.0]}, {"shifts": numbers}),
        "Response.change": Call(found.change, {"shifts": [1.0]}, {"shifts": numbers}),
        "Response.derivative": Call(
            found.derivative,
            {"shifts": [1.0], "order": 1},
            {"shifts": numbers},
        ),
        "EmpiricalGradient.curve": Call(
            negjax.neg(lm(), probes(), NEURONS, 2.0, 0.5).curve,
            {"shifts": [1.0]},
            {"shifts": these("half", "minus one")},
        ),
        "ShiftedOutputs.values": Call(swept.values, {"output": "logit"}, {"output": NONE}),
        "ShiftedOutputs.change": Call(swept.change, {"output": "logit"}, {"output": NONE}),
    }
