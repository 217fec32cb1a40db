"""Start hot and cold: chains from prior draws and chains from the optimum must meet."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from sltprob.array_statistics import array_stats
from sltprob.diagnostics import Check
from sltprob.diagnostics.base import VEHTARI
from sltprob.optimum import find_optimum
from sltprob.probes.rerun import StoredRun, lambda_hat_of
from sltprob.probes.significance import FALSE_ALARM_RATE, normal_limit, standard_errors

__all__ = ["run_cold", "run_hot", "start_checks"]

GELMAN = "Gelman, Rubin, Statistical Science 7 (1992) 457-472: overdispersed starting points"

# Sixteen half chains of 50 effective draws each have 1.01.
_LARGEST_RHAT = 1.05


def run_hot(stored: StoredRun, **options: Any) -> xr.DataTree:
    """Run from draws of the prior, with the parameters that the run has tuned."""
    return stored.again("hot start", init="prior", chains=stored.chains, **options)


def run_cold(stored: StoredRun, *, seed: int, **options: Any) -> xr.DataTree:
    """Run from the optimum, with the parameters that the run has tuned.

    A program of the user's own starts at the best point that is found.
    """
    init: Any = "optimum"
    if stored.posterior.structure.model is None:
        best = find_optimum(stored.posterior, seed=seed).values
        init = {name: np.stack([value] * stored.chains) for name, value in best.items()}
    return stored.again("cold start", init=init, chains=stored.chains, seed=seed, **options)


def start_checks(hot: xr.DataTree, cold: xr.DataTree) -> list[Check]:
    """Compare λ̂ and the loss traces of chains that started hot and cold."""
    warm, cool = lambda_hat_of(hot), lambda_hat_of(cold)
    z = float(
        standard_errors(warm.value - cool.value, (warm.mcse, warm.ess), (cool.mcse, cool.ess))
    )
    limit = normal_limit()
    losses = np.concatenate([run["sample_stats"]["loss"].values for run in (hot, cold)])
    lively = np.all(np.isfinite(losses)) and np.all(np.ptp(losses, axis=1) > 0)
    rhat = float(array_stats.rhat(losses, chain_axis=0, draw_axis=1)) if lively else np.nan
    advice = (
        "Chains remember where they started: the run has not converged, or there are two phases; "
        "take a longer warm-up and more draws, or a sampler that crosses barriers, such as "
        "replica_exchange."
    )
    return [
        Check(
            "hot_cold",
            z,
            limit,
            "<",
            bool(z < limit),
            True,
            f"standard errors between lambda-hat of chains from the prior ({warm.value:.4g}) and "
            f"from the optimum ({cool.value:.4g})",
            advice,
            GELMAN,
            FALSE_ALARM_RATE,
        ),
        Check(
            "hot_cold_rhat",
            rhat,
            _LARGEST_RHAT,
            "<",
            bool(rhat < _LARGEST_RHAT),
            False,
            "rank-normalised R-hat of the loss over hot and cold chains together",
            advice,
            VEHTARI,
        ),
    ]
