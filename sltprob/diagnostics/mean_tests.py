"""Tests that the mean of a trace is zero, which share one level over a run.

`FAMILY_RATE` is how often a right run fails any of them. Half of it belongs to the tests that see
λ̂ itself, if there are any, and each part is split by Šidák's rule. A standardised mean of
correlated draws has wider tails than a normal one, since its error is estimated too: the limits are
quantiles of Student's t.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import t as student

from sltprob.diagnostics.base import Check, Run, below, ratio, statistic

__all__ = ["error_of_mean", "judge_score", "mean_is_zero", "number_of_tests"]

#: How often a right run fails any of these tests.
FAMILY_RATE = 0.01
# Effective draws that make one degree of freedom of the estimated error.
_DRAWS_PER_DEGREE = 20
SIDAK = "Šidák, J. Amer. Statist. Assoc. 62 (1967) 626-633, for the share of every test"


def mean_is_zero(
    run: Run,
    name: str,
    values: np.ndarray,
    what: str,
    advice: str,
    reference: str,
    *,
    sees_loss: bool = False,
    slack: float = 1.0,
) -> Check:
    """Test that the mean of a trace is zero, with a limit so many times that of its level."""
    error, ess = error_of_mean(values)
    z = ratio(abs(float(values.mean())), error) if values.size else math.nan
    ess *= _share_of_normal(values)
    count = number_of_tests(run)[0 if sees_loss else 1]
    return judge_score(run, name, z, ess, count, what, advice, reference, slack=slack)


def error_of_mean(values: np.ndarray) -> tuple[float, float]:
    """Give the Monte Carlo standard error of a mean, and the effective draws that it rests on."""
    ess = statistic("ess", values, method="mean")
    return (float(np.std(values, ddof=1)) / math.sqrt(ess) if ess > 0 else math.nan), ess


def _share_of_normal(values: np.ndarray) -> float:
    """Give the kurtosis of a normal variable as a part of that of the values, at most 1.

    An error that rests on a few large values is known as well as one from so many fewer draws.
    """
    deviations = values - np.mean(values) if values.size else values
    with np.errstate(all="ignore"):
        kurtosis = float(np.mean(deviations**4) / np.mean(deviations**2) ** 2)
    return min(1.0, 3.0 / kurtosis) if kurtosis > 0 else 1.0


def judge_score(
    run: Run,
    name: str,
    z: float,
    ess: float,
    count: int,
    what: str,
    advice: str,
    reference: str,
    *,
    evidence: bool = True,
    slack: float = 1.0,
) -> Check:
    """Compare a standardised mean with the quantile that its share of the level gives."""
    groups = sum(number > 0 for number in number_of_tests(run))
    share = 1 - (1 - FAMILY_RATE) ** (1 / (groups * count))
    degrees = max(ess / _DRAWS_PER_DEGREE, run.loss.shape[0] - 1, 1) if math.isfinite(ess) else 1e9
    limit = round(slack * float(student.isf(share / 2, degrees)), 2)
    return below(
        name,
        z,
        limit,
        what,
        advice,
        f"{reference}; {SIDAK}",
        evidence=evidence,
        false_alarm_rate=share,
    )


def number_of_tests(run: Run) -> tuple[int, int]:
    """Count the tests that see λ̂ itself, and the others: the drift, and those of every site."""
    sites = len(run.sites) if "virial" in run.stats else 0
    kinds = 1 + ("virial_offset" in run.stats) + ("lp" in run.stats)
    seeing = ("energy_excess" in run.stats) + ("loss_virial" in run.stats and sites > 0)
    seeing += "loss_field" in run.stats
    return seeing, 1 + kinds * sites + (sites > 1)
