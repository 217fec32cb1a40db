"""How the losses of rows move together over the posterior: influence and susceptibilities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

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
    """

    value: np.ndarray
    mcse: np.ndarray
    nbeta: float

    @property
    def influence(self) -> np.ndarray:
        """Give how an expected loss changes when a row is weighed more: -nβ Cov / n, times n.

        That is d E[l_j] / d log(weight of row i), n times, for one row among n whose mean is
        tempered: the Bayesian influence function.
        """
        return np.asarray(-self.nbeta * self.value)


def loss_covariance(draws: xr.DataTree, first: str, second: str | None = None) -> LossCovariance:
    """Estimate the covariances of the losses of rows over the posterior.

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
    chains, count = one.shape[:2]
    if chains < 2:
        raise ValueError(
            "the run has one chain, and the errors come from the differences between chains; "
            "write sample(..., chains=4)"
        )
    # Within chains: what differs between them is their means, which have not mixed.
    centred = [values - values.mean(axis=1, keepdims=True) for values in (one, other)]
    by_chain = np.einsum("cdi,cdj->cij", *centred) / (count - 1)
    return LossCovariance(
        by_chain.mean(axis=0),
        by_chain.std(axis=0, ddof=1) / np.sqrt(chains),
        float(draws.attrs["beta"]),
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
