"""How the losses of rows move together over the posterior: influence and susceptibilities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from sltprob.diagnostics.base import Run
from sltprob.diagnostics.local_checks import estimate_of

__all__ = ["LossCovariance", "loss_covariance"]


@dataclass(frozen=True)
class LossCovariance:
    """Covariances over the posterior, with errors.

    Parameters
    ----------
    value : array, shape (first, second), squared units of the loss
        Covariances over the draws within chains, averaged over chains.
    mcse : array, shape (first, second)
        Standard errors, from the differences between chains.
    nbeta : float, dimensionless
    bias : array, shape (first, second)
        By how much the step may have moved them: 2ρ √(Var Var), ρ the part of λ̂ that the step
        adds. Where rows see the stiffest directions alone it may be more.
    """

    value: np.ndarray
    mcse: np.ndarray
    nbeta: float
    bias: np.ndarray

    @property
    def error(self) -> np.ndarray:
        """Give the standard error with the bias of the step; never below mcse."""
        return np.hypot(self.mcse, self.bias)

    @property
    def influence(self) -> np.ndarray:
        """Give how an expected loss changes when a row is weighed more: -nβ Cov / n, times n.

        That is d E[l_j] / d log(weight of row i), n times, for one row among n whose mean is
        tempered: the Bayesian influence function.
        """
        return np.asarray(-self.nbeta * self.value)


def loss_covariance(draws: xr.DataTree, first: str, second: str | None = None) -> LossCovariance:
    """Estimate the covariances of the losses of rows over the posterior.

    The step widens the posterior: a variance over it by 1/(1 - ρ) and so the variance of what is
    quadratic in the parameters by 1/(1 - ρ)², which is 2ρ of it; that of a covariance is bounded
    by the two variances (Cauchy and Schwarz). A run with a smaller `target_rho` has less.

    Parameters
    ----------
    draws : xarray.DataTree
        Of `sltprob.sample` on a posterior of ``sltprob.local(..., row_losses={first: ...})``, with
        two chains or more.
    first, second : str
        Names in `row_losses`, or in `observables` for the mean of a data set; `second` is `first`
        by default.

    Returns
    -------
    LossCovariance

    Raises
    ------
    ValueError
        If a name was not recorded, or there is one chain only.

    References
    ----------
    .. [1] P. A. Kreer et al., "Bayesian influence functions for Hessian-free data attribution",
       arXiv 2509.26544 (2025).
    .. [2] G. Baker et al., "Studying small language models with susceptibilities", arXiv
       2504.18274 (2025).
    """
    one, other = _recorded(draws, first), _recorded(draws, first if second is None else second)
    found = estimate_of(Run.of(draws))
    # Of the step at which the rows were recorded, not of half of it.
    rho = abs(found.bias) / found.raw if found.raw > 0 else np.nan
    chains, count = one.shape[:2]
    if chains < 2:
        raise ValueError(
            "the run has one chain, and the errors come from the differences between chains; "
            "write sample(..., chains=4)"
        )
    # Within chains: what differs between them is their means, which have not mixed.
    centred = [values - values.mean(axis=1, keepdims=True) for values in (one, other)]
    by_chain = np.einsum("cdi,cdj->cij", *centred) / (count - 1)
    spreads = [np.sqrt(np.mean(values**2, axis=(0, 1))) for values in centred]
    return LossCovariance(
        by_chain.mean(axis=0),
        by_chain.std(axis=0, ddof=1) / np.sqrt(chains),
        float(draws.attrs["beta"]),
        2 * rho * np.outer(*spreads),
    )


def _recorded(draws: xr.DataTree, name: str) -> np.ndarray:
    """Give what was recorded under a name, shape (chain, draw, row)."""
    stats = draws["sample_stats"]
    for kind in ("row_loss", "observable"):
        if f"{kind}_{name}" in stats:
            values = np.asarray(stats[f"{kind}_{name}"].values, dtype=float)
            return values if values.ndim == 3 else values[..., None]
    known = [
        str(key).partition("_loss_" if str(key).startswith("row") else "_")[2]
        for key in stats.data_vars
        if str(key).startswith(("row_loss_", "observable_"))
    ]
    raise ValueError(
        f"{name!r} was not recorded; there {'are ' + ', '.join(known) if known else 'is nothing'}; "
        f"write local(..., row_losses={{{name!r}: (data, loss_rows)}})"
    )
