"""Lambda-hat from the draws, with its Monte Carlo error."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from sltprob import draws as schema
from sltprob.array_statistics import array_stats
from sltprob.diagnostics.base import Run, is_sampled
from sltprob.diagnostics.local_checks import estimate_of
from sltprob.notebook import facts

__all__ = ["LambdaHat", "estimate"]

# Standard errors on either side, for 95 %.
_WIDE = 1.96


@dataclass(frozen=True)
class LambdaHat:
    """An estimate of λ̂(β) = β (E_β[L] - L*).

    Parameters
    ----------
    value : float, dimensionless
        NaN if a draw is not finite or a chain did not move.
    mcse : float, dimensionless
        Monte Carlo standard error of the mean.
    beta : float, dimensionless
    ess : float
        Bulk effective sample size of the loss.
    per_chain : tuple of float
        The estimate of every chain.
    low, high : float, dimensionless
        Where the truth lies in 95 of 100 cases: two standard errors to either side, what the step
        of a sampler without a Metropolis test does to λ̂, what L* may be too high by where it was
        searched for, and of a run around trained parameters what the size of its step leaves open.
    """

    value: float
    mcse: float
    beta: float
    ess: float
    per_chain: tuple[float, ...]
    low: float = math.nan
    high: float = math.nan

    @property
    def error(self) -> float:
        """Standard error that the interval has, the bias of the step included; never below mcse."""
        return max(self.mcse, (self.high - self.low) / (2 * _WIDE))

    def __str__(self) -> str:
        text = f"lambda-hat({self.beta:g}) = {self.value:.4g} ± {self.mcse:.2g}"
        # Where the interval is not what the error says, it is what to look at.
        wider = self.high - self.low > 4.5 * self.mcse
        return f"{text}, in [{self.low:.4g}, {self.high:.4g}]" if wider else text

    def _repr_html_(self) -> str:
        """Show the estimate in a notebook."""
        found = {
            "in 95 of 100 cases": f"{self.low:.4g} to {self.high:.4g}",
            "effective sample size": f"{self.ess:.0f}",
            "by chain": ", ".join(f"{value:.4g}" for value in self.per_chain),
        }
        return facts(str(self).replace("lambda-hat", "λ̂"), found)


def estimate(
    draws: xr.DataTree, *, minimum_loss: float | None = None, rao_blackwell: bool = False
) -> LambdaHat:
    """Estimate lambda-hat from a run.

    Parameters
    ----------
    draws : xarray.DataTree
        Of `sltprob.sample` or `sltprob.load`.
    minimum_loss : float, optional
        L*, by default what the run knows.
    rao_blackwell : bool
        Average E[βL | all sites but the readout] instead of βL, where the run has recorded it: the
        same mean, and often a hundredth of the variance. Its error is that of the other sites
        alone; whether the readout was sampled rightly it cannot tell, and the verdict does.

    Returns
    -------
    LambdaHat

    Raises
    ------
    ValueError
        If the draws do not follow the schema, L* is not known, or given for a run around trained
        parameters, which has its own, or there is no readout to average over.
    TypeError
        If they are no DataTree.

    References
    ----------
    .. [1] S. Watanabe, "A widely applicable Bayesian information criterion", JMLR 14 (2013).
    .. [2] A. Vehtari et al., "Rank-normalization, folding, and localization: an improved R-hat",
       Bayesian Analysis 16 (2021), for the effective sample size.
    .. [3] A. E. Gelfand, A. F. M. Smith, "Sampling-based approaches to calculating marginal
       densities", J. Amer. Statist. Assoc. 85 (1990) 398-409 (Rao and Blackwell's theorem).
    """
    schema.check(draws)
    beta = float(draws.attrs["beta"])
    if minimum_loss is not None and draws.attrs.get("local", 0):
        raise ValueError(
            f"minimum_loss={minimum_loss}: a run around trained parameters takes the loss of every "
            "row less that at the parameters; leave it out, or measure around others"
        )
    below = 0.0  # how far below it the least loss may be
    if minimum_loss is None:
        minimum_loss = float(draws.attrs["minimum_loss"])
        below = float(draws.attrs.get("minimum_loss_error", 0.0))
    if math.isnan(minimum_loss):
        raise ValueError(
            "L* of this model is not known; write estimate(draws, minimum_loss=...) with the "
            "loss at its optimum"
        )
    statistics = draws["sample_stats"]
    losses = np.asarray(statistics["loss"].values, dtype=float)
    excess: np.ndarray | float = 0.0
    if rao_blackwell:
        if "energy_excess" not in statistics:
            raise ValueError(
                "rao_blackwell=True: this run has no energy_excess, as its model has no linear "
                "readout; leave rao_blackwell out"
            )
        excess = np.asarray(statistics["energy_excess"].values, dtype=float)
    # What overflows or does not exist is NaN in the result: nobody need be warned.
    with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
        if draws.attrs.get("local", 0):
            return _estimate_local(Run.of(draws), beta)
        found = _estimate(beta * (losses - minimum_loss) - excess, beta)
        if not rao_blackwell:
            error = math.hypot(found.mcse, Run.of(draws).step_bias)
            found = replace(
                found, low=found.value - _WIDE * error, high=found.value + _WIDE * error
            )
        return replace(found, high=found.high + beta * below)


def _estimate(scaled: np.ndarray, beta: float) -> LambdaHat:
    per_chain = tuple(float(value) for value in scaled.mean(axis=1))
    if not is_sampled(scaled):
        return LambdaHat(math.nan, math.nan, beta, math.nan, per_chain)
    value = float(scaled.mean())
    mcse = float(array_stats.mcse(scaled, chain_axis=0, draw_axis=1, method="mean"))
    ess = float(array_stats.ess(scaled, chain_axis=0, draw_axis=1, method="bulk"))
    return LambdaHat(value, mcse, beta, ess, per_chain, value - _WIDE * mcse, value + _WIDE * mcse)


def _estimate_local(run: Run, beta: float) -> LambdaHat:
    """Estimate lambda-hat around trained parameters, with the interval that the step leaves."""
    plain = _estimate(run.loss, beta)
    found = estimate_of(run)
    # What the step adds is taken from all chains alike.
    shift = found.value - plain.value
    per_chain = tuple(value + shift for value in plain.per_chain)
    return replace(
        plain,
        value=found.value,
        mcse=found.mcse,
        low=found.low,
        high=found.high,
        per_chain=per_chain,
    )
