"""The pictures of several runs: over temperatures, settings and training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import xarray as xr

from sltprob.exact import Exact
from sltprob.ladders import Ladder
from sltprob.plot.drawing import draw
from sltprob.report.curve import curve_figure
from sltprob.report.figures import Figure, axis, band, line
from sltprob.report.judged import judge

if TYPE_CHECKING:
    from arviz_plots import PlotCollection

    from sltprob.comparison import Comparison
    from sltprob.finding.curve import ScaleCurve
    from sltprob.finding.modes import RandomModes
    from sltprob.trajectories.sweep import Sweep
    from sltprob.trajectories.trajectory import Trajectory

__all__ = ["comparison", "curve", "ladder", "modes", "sweep", "trajectory"]


def comparison(
    runs: Comparison | Sequence[xr.DataTree],
    *,
    exact: Sequence[Exact] = (),
    backend: str | None = None,
) -> PlotCollection:
    """Draw λ̂ against β for samplers of one model: filled markers can be believed.

    Parameters
    ----------
    runs : Comparison, or sequence of xarray.DataTree
    exact : sequence of Exact, optional
        Exact values on a grid of β, for the line; by default those that the runs hold.
    backend : ``"matplotlib"`` or ``"plotly"``, optional
        By default what ArviZ is set to.

    Returns
    -------
    arviz_plots.PlotCollection

    Raises
    ------
    ValueError
        If the backend is another one, or there is nothing to draw.
    """
    own: Sequence[xr.DataTree] = getattr(runs, "runs", None) or runs  # type: ignore[assignment]
    return draw([curve_figure(judge(own), exact, "curve")], backend)


def curve(curve: ScaleCurve, *, backend: str | None = None) -> PlotCollection:
    """Draw exact λ̂ over scales with theory, its square root, and the free energy.

    Parameters
    ----------
    curve : ScaleCurve
        Of `sltprob.curve`.
    backend : ``"matplotlib"`` or ``"plotly"``, optional
        By default what ArviZ is set to.

    Returns
    -------
    arviz_plots.PlotCollection

    Raises
    ------
    ValueError
        If the backend is another one.
    """
    from sltprob.finding.figures import curve_page_figures  # a sibling that may stay away

    return draw(curve_page_figures(curve.rows, curve.exacts, (), curve.fits), backend)


def ladder(ladder: Ladder, *, backend: str | None = None) -> PlotCollection:
    """Draw λ̂ and the free energy on every rung of a ladder.

    Parameters
    ----------
    ladder : Ladder
        Of `sltprob.ladder`.
    backend : ``"matplotlib"`` or ``"plotly"``, optional
        By default what ArviZ is set to.

    Returns
    -------
    arviz_plots.PlotCollection

    Raises
    ------
    ValueError
        If the backend is another one.
    """
    rungs = ladder.rungs
    values = [(r.lambda_hat.value, r.lambda_hat.mcse) for r in rungs]
    energies = [(r.free_energy, r.free_energy_mcse) for r in rungs]
    return draw(
        [
            _over_rungs("rungs", "λ̂ on every rung", "λ̂(β)", ladder.betas, values),
            _over_rungs("free", "Free energy", "F (nats)", ladder.betas, energies),
        ],
        backend,
    )


def _over_rungs(
    key: str, heading: str, label: str, betas: Sequence[float], found: Sequence[tuple[float, float]]
) -> Figure:
    data: list[dict[str, Any]] = [
        band(betas, [v - 2 * e for v, e in found], [v + 2 * e for v, e in found]),
        line(
            betas,
            [value for value, _ in found],
            name=f"{label}, ± two standard errors",
            color="@series0",
            mode="lines+markers",
            marker={"size": 5, "color": "@series0"},
        ),
    ]
    layout = {"xaxis": axis("inverse temperature β", type="log"), "yaxis": axis(label)}
    return Figure(key, heading, "", heading, {"data": data, "layout": layout})


def modes(modes: RandomModes, *, backend: str | None = None) -> PlotCollection:
    """Draw the squared modes of random networks, and what random inputs would have cost.

    Parameters
    ----------
    modes : RandomModes
        Of `sltprob.finding.modes.random_modes`.
    backend : ``"matplotlib"`` or ``"plotly"``, optional
        By default what ArviZ is set to.

    Returns
    -------
    arviz_plots.PlotCollection

    Raises
    ------
    ValueError
        If the backend is another one.
    """
    return draw(modes.figures(), backend)


def sweep(sweep: Sweep, *, backend: str | None = None) -> PlotCollection:
    """Draw local λ̂ against nβ and against the step size, the plateau marked.

    Parameters
    ----------
    sweep : Sweep
        Of `sltprob.local_sweep`.
    backend : ``"matplotlib"`` or ``"plotly"``, optional
        By default what ArviZ is set to.

    Returns
    -------
    arviz_plots.PlotCollection

    Raises
    ------
    ValueError
        If the backend is another one.
    """
    return draw(sweep.figures(), backend)


def trajectory(path: Trajectory, *, backend: str | None = None) -> PlotCollection:
    """Draw local λ̂ over training, and what stands beside it.

    Parameters
    ----------
    path : Trajectory
        Of `sltprob.trajectory`.
    backend : ``"matplotlib"`` or ``"plotly"``, optional
        By default what ArviZ is set to.

    Returns
    -------
    arviz_plots.PlotCollection

    Raises
    ------
    ValueError
        If the backend is another one.
    """
    return draw(path.figures(), backend)
