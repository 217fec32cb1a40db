"""Measure one cell: sample, and put the exact value beside the draws."""

from __future__ import annotations

from typing import Any

import xarray as xr

from sltprob.exact import Exact
from sltprob.posterior import TemperedPosterior
from sltprob.samplers.base import Sampler
from sltprob.sampling import sample

__all__ = ["measure"]


def measure(
    posterior: TemperedPosterior,
    sampler: Sampler | str,
    *,
    exact: Exact | None = None,
    **options: Any,
) -> xr.DataTree:
    """Run one cell of a comparison.

    Parameters
    ----------
    posterior : TemperedPosterior
    sampler : Sampler or str
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
    draws = sample(posterior, sampler, **options)
    if exact is not None:
        draws.attrs |= {
            "exact": exact.lambda_hat,
            "exact_mcse": exact.mcse,
            "exact_free_energy": exact.free_energy,
            "exact_free_energy_mcse": exact.free_energy_mcse,
            "exact_method": exact.method,
        }
    return draws
