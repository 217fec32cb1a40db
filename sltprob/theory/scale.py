"""What theory says about λ̂ of a model at one β, beside the exact value."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ScaleRow"]


@dataclass(frozen=True, kw_only=True)
class ScaleRow:
    """What is known about a model at one inverse temperature; None where theory is silent."""

    beta: float
    lambda_hat: float  # the exact value, with its standard error
    mcse: float
    free_energy: float
    free_energy_mcse: float
    # F by thermodynamic integration of `lambda_hat` from the first beta; the error is that of the
    # values and that of the rule
    integrated: float | None
    integrated_mcse: float | None
    nngp: float | None  # Lambda-hat of the infinitely wide network
    wide: float | None  # The same with its first term in 1 / h
    mode_bound: float | None  # the rigorous bound by Hermite modes
    crude_count: float | None  # ``(log beta / pi)^2 / 4``
    claimed: float | None  # Half the width, the learning coefficient that was claimed
    learning_coefficient: float | None  # That of the theorem
    method: str  # how the exact value was computed
