"""What is known while a run goes on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sltprob.array_statistics import array_stats

__all__ = ["Progress", "Target", "running_estimate"]


@dataclass(frozen=True)
class Progress:
    """What is known while a run goes on."""

    stage: str  # ``"compile"``, ``"warm-up"``, ``"sample"``, ``"scout"`` or ``"done"``
    draws: int  # Draws per chain so far
    total: int  # Draws per chain asked for
    seconds: float  # Seconds of this stage so far
    lambda_hat: float  # Running estimate; NaN before there are draws
    mcse: float  # Running estimate; NaN before there are draws
    beta: float
    sampler: str


@dataclass(frozen=True)
class Target:
    """When the Monte Carlo error is small enough."""

    error: float
    relative: bool  # Times lambda-hat

    @classmethod
    def read(cls, given: float | str) -> Target:
        """Read ``0.02``, or ``"2%"`` of lambda-hat."""
        text = str(given).strip()
        relative = text.endswith("%")
        try:
            error = float(text.rstrip("%")) / (100 if relative else 1)
        except ValueError:
            error = math.nan
        if not 0 < error < math.inf:
            raise ValueError(f"target_mcse={given}: it must be positive, such as 0.02 or '2%'")
        return cls(error, relative)

    def met(self, lambda_hat: float, mcse: float) -> bool:
        """Say whether an error is at most what is wanted; NaN never is."""
        return mcse <= self.error * (abs(lambda_hat) if self.relative else 1)


def running_estimate(losses: np.ndarray, beta: float, minimum_loss: float) -> tuple[float, float]:
    """Estimate lambda-hat and its Monte Carlo standard error from the draws so far.

    References
    ----------
    .. [1] A. Vehtari, A. Gelman, D. Simpson, B. Carpenter, P.-C. Bürkner, "Rank-normalization,
       folding, and localization: an improved R-hat", Bayesian Analysis 16 (2021) 667-718 (the
       standard error of a mean).
    """
    if losses.shape[1] < 4 or not np.all(np.isfinite(losses)):
        return math.nan, math.nan
    mcse = array_stats.mcse(losses, chain_axis=0, draw_axis=1, method="mean")
    return beta * (float(np.mean(losses)) - minimum_loss), beta * float(mcse)
