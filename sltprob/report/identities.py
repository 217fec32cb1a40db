"""Figures of what must hold: the virial of every site, and the energy of the momentum."""

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
    escape,
    line,
    rule,
    shortened_name,
    unavailable,
)
from sltprob.report.judged import Judged, quiet
from sltprob.report.numbers import count, number

__all__ = ["energy", "virial"]

_MAX_SITES = 6
_POINTS = 60


def virial(judged: Judged) -> Figure:
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
    return Figure(
        "virial",
        heading,
        "Running mean of θ·∇U (about the centre of least variance), divided by the dimension. It "
        "must tend to 1: above, the steps are too large; below, flat directions have not spread. "
        "The bars at the end are ± one standard error." + left_out,
        f"running mean of the virial over the dimension, at the end {', '.join(ends)}; 1 is right",
        {
            "data": data,
            "layout": {
                "xaxis": axis("draws, all chains", range=[0, draws * chains * 1.12]),
                "yaxis": axis(
                    "virial / dimension", range=[min(extent) - margin, max(extent) + margin]
                ),
                "shapes": [rule(1, "")],
            },
        },
    )


def _error(trace: np.ndarray) -> float:
    if trace.shape[1] < 4 or not np.all(np.isfinite(trace)):
        return math.nan
    return float(array_stats.mcse(trace, chain_axis=0, draw_axis=1, method="mean"))


def _distance(ratio: np.ndarray) -> float:
    error = _error(ratio)
    distance = abs(float(ratio.mean()) - 1) / error if error > 0 else math.inf
    return distance if math.isfinite(distance) else math.inf


def energy(judged: Judged) -> Figure:
    """Draw the distribution of the energy and of its change from draw to draw.

    References
    ----------
    .. [1] M. Betancourt, "A conceptual introduction to Hamiltonian Monte Carlo",
       arXiv 1701.02434, section 6.1.
    """
    heading = "Energy"
    values = judged.run.stats.get("energy")
    if values is None or values.ndim != 2:
        return unavailable("energy", heading, "This sampler has no energy.")
    chains, draws = values.shape
    if draws < 4 or not np.all(np.isfinite(values)) or not np.all(np.ptp(values, axis=1) > 0):
        reason = "Some energies are not finite, or a chain is too short or stands still."
        return unavailable("energy", heading, reason)
    level = (values - values.mean(axis=1, keepdims=True)).ravel()
    change = np.diff(values, axis=1).ravel()
    both = np.concatenate([level, change])
    low, high = np.quantile(both, [0.001, 0.999])
    edges = np.linspace(low, high, 41)
    data = []
    kinds = (("energy, minus its mean", level), ("change from draw to draw", change))
    for index, (name, sample) in enumerate(kinds):
        density = np.histogram(sample, edges)[0] / (sample.size * (edges[1] - edges[0]))
        data.append(
            line(
                shortened(edges),
                shortened([*density, density[-1]]),
                name=name,
                color=SERIES[index],
                dash=DASHES[index],
                width=2,
            )
        )
        data[-1]["line"]["shape"] = "hv"
    fraction = np.mean(np.diff(values, axis=1) ** 2, axis=1) / np.var(values, axis=1)
    return Figure(
        "energy",
        heading,
        "The change should be about as wide as the energy itself. Bayesian fraction of "
        f"missing information, worst chain: {number(float(fraction.min()))}.",
        f"densities of the energy and of its changes over {count(values.size)} draws, "
        f"{chains} chains",
        {
            "data": data,
            "layout": {
                "xaxis": axis("energy (nats)"),
                "yaxis": axis("density (per nat)", rangemode="tozero"),
            },
        },
    )
