"""Figures of mixing: ranks, the growth of the effective sample size, autocorrelation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sltprob.array_statistics import array_stats
from sltprob.report.downsample import shortened
from sltprob.report.figures import DASHES, SERIES, Figure, axis, band, line, rule, unavailable
from sltprob.report.judged import Judged, quiet
from sltprob.report.numbers import count, number

__all__ = ["autocorrelation", "effective_sample_size", "ranks"]

#: Quantile 0.95 of Kolmogorov's distribution.
_KOLMOGOROV = 1.358
_MAX_LEGEND = 8


def _unusable(loss: np.ndarray, chains_needed: int = 1) -> str:
    """Say why statistics of a loss do not exist; empty if they do."""
    chains, draws = loss.shape
    if chains < chains_needed:
        return f"Comparing chains needs at least {chains_needed} of them; the run has {chains}."
    if draws < 4:
        return f"Each chain has too few draws: {draws}, at least 4 are needed."
    if not np.all(np.isfinite(loss)):
        return "Some draws are not finite."
    if not np.all(np.ptp(loss, axis=1) > 0):
        return "A chain stands still."
    return ""


def ranks(judged: Judged) -> Figure:
    """Draw how far the ranks of each chain are from uniform.

    References
    ----------
    .. [1] A. Vehtari et al., "Rank-normalization, folding, and localization: an improved R-hat",
       Bayesian Analysis 16 (2021), for rank plots.
    .. [2] T. Säilynoja, P.-C. Bürkner, A. Vehtari, "Graphical test for discrete uniformity",
       Statistics and Computing 32 (2022), for the difference of distribution functions.
    """
    heading = "Rank plot"
    loss = judged.run.loss
    if reason := _unusable(loss, 2):
        return unavailable("ranks", heading, reason)
    chains = len(loss)
    with quiet():
        # Ranks among the losses of all chains: along one axis they would be those of each chain.
        relative = np.asarray(array_stats.compute_ranks(loss.ravel(), relative=True))
        relative = relative.reshape(loss.shape)
        # Of each chain by itself: chains that disagree must not widen the band.
        effective = float(
            np.mean([array_stats.ess(chain[None], chain_axis=0, draw_axis=1) for chain in loss])
        )
    grid = np.linspace(0, 1, 61)
    # A chain is a part of what it is compared with, hence the factor.
    width = _KOLMOGOROV * math.sqrt((1 - 1 / chains) / max(effective, 1.0))
    data = [band([0, 1], [-width, -width], [width, width])]
    farthest = 0.0
    for chain, values in enumerate(relative):
        difference = np.searchsorted(np.sort(values), grid, side="right") / values.size - grid
        farthest = max(farthest, float(np.max(np.abs(difference))))
        data.append(
            line(
                shortened(grid),
                shortened(difference),
                name=f"chain {chain}",
                color=SERIES[chain % len(SERIES)],
                dash=DASHES[chain % len(DASHES)],
                showlegend=chains <= _MAX_LEGEND,
            )
        )
    return Figure(
        "ranks",
        heading,
        "How the ranks of each chain's losses among all losses differ from uniform. Lines should "
        f"stay in the band (95 %, for {count(effective)} effective draws in each chain); a line "
        "above it is a chain whose losses are too small.",
        f"difference of the rank distribution from uniform, {chains} chains, largest "
        f"{number(farthest)}, band ± {number(width)}",
        {
            "data": data,
            "layout": {
                "xaxis": axis("rank of the loss, relative", range=[0, 1]),
                "yaxis": axis("share of draws, minus uniform"),
                "shapes": [rule(0, "")],
            },
        },
    )


def effective_sample_size(judged: Judged) -> Figure:
    """Draw the effective sample size of the loss against the number of draws.

    References
    ----------
    .. [1] A. Vehtari et al., "Rank-normalization, folding, and localization: an improved R-hat",
       Bayesian Analysis 16 (2021), section 4.
    """
    heading = "Growth of the effective sample size"
    loss = judged.run.loss
    if reason := _unusable(loss):
        return unavailable("ess", heading, reason)
    chains, draws = loss.shape
    sizes = sorted({max(4, round(draws * step / 12)) for step in range(1, 13)})
    total = [size * chains for size in sizes]
    data = []
    last, finite = {}, []
    methods: tuple[tuple[str, str, dict[str, Any], str], ...] = (
        ("bulk", "bulk", {}, "circle"),
        ("tail", "tails", {"prob": (0.05, 0.95)}, "square"),
    )
    for index, (method, name, options, symbol) in enumerate(methods):
        values = []
        for size in sizes:
            part = loss[:, :size]
            with quiet():
                moved = np.all(np.ptp(part, axis=1) > 0)
                values.append(
                    float(
                        array_stats.ess(part, chain_axis=0, draw_axis=1, method=method, **options)
                    )
                    if moved
                    else math.nan
                )
        last[method] = values[-1]
        finite += [value for value in values if math.isfinite(value)]
        data.append(
            line(
                total,
                shortened(values),
                name=name,
                color=SERIES[index],
                dash=DASHES[index],
                mode="lines+markers",
                marker={"symbol": symbol, "size": 7, "color": SERIES[index]},
            )
        )
    return Figure(
        "ess",
        heading,
        "It should grow in proportion to the draws; a line that flattens tells of chains that "
        "have not seen everything yet.",
        f"effective sample size against draws; at the end bulk {count(last['bulk'])} and tails "
        f"{count(last['tail'])}, 400 are required",
        {
            "data": data,
            "layout": {
                "xaxis": axis("draws, all chains", rangemode="tozero"),
                "yaxis": axis("effective draws", range=[0, 1.15 * max([400.0, *finite])]),
                "shapes": [rule(400, "least 400")],
            },
        },
    )


def autocorrelation(judged: Judged) -> Figure:
    """Draw the autocorrelation of each chain's loss.

    References
    ----------
    .. [1] C. J. Geyer, "Practical Markov chain Monte Carlo", Statistical Science 7 (1992).
    """
    heading = "Autocorrelation of the loss"
    loss = judged.run.loss
    if reason := _unusable(loss):
        return unavailable("autocorrelation", heading, reason)
    chains, draws = loss.shape
    longest = min(draws - 1, max(40, draws // 8))
    lags = np.unique(np.linspace(0, longest, min(longest + 1, 61)).astype(int))
    with quiet():
        correlation = np.asarray(array_stats.autocorr(loss, axis=1))[:, lags]
    width = 1.96 / math.sqrt(draws)
    data = [band([0, int(longest)], [-width, -width], [width, width])]
    for chain, values in enumerate(correlation):
        data.append(
            line(
                lags.tolist(),
                shortened(values),
                name=f"chain {chain}",
                color=SERIES[chain % len(SERIES)],
                dash=DASHES[chain % len(DASHES)],
                showlegend=chains <= _MAX_LEGEND,
            )
        )
    return Figure(
        "autocorrelation",
        heading,
        "Correlation of draws that are so far apart. The sooner it falls into the band (no "
        "correlation), the more each draw is worth.",
        f"autocorrelation of the loss of {chains} chains up to lag {longest}; at lag 1 "
        f"{number(float(correlation[:, min(1, len(lags) - 1)].mean()))} on average",
        {
            "data": data,
            "layout": {
                "xaxis": axis("lag, draws", range=[0, int(longest)]),
                "yaxis": axis("autocorrelation", range=[min(-0.2, float(correlation.min())), 1.05]),
                "shapes": [rule(0, "")],
            },
        },
    )
