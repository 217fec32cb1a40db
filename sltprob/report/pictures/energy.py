"""The energy of the momentum, beside its change from draw to draw."""

from __future__ import annotations

import numpy as np

from sltprob.report.downsample import shortened
from sltprob.report.figures import DASHES, SERIES, Figure, axis, chart, line, unavailable
from sltprob.report.judged import Judged
from sltprob.report.numbers import count, number

__all__ = ["energy"]

PLACE = 70


def energy(judged: Judged, points: int) -> Figure:
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
    return chart(
        "energy",
        heading,
        "The change should be about as wide as the energy itself. Bayesian fraction of "
        f"missing information, worst chain: {number(float(fraction.min()))}.",
        f"densities of the energy and of its changes over {count(values.size)} draws, "
        f"{chains} chains",
        data,
        xaxis=axis("energy (nats)"),
        yaxis=axis("density (per nat)", rangemode="tozero"),
    )
