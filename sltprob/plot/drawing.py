"""From the figure of a page to ArviZ's `PlotCollection` in the backend that is set."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import xarray as xr
from arviz_base import rcParams

from sltprob.report.figures import Figure

if TYPE_CHECKING:
    from arviz_plots import PlotCollection

__all__ = ["BACKENDS", "draw"]

BACKENDS = ("matplotlib", "plotly")
#: The colours of a page in its light theme.
_COLOURS = {
    "@ink": "#1a1e23",
    "@muted": "#5a636d",
    "@surface": "#ffffff",
    "@line": "#d8dde2",
    "@shade": "rgba(90, 99, 109, 0.12)",
    "@wrong": "#b3261e",
    **{
        f"@series{index}": colour
        for index, colour in enumerate(
            ("#0072b2", "#d55e00", "#009e73", "#b0538a", "#c98500", "#3a9bd0")
        )
    },
}


def draw(figures: Sequence[Figure], backend: str | None) -> PlotCollection:
    """Draw figures under one another.

    Parameters
    ----------
    figures : sequence of Figure
    backend : ``"matplotlib"``, ``"plotly"``, or None
        None is what ArviZ is set to.

    Returns
    -------
    arviz_plots.PlotCollection

    Raises
    ------
    ValueError
        If the backend is another one, or there is nothing to draw; the message says why.
    """
    chosen = rcParams["plot.backend"] if backend is None else backend
    if chosen not in BACKENDS:
        raise ValueError(
            f"plot backend {chosen!r}: these pictures are drawn by {' or '.join(BACKENDS)}; write "
            "backend='matplotlib', or arviz_base.rcParams['plot.backend'] = 'matplotlib'"
        )
    shown = [figure for figure in figures if figure.spec is not None]
    if not shown:
        raise ValueError(f"there is nothing to draw: {figures[0].reason}")
    specs = [_coloured(figure.spec) for figure in shown]
    headings = [figure.heading for figure in shown]
    # Each backend is a large import, and Matplotlib may be missing.
    if chosen == "matplotlib":
        from sltprob.plot.with_matplotlib import drawn
    else:
        from sltprob.plot.with_plotly import drawn
    figure, plots = drawn(specs, headings)

    from arviz_plots import PlotCollection

    holder = xr.DataArray(plots, dims=["row"]) if len(plots) > 1 else xr.DataArray(plots[0])
    made = xr.DataTree.from_dict({"/": xr.Dataset({"figure": ((), figure), "plot": holder})})
    return PlotCollection(xr.Dataset(), made, backend=chosen)


def _coloured(value: Any) -> Any:
    """Replace the names of colours by the colours of a light page."""
    if isinstance(value, dict):
        return {key: _coloured(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_coloured(each) for each in value]
    return _COLOURS.get(value, value) if isinstance(value, str) else value


def plain(text: str) -> str:
    """Take Plotly's markup out of a text."""
    text = re.sub(r"<br>", "\n", text)
    text = re.sub(r"<[^>]+>", "", text)
    for entity, sign in (("&lt;", "<"), ("&gt;", ">"), ("&#36;", "$"), ("&#8203;", "")):
        text = text.replace(entity, sign)
    return text.replace("&amp;", "&")
