"""The virial of every site, which must be its dimension."""

from __future__ import annotations

import math

import numpy as np

from sltprob.array_statistics import array_stats
from sltprob.diagnostics.checks import virials as virial_traces
from sltprob.report.downsample import shortened
from sltprob.report.figures import (
    DASHES,
    SERIES,
    Figure,
    axis,
    chart,
    escape,
    line,
    rule,
    shortened_name,
    unavailable,
)
from sltprob.report.judged import Judged, quiet
from sltprob.report.numbers import number

__all__ = ["virial"]

PLACE = 60

_MAX_SITES = 6
_POINTS = 60


def virial(judged: Judged, points: int) -> Figure:
    """Draw the running mean of every site's virial, divided by the site's dimension.

    References
    ----------
    .. [1] Stein's identity, E[(θ-c)·∇U] = d.
    """
    heading = "Virial of each site"
    with quiet():
        traces = virial_traces(judged.run)
    if not traces or not judged.run.loss.size:
        return unavailable("virial", heading, "The run did not record the virial.")
    dimensions = judged.run.sites
    ratios = {site: trace / dimensions[site] for site, trace in traces.items()}
    with quiet():
        distance = {site: _distance(ratio) for site, ratio in ratios.items()}
    shown = sorted(ratios, key=lambda site: -distance[site])[:_MAX_SITES]
    shown = [site for site in ratios if site in shown]
    chains, draws = judged.run.loss.shape
    steps = np.unique(np.linspace(1, draws, min(draws, _POINTS)).astype(int))
    data, ends, extent = [], [], [1.0]
    for index, site in enumerate(shown):
        with quiet():
            running = np.cumsum(ratios[site].mean(axis=0))[steps - 1] / steps
            error = _error(ratios[site])
        ends.append(f"{site} {number(float(running[-1]))}")
        color = SERIES[index % len(SERIES)]
        extent += [value for value in running[len(running) // 8 :] if math.isfinite(value)]
        data.append(
            line(
                (steps * chains).tolist(),
                shortened(running),
                name=f"{shortened_name(site, 28)} (d = {dimensions[site]})",
                color=color,
                dash=DASHES[index % len(DASHES)],
                width=2,
            )
        )
        if math.isfinite(error) and math.isfinite(running[-1]):
            extent += [float(running[-1]) - error, float(running[-1]) + error]
            data.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    # Side by side, so that the bars do not hide each other.
                    "x": [round(draws * chains * (1 + 0.015 * (index + 1)))],
                    "y": shortened([running[-1]]),
                    "error_y": {"array": [float(f"{error:.3g}")], "color": color},
                    "marker": {"color": color, "size": 7},
                    "name": escape(f"{site}: mean ± standard error"),
                    "showlegend": False,
                    "cliponaxis": False,
                }
            )
    margin = 0.08 * (max(extent) - min(extent)) or 0.1
    others = len(ratios) - len(shown)
    left_out = (
        f" Shown are the {len(shown)} sites farthest off, of {len(ratios)}." if others else ""
    )
    return chart(
        "virial",
        heading,
        "Running mean of θ·∇U (about the centre of least variance), divided by the dimension. It "
        "must tend to 1: above, the steps are too large; below, flat directions have not spread. "
        "The bars at the end are ± one standard error." + left_out,
        f"running mean of the virial over the dimension, at the end {', '.join(ends)}; 1 is right",
        data,
        xaxis=axis("draws, all chains", range=[0, draws * chains * 1.12]),
        yaxis=axis("virial / dimension", range=[min(extent) - margin, max(extent) + margin]),
        shapes=[rule(1, "")],
    )


def _error(trace: np.ndarray) -> float:
    if trace.shape[1] < 4 or not np.all(np.isfinite(trace)):
        return math.nan
    return float(array_stats.mcse(trace, chain_axis=0, draw_axis=1, method="mean"))


def _distance(ratio: np.ndarray) -> float:
    error = _error(ratio)
    distance = abs(float(ratio.mean()) - 1) / error if error > 0 else math.inf
    return distance if math.isfinite(distance) else math.inf
