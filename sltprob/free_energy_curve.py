"""The free energy along a ladder of temperatures, three ways: populations, bridges, an integral."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logsumexp

from sltprob.array_statistics import array_stats

__all__ = ["Curve", "difference"]


@dataclass(frozen=True)
class Curve:
    """The free energy at every inverse temperature of a ladder, the hottest included.

    Parameters
    ----------
    free_energy, free_energy_mcse : array, shape (rung,)
        By populations where there are any, else bridged.
    bridged, bridged_mcse : array, shape (rung,)
        By acceptance ratios.
    integrated, integrated_error : array, shape (rung,)
        By integration of the mean loss.
    num_populations : int
        0 where the sampler has none.
    log_evidence_spread : float
        Standard deviation of the log evidence of a population at the target.
    """

    free_energy: np.ndarray
    free_energy_mcse: np.ndarray
    bridged: np.ndarray
    bridged_mcse: np.ndarray
    integrated: np.ndarray
    integrated_error: np.ndarray
    num_populations: int
    log_evidence_spread: float

    @classmethod
    def of(cls, betas: np.ndarray, losses: np.ndarray, log_evidence: np.ndarray | None) -> Curve:
        """Compute the curve.

        Parameters
        ----------
        betas : array, shape (rung,)
        losses : array, shape (chain, draw, rung)
        log_evidence : array, shape (chain, draw, rung), or None
            Of the population that a draw belongs to.

        Returns
        -------
        Curve
        """
        bridged, integrated = _bridge(betas, losses), _integrate(betas, losses)
        if log_evidence is None:
            return cls(*bridged, *bridged, *integrated, 0, math.nan)
        populations = np.concatenate([_distinct(chain) for chain in log_evidence])
        count = len(populations)
        spread = float(np.std(populations[:, -1], ddof=1)) if count > 1 else math.nan
        return cls(*_average(populations), *bridged, *integrated, count, spread)


def _mcse(values: np.ndarray) -> float:
    """Give the Monte Carlo standard error of a mean, NaN where it does not exist."""
    if values.shape[1] < 4 or not np.all(np.isfinite(values)):
        return math.nan
    if not np.all(np.ptp(values, axis=1) > 0):
        return math.nan
    return float(array_stats.mcse(values, chain_axis=0, draw_axis=1, method="mean"))


def difference(step: float, hot: np.ndarray, cold: np.ndarray) -> tuple[float, np.ndarray]:
    """Estimate the difference of free energy between two rungs, and its error by draw.

    Parameters
    ----------
    step : float
        Difference of the inverse temperatures.
    hot, cold : array, shape (chain, draw)
        Losses.

    Returns
    -------
    difference : float, nats
        NaN where it does not exist.
    influence : array, shape (chain, draw)
        Of mean zero; the error of its mean is that of the difference.

    References
    ----------
    .. [1] C. H. Bennett, "Efficient estimation of free energy differences from Monte Carlo data",
       Journal of Computational Physics 22 (1976) 245-268.
    """
    undefined = math.nan, np.full(hot.shape, math.nan)
    if not (hot.size and np.all(np.isfinite(hot)) and np.all(np.isfinite(cold))):
        return undefined

    def imbalance(value: float) -> float:
        return float(np.mean(expit(value - step * hot)) - np.mean(expit(step * cold - value)))

    low = step * float(min(hot.min(), cold.min())) - 50
    high = step * float(max(hot.max(), cold.max())) + 50
    if not imbalance(low) < 0 < imbalance(high):
        return undefined
    value = float(brentq(imbalance, low, high, xtol=1e-10))
    from_hot, from_cold = expit(value - step * hot), expit(step * cold - value)
    slope = np.mean(from_hot * (1 - from_hot)) + np.mean(from_cold * (1 - from_cold))
    return value, (from_cold - from_hot) / slope


def _bridge(betas: np.ndarray, losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Add up the differences of free energy, with their errors."""
    total, influence = 0.0, np.zeros(losses.shape[:2])
    values, errors = [0.0], [0.0]
    for index, step in enumerate(np.diff(betas)):
        value, part = difference(float(step), losses[:, :, index], losses[:, :, index + 1])
        total, influence = total + value, influence + part
        values.append(total)
        errors.append(_mcse(influence))
    return np.array(values), np.array(errors)


def _integrate(betas: np.ndarray, losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Integrate the mean loss by the trapezium rule, corrected by the variances.

    The derivative of the mean loss is minus its variance, so the rule is known to fourth order;
    the correction itself bounds what it leaves open.
    """
    steps = np.diff(betas)
    means, variances = losses.mean(axis=(0, 1)), losses.var(axis=(0, 1))
    corrections = steps**2 / 12 * np.diff(variances)
    parts = steps / 2 * (means[:-1] + means[1:]) + corrections
    values = np.concatenate([[0.0], np.cumsum(parts)])
    open_ = np.concatenate([[0.0], np.cumsum(np.abs(corrections))])
    weights = np.zeros(len(betas))
    errors = [0.0]
    for index, step in enumerate(steps):
        weights[index] += step / 2
        weights[index + 1] += step / 2
        errors.append(_mcse(losses @ weights))
    return values, np.hypot(errors, open_)


def _average(populations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average the evidence over independent populations, shape (population, rung)."""
    count = len(populations)
    mean = logsumexp(populations, axis=0) - np.log(count)
    relative = np.exp(populations - mean)
    spread = np.std(relative, axis=0, ddof=1) if count > 1 else np.full(mean.shape, math.nan)
    return -mean, spread / math.sqrt(count)


def _distinct(log_evidence: np.ndarray) -> np.ndarray:
    """Give each population of a chain once, shape (population, rung)."""
    if not len(log_evidence):
        return log_evidence
    changed = np.any(np.diff(log_evidence, axis=0) != 0, axis=1)
    rows: np.ndarray = log_evidence[np.concatenate([[True], changed])]
    return rows
