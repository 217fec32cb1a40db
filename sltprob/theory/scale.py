"""The record of what is known about a model at one scale."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ScaleRow"]


@dataclass(frozen=True, kw_only=True)
class ScaleRow:
    """What is known about a model at one inverse temperature; None where theory is silent.

    Parameters
    ----------
    beta : float, dimensionless
    lambda_hat, mcse : float, dimensionless
        Exact value with its standard error.
    free_energy, free_energy_mcse : float, nats
    integrated, integrated_mcse : float or None, nats
        F by thermodynamic integration of `lambda_hat` from the first beta; the error is that of
        the values and that of the rule.
    nngp : float or None
        Lambda-hat of the infinitely wide network.
    mode_bound : float or None
        The rigorous bound by Hermite modes.
    crude_count : float
        ``(log beta / pi)^2 / 4``.
    claimed : float or None
        Half the width, the learning coefficient that was claimed.
    learning_coefficient : float or None
        That of the theorem.
    method : str
        How the exact value was computed.
    """

    beta: float
    lambda_hat: float
    mcse: float
    free_energy: float
    free_energy_mcse: float
    integrated: float | None
    integrated_mcse: float | None
    nngp: float | None
    mode_bound: float | None
    crude_count: float
    claimed: float | None
    learning_coefficient: float | None
    method: str
