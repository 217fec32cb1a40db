"""λ̂ of a run around trained parameters, with the interval that its step size leaves open.

The step and the noise of its gradient raise λ̂ by at most C, which the run has measured: the truth
lies between λ̂ - C and λ̂. A run at half the step says where.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from sltprob.array_statistics import array_stats
from sltprob.diagnostics.base import is_sampled

__all__ = ["LocalEstimate", "local_estimate"]

# Standard errors on either side, for 95 %.
_WIDE = 1.96
# What Student's t makes of the spread between two chains, at most.
_FEW = 3.0


@dataclass(frozen=True)
class LocalEstimate:
    """λ̂ with what is known about its errors."""

    value: float  # extrapolated to no bias where half the step was run, else the middle
    mcse: float
    low: float
    high: float
    raw: float  # as sampled
    bias: float  # C
    halved: tuple[float, float] | None  # the same two at half the step
    raw_error: float  # of raw alone
    # What of mcse comes from where between λ̂ - C and λ̂ the truth lies, and how far these two are
    # uncertain at half the step.
    slope_error: float = 0.0
    half_step_error: float = 0.0

    @property
    def rho(self) -> float:
        """C relative to λ̂, at the smallest step that was run."""
        raw, bias = (self.raw, self.bias) if self.halved is None else self.halved
        return abs(bias) / raw if raw > 0 else math.nan


def local_estimate(
    scaled: np.ndarray,
    bias: np.ndarray,
    halved: Mapping[str, np.ndarray] | None,
    cooling: np.ndarray | None = None,
) -> LocalEstimate:
    """Put λ̂, its step bias and its Monte Carlo error together.

    One run gives the middle between r - C and r, r as sampled and C its bias where the loss is
    quadratic; where it is degenerate the bias is less. With r' and C' at half the step, λ̂ is
    extrapolated to C = 0 along a line, r' - C' (r - r')/(C - C'), and held between r' - C' and r'.

    A thermostat makes all directions colder by one factor, which is known and is taken out of r
    first: what is then too much is C again.

    Parameters
    ----------
    scaled : array, shape (chain, draw)
        nβ (L - L*).
    bias : array, shape (chain, draw)
        C, draw by draw.
    halved : mapping of str to array, or None
        ``scaled``, ``bias`` and perhaps ``cooling`` of the run at half the step.
    cooling : array, shape (chain, draw), optional
        What a thermostat has taken from r, draw by draw, <= 0; `bias` includes it.

    References
    ----------
    .. [1] L. F. Richardson, "The approximate arithmetical solution by finite differences", Phil.
       Trans. R. Soc. A 210 (1911) 307-357.
    """
    if not is_sampled(scaled):
        nan = math.nan
        return LocalEstimate(nan, nan, nan, nan, nan, nan, None, nan)
    if cooling is not None:
        scaled, bias = scaled - cooling, bias - cooling
    if halved is not None and "cooling" in halved:
        halved = {name: halved[name] - halved["cooling"] for name in ("scaled", "bias")}
    raw, size = float(np.mean(scaled)), float(np.mean(bias))
    if halved is None or not is_sampled(halved["scaled"]):
        least, low, most, high = _edges(scaled, bias)
        middle = _mcse(scaled - bias / 2)
        down, up = _still_to_come(scaled)
        low, high = low - down, high + up
        error = _mcse(scaled)
        return LocalEstimate((least + most) / 2, middle, low, high, raw, size, None, error)
    second, rest = float(np.mean(halved["scaled"])), float(np.mean(halved["bias"]))
    least, low, most, high = _edges(halved["scaled"], halved["bias"])
    change = size - rest
    slope = min(max((raw - second) / change, 0.0), 1.0) if change != 0 else 1.0
    value = min(max(second - slope * rest, least), most)
    # Richardson's is another reading of the same two runs.
    other = min(max(2 * (second - rest) - (raw - size), least), most)
    within = _mcse(halved["scaled"])
    corrected = _mcse(halved["scaled"] - halved["bias"])
    # How far the slope is uncertain, which cannot lead beyond the edges.
    error = _mcse(scaled)
    doubt = math.hypot(error, within) / abs(change) if change != 0 else 1.0
    down, up = _still_to_come(halved["scaled"])
    between = min(doubt, 0.5) * abs(rest)
    mcse = math.hypot(slope * corrected + (1 - slope) * within, between)
    return LocalEstimate(
        value,
        mcse,
        # That the loss is quadratic, so that all of C is bias, two steps do not exclude.
        low - down,
        min(max(value, other) + _WIDE * mcse, high) + up,
        raw,
        size,
        (second, rest),
        error,
        between,
        max(corrected, within),
    )


def _edges(scaled: np.ndarray, bias: np.ndarray) -> tuple[float, float, float, float]:
    """Give λ̂ - C and λ̂ in ascending order, each followed by its bound with two errors."""
    first, second = sorted((scaled - bias, scaled), key=lambda trace: float(np.mean(trace)))
    least, most = float(np.mean(first)), float(np.mean(second))
    return least, least - _WIDE * _mcse(first), most, most + _WIDE * _mcse(second)


def _still_to_come(scaled: np.ndarray) -> tuple[float, float]:
    """Give how far λ̂ may still fall, and rise: as in the later half of a run, beyond chance."""
    if scaled.shape[1] < 16:
        return 0.0, 0.0
    quarters = np.array_split(scaled, 4, axis=1)
    changes = quarters[3].mean(axis=1) - quarters[1].mean(axis=1)
    change, chains = float(changes.mean()), len(changes)
    if chains > 1:
        # By what differs between chains, since what they share is the trend itself.
        factor = float(student.ppf(0.975, chains - 1))
        chance = factor * float(changes.std(ddof=1)) / math.sqrt(chains)
    else:
        chance = _WIDE * math.sqrt(8) * _mcse(scaled)  # a quarter has twice the error of the whole
    excess = max(abs(change) - chance, 0.0)
    return (excess, 0.0) if change < 0 else (0.0, excess)


def _mcse(values: np.ndarray) -> float:
    """Give the error of a mean: within chains, or between them where that is larger.

    Of few chains the spread is known badly, for which Student's t has a factor; of two it is held
    down, since halves of them are looked at as well.
    """
    within = float(array_stats.mcse(values, chain_axis=0, draw_axis=1, method="mean"))
    chains = len(values)
    if chains < 2:
        return within
    factor = min(float(student.ppf(0.975, chains - 1)) / _WIDE, _FEW)
    return max(within, factor * float(np.std(values.mean(axis=1), ddof=1)) / math.sqrt(chains))
