"""Estimates in the forms in which they are compared with NEG."""

from dataclasses import dataclass

from negjax.estimators import ESTIMATORS
from negjax.execution.conventions import Convention

CONVENTIONS: tuple[Convention, ...] = ("signed", "additive")

LABELS = {name: estimator.label for name, estimator in ESTIMATORS.items()}
"""Methods for readers, by name."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """An estimate as it is compared with NEG."""

    method: str
    per_unit: bool = False
    """Divided by |a| (signed) or a (additive)."""
    slope: bool = True
    """In NEG's units, so that it has an error."""

    @property
    def name(self) -> str:
        """In tables and summaries."""
        return f"{self.method}_per_unit" if self.per_unit else self.method

    @property
    def label(self) -> str:
        """For readers; the ablation is turned round."""
        return f"{'−' if self.method == 'ablation' else ''}{LABELS[self.method]}"

    def written(self, convention: Convention) -> str:
        """The label, with what it is divided by."""
        if not self.per_unit:
            return self.label
        return f"{self.label} / {'|a|' if convention == 'signed' else 'a'}"


# CG × activation per unit is NeurGrad (signed) or CG (additive), so it has no form of its own.
FORMS = (
    Form(method="cg"),
    Form(method="neurgrad"),
    Form(method="ig", slope=False),
    Form(method="ig", per_unit=True),
    Form(method="lpi", slope=False),
    Form(method="lpi", per_unit=True, slope=False),
    Form(method="relp", slope=False),
    Form(method="relp", per_unit=True),
    Form(method="cgxa", slope=False),
    Form(method="ablation", slope=False),
    Form(method="ablation", per_unit=True),
)
