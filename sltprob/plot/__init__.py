"""Every picture of the pages as a figure of Matplotlib or Plotly, in ArviZ's `PlotCollection`.

The backend is ArviZ's: ``arviz_base.rcParams["plot.backend"]``, or ``backend=`` of each function.
Judging and drawing a stored run needs no JAX.
"""

from sltprob.plot.many import comparison, curve, ladder, modes, sweep, trajectory
from sltprob.plot.one import (
    acceptance,
    autocorrelation,
    effective_sample_size,
    energy,
    loss,
    ranks,
    virial,
)

__all__ = [
    "acceptance",
    "autocorrelation",
    "comparison",
    "curve",
    "effective_sample_size",
    "energy",
    "ladder",
    "loss",
    "modes",
    "ranks",
    "sweep",
    "trajectory",
    "virial",
]
