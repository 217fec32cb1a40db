"""The autocorrelation of each chain's loss."""

from __future__ import annotations

import math

import numpy as np

from sltprob.array_statistics import array_stats
from sltprob.report.figures import Figure, axis, band, chain_line, chart, rule, unavailable
from sltprob.report.judged import Judged, quiet
from sltprob.report.numbers import number
from sltprob.report.pictures._statistics import unusable

__all__ = ["autocorrelation"]

PLACE = 40


def autocorrelation(judged: Judged, points: int) -> Figure:
    """Draw the autocorrelation of each chain's loss.

    References
    ----------
    .. [1] C. J. Geyer, "Practical Markov chain Monte Carlo", Statistical Science 7 (1992).
    """
    heading = "Autocorrelation of the loss"
    loss = judged.run.loss
    if reason := unusable(loss):
        return unavailable("autocorrelation", heading, reason)
    chains, draws = loss.shape
    longest = min(draws - 1, max(40, draws // 8))
    lags = np.unique(np.linspace(0, longest, min(longest + 1, 61)).astype(int))
    with quiet():
        correlation = np.asarray(array_stats.autocorr(loss, axis=1))[:, lags]
    width = 1.96 / math.sqrt(draws)
    data = [band([0, int(longest)], [-width, -width], [width, width])]
    for chain, values in enumerate(correlation):
        data.append(chain_line(chain, chains, lags.tolist(), values))
    return chart(
        "autocorrelation",
        heading,
        "Correlation of draws that are so far apart. The sooner it falls into the band (no "
        "correlation), the more each draw is worth.",
        f"autocorrelation of the loss of {chains} chains up to lag {longest}; at lag 1 "
        f"{number(float(correlation[:, min(1, len(lags) - 1)].mean()))} on average",
        data,
        xaxis=axis("lag, draws", range=[0, int(longest)]),
        yaxis=axis("autocorrelation", range=[min(-0.2, float(correlation.min())), 1.05]),
        shapes=[rule(0, "")],
    )
