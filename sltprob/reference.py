"""A reference where no exact answer is known: a trusted run of a whole ladder from the prior.

It is called a reference, never exact: it is sampled too, with an error of its own. But it starts
from draws of the prior at every temperature, so it does not share the faults of a chain at one
temperature that never left its start.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr
from arviz_stats.base import array_stats
from scipy.special import logsumexp

from sltprob.diagnostics import diagnose
from sltprob.exact import Exact
from sltprob.ladder import ladder
from sltprob.problem import Problem
from sltprob.sampling import Progress, sample

__all__ = ["answers", "reference"]

_SAMPLERS = ("replica_exchange", "tempered_smc")
# Draws for one effective draw after reweighting to the next colder beta.
_LARGEST_LOSS_OF_DRAWS = 20.0


def answers(
    problem: Problem,
    betas: Sequence[float],
    *,
    tolerance: float = 0.01,
    progress: Callable[[Progress], None] | None = None,
) -> list[Exact | None]:
    """Give the exact answer at every beta; where none is known, a reference, or None."""
    found = [problem.exact(beta, tolerance) for beta in betas]
    if any(found):
        return found
    known = {value.beta: value for value in reference(problem, betas, progress=progress)}
    return [known.get(beta) for beta in betas]


def reference(
    problem: Problem,
    betas: Sequence[float],
    *,
    draws: int = 1000,
    warmup: int = 500,
    chains: int = 4,
    seed: int = 0,
    progress: Callable[[Progress], None] | None = None,
) -> list[Exact]:
    """Measure λ̂ and the free energy at every beta by one run of a ladder from the prior.

    Replica exchange goes first, tempered SMC where its verdict does not trust it. A beta between
    two rungs takes the draws of the hotter one, reweighted.

    Returns
    -------
    list of Exact
        One for each beta, whose method begins with "reference"; those that the run cannot tell
        are left out, which is all of them where no run is trusted.
    """
    posterior = problem.at(max(betas))
    for sampler in _SAMPLERS:
        try:
            run = sample(
                posterior,
                sampler,
                draws=draws,
                warmup=warmup,
                chains=chains,
                seed=seed,
                keep="loss",
                progress=progress,
            )
        except ValueError:  # it does not apply: a prior that cannot be drawn from
            continue
        if diagnose(run).status == "trusted":
            name = str(run.attrs["sampler"]).partition("[")[0].replace("_", " ")
            method = f"reference: {name}, {chains} chains of {draws} draws, trusted"
            found = [_at(run, beta, method) for beta in betas]
            return [value for value in found if value is not None]
    return []


def _at(run: xr.DataTree, beta: float, method: str) -> Exact | None:
    """Read a ladder at one beta, by the draws of the next hotter rung, reweighted.

    From hot to cold the weights exp(-(β - β_rung)(L - L*)) are bounded, so their variance exists
    whatever the tail of the loss.
    """
    rungs = {rung.beta: rung for rung in ladder(run).rungs}
    all_losses = run["sample_stats"].to_dataset()["ladder_loss"]
    betas = np.asarray(all_losses["beta"].values, dtype=float)
    hotter = float(betas[betas <= beta * (1 + 1e-12)].max())
    losses = all_losses.sel(beta=hotter).values - float(run.attrs["minimum_loss"])
    # A rung at beta itself differs from it by rounding, as 0 * inf would show.
    step = 0.0 if math.isclose(hotter, beta) else beta - hotter
    log_weights = np.asarray(-step * losses)
    if not np.all(np.isfinite(losses)):
        return None
    log_mean = float(logsumexp(log_weights) - math.log(log_weights.size))
    weights = np.exp(log_weights - log_mean)
    if not np.mean(weights**2) < _LARGEST_LOSS_OF_DRAWS:
        return None
    energy = beta * float(np.mean(weights * losses))
    known = rungs.get(hotter)  # none at beta = 0, where the free energy is 0
    free_energy, free_energy_mcse = (
        (known.free_energy, known.free_energy_mcse) if known else (0.0, 0.0)
    )
    return Exact(
        beta=beta,
        lambda_hat=energy,
        # The mean of a ratio has the error of the influence of each draw on it.
        mcse=_mcse(weights * (beta * losses - energy)),
        free_energy=free_energy + step * float(run.attrs["minimum_loss"]) - log_mean,
        free_energy_mcse=math.hypot(free_energy_mcse, _mcse(weights)),
        method=method,
    )


def _mcse(values: np.ndarray) -> float:
    """Give the standard error of a mean over chains and draws; 0 for a constant."""
    if not np.ptp(values) > 0:
        return 0.0
    return float(array_stats.mcse(values, chain_axis=0, draw_axis=1, method="mean"))
