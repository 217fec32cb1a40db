"""The pictures of one run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

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


def _one(
    picture: Callable[[Judged, int], Figure], draws: xr.DataTree, backend: str | None
) -> PlotCollection:
    return draw([picture(judge([draws])[0], _POINTS)], backend)


def loss(draws: xr.DataTree, *, backend: str | None = None) -> PlotCollection:
    """Draw the loss, in units of λ̂, draw by draw, one strip for each chain.

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
    return _one(_loss_trace, draws, backend)


def ranks(draws: xr.DataTree, *, backend: str | None = None) -> PlotCollection:
    """Draw how far the ranks of each chain's losses are from uniform.

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
    return _one(_ranks, draws, backend)


def effective_sample_size(draws: xr.DataTree, *, backend: str | None = None) -> PlotCollection:
    """Draw the effective sample size against the number of draws.

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
    return _one(_ess, draws, backend)


def autocorrelation(draws: xr.DataTree, *, backend: str | None = None) -> PlotCollection:
    """Draw the autocorrelation of each chain's loss.

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
    return _one(_autocorrelation, draws, backend)


def acceptance(draws: xr.DataTree, *, backend: str | None = None) -> PlotCollection:
    """Draw the acceptance rate of each chain over time, warm-up included.

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
    return _one(_acceptance, draws, backend)


def virial(draws: xr.DataTree, *, backend: str | None = None) -> PlotCollection:
    """Draw the running mean of every site's virial over its dimension, which must tend to 1.

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
    return _one(_virial, draws, backend)


def energy(draws: xr.DataTree, *, backend: str | None = None) -> PlotCollection:
    """Draw the energy of the momentum, beside its change from draw to draw.

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
    return _one(_energy, draws, backend)
