"""The pictures of one run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import xarray as xr

from sltprob.plot.drawing import draw
from sltprob.report.figures import Figure
from sltprob.report.judged import Judged, judge
from sltprob.report.pictures.acceptance import acceptance as _acceptance
from sltprob.report.pictures.autocorrelation import autocorrelation as _autocorrelation
from sltprob.report.pictures.effective_sample_size import effective_sample_size as _ess
from sltprob.report.pictures.energy import energy as _energy
from sltprob.report.pictures.loss_trace import loss_trace as _loss_trace
from sltprob.report.pictures.ranks import ranks as _ranks
from sltprob.report.pictures.virial import virial as _virial

if TYPE_CHECKING:
    from arviz_plots import PlotCollection

__all__ = [
    "acceptance",
    "autocorrelation",
    "effective_sample_size",
    "energy",
    "loss",
    "ranks",
    "virial",
]

_POINTS = 6000


class _Plot(Protocol):
    def __call__(self, draws: xr.DataTree, *, backend: str | None = None) -> PlotCollection: ...


_CONTRACT = """

    Parameters
    ----------
    draws : xarray.DataTree
    backend : ``"matplotlib"`` or ``"plotly"``, optional
        By default what ArviZ is set to.

    Returns
    -------
    arviz_plots.PlotCollection

    Raises
    ------
    ValueError
        If the backend is another one, the draws do not follow the schema, or the run has not
        recorded what the picture shows.
    """


def _one(name: str, picture: Callable[[Judged, int], Figure], says: str) -> _Plot:
    """Make the function that draws one picture: all of them have one contract."""

    def plot(draws: xr.DataTree, *, backend: str | None = None) -> PlotCollection:
        return draw([picture(judge([draws])[0], _POINTS)], backend)

    plot.__name__ = plot.__qualname__ = name
    plot.__doc__ = says + _CONTRACT
    return plot


loss = _one(
    "loss", _loss_trace, "Draw the loss, in units of λ̂, draw by draw, one strip for each chain."
)
ranks = _one("ranks", _ranks, "Draw how far the ranks of each chain's losses are from uniform.")
effective_sample_size = _one(
    "effective_sample_size", _ess, "Draw the effective sample size against the number of draws."
)
autocorrelation = _one(
    "autocorrelation", _autocorrelation, "Draw the autocorrelation of each chain's loss."
)
acceptance = _one(
    "acceptance", _acceptance, "Draw the acceptance rate of each chain over time, warm-up included."
)
virial = _one(
    "virial",
    _virial,
    "Draw the running mean of every site's virial over its dimension, which must tend to 1.",
)
energy = _one(
    "energy", _energy, "Draw the energy of the momentum, beside its change from draw to draw."
)
