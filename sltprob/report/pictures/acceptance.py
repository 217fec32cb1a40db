"""The acceptance of each chain over time."""

from __future__ import annotations

import numpy as np

from sltprob.report.downsample import bucket_means, shortened
from sltprob.report.figures import Figure, axis, chain_line, chart, rule, shade, unavailable
from sltprob.report.judged import Judged
from sltprob.report.numbers import number

__all__ = ["acceptance"]

PLACE = 50


def acceptance(judged: Judged, points: int) -> Figure:
    """Draw the acceptance of every chain, averaged over stretches."""
    heading = "Acceptance over time"
    rates = judged.run.stats.get("acceptance_rate")
    if rates is None or rates.ndim != 2 or not rates.size:
        return unavailable("acceptance", heading, "The run did not record acceptance.")
    warmup = judged.warmup("acceptance_rate")
    chains = len(rates)
    buckets = max(5, min(50, points // (2 * chains)))
    data, shapes = [], []
    for chain in range(chains):
        times, means = bucket_means(rates[chain], buckets)
        if warmup is not None and chain < len(warmup):
            early, levels = bucket_means(warmup[chain], max(5, buckets // 2))
            times = np.concatenate([early - warmup.shape[1], times])
            means = np.concatenate([levels, means])
        data.append(chain_line(chain, chains, shortened(times), means))
    if warmup is not None:
        shapes.append(shade(-warmup.shape[1], 0))
    limit = next((c.limit for c in judged.verdict.checks if c.name == "acceptance"), None)
    if limit is not None:
        shapes.append(rule(limit, f"least {limit:g}"))
    adjusted = not judged.run.number("unadjusted")
    width = max(1, round(rates.shape[1] / buckets))
    return chart(
        "acceptance",
        heading,
        f"Means over {width} draws. "
        + ("" if adjusted else "What the steps would have had with a Metropolis test. ")
        + "A chain that falls is getting stuck.",
        f"acceptance rate of {chains} chains against the draw, mean {number(float(rates.mean()))}",
        data,
        xaxis=axis("draw (before 0: warm-up)" if warmup is not None else "draw"),
        yaxis=axis("acceptance rate", range=[0, 1.05]),
        shapes=shapes,
    )
