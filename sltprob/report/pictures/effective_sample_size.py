"""The growth of the effective sample size."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sltprob.array_statistics import array_stats
from sltprob.report.downsample import shortened
from sltprob.report.figures import DASHES, SERIES, Figure, axis, chart, line, rule, unavailable
from sltprob.report.judged import Judged, quiet
from sltprob.report.numbers import count
from sltprob.report.pictures._statistics import unusable

__all__ = ["effective_sample_size"]

PLACE = 30


def effective_sample_size(judged: Judged, points: int) -> Figure:
    """Draw the effective sample size of the loss against the number of draws.

    References
    ----------
    .. [1] A. Vehtari et al., "Rank-normalization, folding, and localization: an improved R-hat",
       Bayesian Analysis 16 (2021), section 4.
    """
    heading = "Growth of the effective sample size"
    loss = judged.run.loss
    if reason := unusable(loss):
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
    return chart(
        "ess",
        heading,
        "It should grow in proportion to the draws; a line that flattens tells of chains that "
        "have not seen everything yet.",
        f"effective sample size against draws; at the end bulk {count(last['bulk'])} and tails "
        f"{count(last['tail'])}, 400 are required",
        data,
        xaxis=axis("draws, all chains", rangemode="tozero"),
        yaxis=axis("effective draws", range=[0, 1.15 * max([400.0, *finite])]),
        shapes=[rule(400, "least 400")],
    )
