"""What is known while a run goes on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sltprob.array_statistics import array_stats
from sltprob.diagnostics.checks import LEAST_ESS

__all__ = ["Draws", "Progress", "Target"]


@dataclass(frozen=True)
class Progress:
    """What is known while a run goes on."""

    # ``"compile"``, ``"warm-up"``, ``"sample"``, ``"half step"``, ``"scout"`` or ``"done"``
    stage: str
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

    def met_by(self, draws: Draws) -> bool:
        """Say whether draws are enough.

        The error of lambda-hat averaged over the readout counts too, as soon as the draws of the
        loss are enough to be judged.
        """
        if self.met(*draws.estimate()):
            return True
        return self.met(*draws.averaged()) and draws.effective() >= LEAST_ESS

    def met(self, lambda_hat: float, mcse: float) -> bool:
        """Say whether an error is at most what is wanted; NaN never is."""
        return mcse <= self.error * (abs(lambda_hat) if self.relative else 1)


@dataclass(frozen=True)
class Draws:
    """The draws so far."""

    losses: np.ndarray  # shape (chain, draw)
    excesses: np.ndarray | None  # βL less its expectation over the readout, where one is known
    beta: float
    minimum_loss: float

    def estimate(self) -> tuple[float, float]:
        """Estimate lambda-hat and its Monte Carlo standard error.

        References
        ----------
        .. [1] A. Vehtari, A. Gelman, D. Simpson, B. Carpenter, P.-C. Bürkner, "Rank-normalization,
           folding, and localization: an improved R-hat", Bayesian Analysis 16 (2021) 667-718 (the
           standard error of a mean).
        """
        return self._mean(self.losses)

    def averaged(self) -> tuple[float, float]:
        """Do the same with the loss averaged over the readout; NaN where that is not known."""
        if self.excesses is None:
            return math.nan, math.nan
        return self._mean(self.losses - self.excesses / self.beta)

    def effective(self) -> float:
        """Count the effective draws of the loss in the bulk."""
        return float(array_stats.ess(self.losses, chain_axis=0, draw_axis=1, method="bulk"))

    def _mean(self, losses: np.ndarray) -> tuple[float, float]:
        if losses.shape[1] < 4 or not np.all(np.isfinite(losses)):
            return math.nan, math.nan
        mcse = array_stats.mcse(losses, chain_axis=0, draw_axis=1, method="mean")
        mean = float(np.mean(losses)) - self.minimum_loss
        return self.beta * mean, self.beta * float(mcse)
