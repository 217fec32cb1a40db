"""Figures of a page by Plotly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

__all__ = ["drawn"]


def drawn(specs: Sequence[dict[str, Any]], headings: Sequence[str]) -> tuple[Any, np.ndarray]:
    """Draw figures under one another, and give the figure with its plots."""
    try:
        from arviz_plots.backend.plotly.core import PlotlyPlot
    except ImportError:
        raise ValueError(
            "ArviZ's Plotly backend needs webcolors, which is not installed; pip install "
            "'sltprob[figures]', or backend='matplotlib'"
        ) from None
    if len(specs) == 1:
        figure = go.Figure(specs[0])
        figure.update_layout(title={"text": headings[0]}, template="plotly_white", margin={"t": 60})
    else:
        figure = make_subplots(rows=len(specs), cols=1, subplot_titles=list(headings))
        for row, spec in enumerate(specs, start=1):
            for trace in spec["data"]:
                figure.add_trace(trace, row=row, col=1)
            for letter, update in (("x", figure.update_xaxes), ("y", figure.update_yaxes)):
                update(**spec["layout"].get(f"{letter}axis", {}), row=row, col=1)
        figure.update_layout(template="plotly_white", height=340 * len(specs))
    plots = np.empty(len(specs), dtype=object)
    for row in range(len(specs)):
        plots[row] = PlotlyPlot(figure, row + 1, 1)
    return figure, plots
