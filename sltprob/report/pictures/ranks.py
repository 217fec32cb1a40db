"""How far the ranks of each chain are from uniform."""

from __future__ import annotations

import math

import numpy as np

from sltprob.array_statistics import array_stats
from sltprob.report.downsample import shortened
from sltprob.report.figures import Figure, axis, band, chain_line, chart, rule, unavailable
from sltprob.report.judged import Judged, quiet
from sltprob.report.numbers import count, number
from sltprob.report.pictures._statistics import unusable

__all__ = ["ranks"]

PLACE = 20

#: Quantile 0.95 of Kolmogorov's distribution.
_KOLMOGOROV = 1.358


def ranks(judged: Judged, points: int) -> Figure:
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
    if reason := unusable(loss, 2):
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
        data.append(chain_line(chain, chains, shortened(grid), difference))
    return chart(
        "ranks",
        heading,
        "How the ranks of each chain's losses among all losses differ from uniform. Lines should "
        f"stay in the band (95 %, for {count(effective)} effective draws in each chain); a line "
        "above it is a chain whose losses are too small.",
        f"difference of the rank distribution from uniform, {chains} chains, largest "
        f"{number(farthest)}, band ± {number(width)}",
        data,
        xaxis=axis("rank of the loss, relative", range=[0, 1]),
        yaxis=axis("share of draws, minus uniform"),
        shapes=[rule(0, "")],
    )
