"""What the figures of a report have in common.

A figure is plain data of Plotly's JSON, without a theme: a colour is written as ``@name``, and
the page puts in the colour of the reader's theme, so that one figure serves light, dark and print.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = [
    "DASHES",
    "SERIES",
    "Figure",
    "axis",
    "band",
    "escape",
    "line",
    "rule",
    "shade",
    "shortened_name",
    "unavailable",
]

#: Okabe and Ito's colours, told apart by all readers; the page says what they are in each theme.
SERIES = tuple(f"@series{index}" for index in range(6))
#: One for each colour, for print in black and white.
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


@dataclass(frozen=True)
class Figure:
    """One chart with its words.

    Parameters
    ----------
    key : str
        Short name, unique in its run.
    heading : str
    caption : str
        How to read it.
    label : str
        What it shows, for those who do not see it.
    spec : dict or None
        ``{"data": [...], "layout": {...}}`` by Plotly's schema; None if there is nothing to draw.
    reason : str
        Why there is nothing to draw.
    wide : bool
        Whether it takes the full width of the page.
    """

    key: str
    heading: str
    caption: str
    label: str
    spec: dict[str, Any] | None
    reason: str = ""
    wide: bool = False


def unavailable(key: str, heading: str, reason: str, *, wide: bool = False) -> Figure:
    """Make a figure that says why it is not there.

    Parameters
    ----------
    key, heading, reason : str
    wide : bool

    Returns
    -------
    Figure
    """
    return Figure(key, heading, "", "", None, reason, wide)


def shortened_name(text: str, length: int) -> str:
    """Cut a long name, so that a legend or a label fits a small screen.

    Parameters
    ----------
    text : str
    length : int

    Returns
    -------
    str
    """
    return text if len(text) <= length else f"{text[: length - 1]}…"


def escape(text: object) -> str:
    """Make text harmless where Plotly reads markup and templates.

    Parameters
    ----------
    text : object

    Returns
    -------
    str
    """
    escaped = str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # %{ starts a placeholder of a hover template, $ a formula.
    return escaped.replace("%{", "%&#8203;{").replace("$", "&#36;")


def axis(title: str, **options: Any) -> dict[str, Any]:
    """Describe an axis; the page adds its colours.

    Parameters
    ----------
    title : str
        With the unit.
    **options
        Of Plotly's axis.

    Returns
    -------
    dict
    """
    return {"title": {"text": title, "standoff": 8}, **options}


def line(
    x: Sequence[float] | Sequence[Any],
    y: Sequence[Any],
    *,
    name: str,
    color: str,
    dash: str = "solid",
    width: float = 1.6,
    **options: Any,
) -> dict[str, Any]:
    """Describe a line.

    Parameters
    ----------
    x, y : sequence of float, shape (point,)
    name : str
        For the legend; escaped here.
    color : str
    dash : str
    width : float, pixels
    **options
        Of Plotly's scatter trace.

    Returns
    -------
    dict
    """
    return {
        "type": "scatter",
        "mode": "lines",
        "x": list(x),
        "y": list(y),
        "name": escape(name),
        "line": {"color": color, "dash": dash, "width": width},
        **options,
    }


def rule(value: float, text: str, *, dash: str = "dash", color: str = "@ink") -> dict[str, Any]:
    """Describe a horizontal line across the figure, with its meaning at the right end.

    Parameters
    ----------
    value : float
    text : str
    dash : str
    color : str

    Returns
    -------
    dict
        A shape of Plotly's.
    """
    return {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": value,
        "y1": value,
        "line": {"color": color, "dash": dash, "width": 1.2},
        "label": {
            "text": escape(text),
            "textposition": "end",
            "yanchor": "bottom",
            "font": {"size": 11, "color": color},
        },
    }


def band(x: Sequence[float], low: Sequence[float], high: Sequence[float]) -> dict[str, Any]:
    """Describe a shaded band.

    Parameters
    ----------
    x, low, high : sequence of float, shape (point,)

    Returns
    -------
    dict
    """
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [*x, *reversed(x)],
        "y": [*low, *reversed(high)],
        "fill": "toself",
        "fillcolor": "@shade",
        "line": {"width": 0},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def shade(start: float, stop: float) -> dict[str, Any]:
    """Describe a shaded stretch of the horizontal axis, over the whole height.

    Parameters
    ----------
    start, stop : float

    Returns
    -------
    dict
        A shape of Plotly's.
    """
    return {
        "type": "rect",
        "xref": "x",
        "yref": "paper",
        "x0": start,
        "x1": stop,
        "y0": 0,
        "y1": 1,
        "fillcolor": "@shade",
        "line": {"width": 0},
        "layer": "below",
    }
