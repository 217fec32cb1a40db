"""Whether the chains have seen what scouts saw: the check against basins that a run has missed."""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import t as student

from sltprob.diagnostics.base import Check, Run, below, ratio

__all__ = ["scouts"]

# What missed basins may do to lambda-hat, relative to it.
_LIMIT = 0.05
# How often the mean of the population that came down differs by chance.
_LEVEL = 0.001
# Scouts with a common ancestor err together: how much larger their error is than that of strangers,
# and what the mean differs by at least, relative.
_KINSHIP, _FAMILY_SHIFT = 1.5, 0.25
# Draws of a scout that are left out, as a part of all: it is still on its way.
_ARRIVING = 0.25
# Where chains were in so small a part of the run, they have hardly been.
_SELDOM = 0.01
# A scout is elsewhere if its mean lies so many ranges outside of those of the run.
_OUTSIDE = 0.5
# A basin that so many of the places where chains were should have led to, and none did, is missed.
_EXPECTED = 4.0
# Standard errors by which the losses in such a basin must differ, and draws that count as one.
_CLEARLY, _AS_ONE = 1.5, 2
DEL_MORAL = "Del Moral, Doucet, Jasra, Sequential Monte Carlo samplers, JRSS B 68 (2006) 411-436"
TIERNEY = "Tierney, Kadane, J. Amer. Statist. Assoc. 81 (1986) 82-86 (Laplace's approximation)"


def scouts(run: Run) -> list[Check]:
    """Compare the losses that scouts saw with those of the chains.

    A scout of the population stands for its share of the posterior: their mean loss is compared
    with that of the run, and any one of them that sees losses which no chain has seen moves
    lambda-hat by its share. One that a descent found moves it by the weight of its basin, if it
    sees such losses, or if chains that knew the basin would have been seen in it.
    """
    if not {"loss", "log_weight"} <= run.scouts.keys() or not run.loss.size:
        return []
    losses, log_weights = run.scouts["loss"], run.scouts["log_weight"]
    fits = losses.ndim == 2 and losses.shape[0] == log_weights.size and losses.size > 0
    shift = _shift(run, losses, log_weights) if fits or not log_weights.size else math.nan
    advice = (
        "There is a basin that no replica and no particle has come to: start replica_exchange in "
        "it (init=), or take many times the draws, and for tempered_smc num_particles."
        if "ladder_loss" in run.stats
        else "There is a basin that the chains have missed, and lambda-hat is that of the others "
        "alone: take replica_exchange or tempered_smc, which come from the prior."
    )
    return [
        below(
            "scouts",
            ratio(shift, run.scale),
            _LIMIT,
            "change of lambda-hat by what scouts saw where no chain has been, relative",
            advice,
            f"{DEL_MORAL}; {TIERNEY}",
        )
    ]


def _shift(run: Run, losses: np.ndarray, log_weights: np.ndarray) -> float:
    """Say by how much lambda-hat changes if what the scouts saw is counted."""
    if not log_weights.size:
        return 0.0
    kept = losses[:, int(_ARRIVING * losses.shape[1]) :]
    means = kept.mean(axis=1)
    low, high = _range(run.loss, kept.shape[1])
    elsewhere = (means < low) | (means > high) | ~np.isfinite(means)
    distances = np.abs(means - run.lambda_hat)
    came = np.isnan(log_weights)
    shift = 0.0
    if came.any():
        shift = float(np.sum(distances[came & elsewhere])) / int(came.sum())
        difference = abs(float(means[came].mean()) - run.lambda_hat)
        of_scouts = _KINSHIP * float(np.std(means[came], ddof=1)) / math.sqrt(came.sum())
        error = math.hypot(of_scouts, run.mcse)
        limit = student.isf(_LEVEL / 2, came.sum() - 1) * error
        if difference > max(limit, _FAMILY_SHIFT * run.scale):
            shift = max(shift, difference)
    weights = np.exp(np.minimum(log_weights[~came], 700.0))
    weights /= 1 + np.sum(weights)
    errors = np.std(kept, axis=1) * math.sqrt(_AS_ONE / kept.shape[1])
    places = float(run.scouts.get("places", np.zeros(())))
    missed = (weights * places > _EXPECTED) & (distances > _CLEARLY * errors)[~came]
    return shift + float(np.sum((weights * distances[~came])[missed | elsewhere[~came]]))


def _range(losses: np.ndarray, length: int) -> tuple[float, float]:
    """Give the range of the means over as many draws as a scout has, and something beyond."""
    length = min(length, losses.shape[1])
    draws = losses.shape[1] // length * length
    means = losses[:, :draws].reshape(losses.shape[0], -1, length).mean(axis=2)
    low, high = np.quantile(means, [_SELDOM, 1 - _SELDOM]) if means.size else (math.nan, math.nan)
    margin = _OUTSIDE * (high - low)
    return float(low - margin), float(high + margin)
