"""Measure one cell: temper, sample, and put the exact value beside the draws."""

from __future__ import annotations

from typing import Any

import xarray as xr

from sltprob.exact import Exact
from sltprob.models.base import Model
from sltprob.posterior import temper
from sltprob.samplers.base import Sampler
from sltprob.sampling import sample

__all__ = ["measure"]


def measure(
    model: Model,
    sampler: Sampler | str,
    beta: float,
    *,
    exact: Exact | None = None,
    **options: Any,
) -> xr.DataTree:
    """Run one cell of a comparison.

    Parameters
    ----------
    model : Model
    sampler : Sampler or str
    beta : float, dimensionless
    exact : Exact, optional
        The exact value at this beta, kept in the attributes of the run so that the file can
        be judged without computing it again.
    **options
        Of `sltprob.sample`.

    Returns
    -------
    xarray.DataTree

    Raises
    ------
    ValueError
        If an option is out of range.
    """
    draws = sample(temper(model, beta=beta), sampler, **options)
    if exact is not None:
        draws.attrs |= {
            "exact": exact.lambda_hat,
            "exact_mcse": exact.mcse,
            "exact_free_energy": exact.free_energy,
            "exact_free_energy_mcse": exact.free_energy_mcse,
            "exact_method": exact.method,
        }
    return draws
