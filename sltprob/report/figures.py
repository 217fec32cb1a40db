"""What the figures of a report have in common.

A figure is plain data of Plotly's JSON, without a theme: a colour is written as ``@name``, and
the page puts in the colour of the reader's theme, so that one figure serves light, dark and print.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sltprob.report.downsample import shortened

__all__ = [
    "DASHES",
    "SERIES",
    "Figure",
    "axis",
    "band",
    "chain_line",
    "chart",
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
_MAX_LEGEND = 8


@dataclass(frozen=True)
class Figure:
    """One chart with its words."""

    key: str  # Short name, unique in its run
    heading: str
    caption: str  # how to read it
    label: str  # what it shows, for those who do not see it
    # ``{"data": [...], "layout": {...}}`` by Plotly's schema; None if there is nothing to draw
    spec: dict[str, Any] | None
    reason: str = ""  # Why there is nothing to draw
    wide: bool = False  # whether it takes the full width of the page


def chart(
    key: str,
    heading: str,
    caption: str,
    label: str,
    data: list[dict[str, Any]],
    *,
    wide: bool = False,
    **layout: Any,
) -> Figure:
    """Make a figure of Plotly's traces, with the rest of its layout by name."""
    return Figure(key, heading, caption, label, {"data": data, "layout": layout}, wide=wide)


def unavailable(key: str, heading: str, reason: str, *, wide: bool = False) -> Figure:
    """Make a figure that says why it is not there."""
    return Figure(key, heading, "", "", None, reason, wide)


def shortened_name(text: str, length: int) -> str:
    """Cut a long name, so that a legend or a label fits a small screen."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def escape(text: object) -> str:
    """Make text harmless where Plotly reads markup and templates."""
    escaped = str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # %{ starts a placeholder of a hover template, $ a formula.
    return escaped.replace("%{", "%&#8203;{").replace("$", "&#36;")


def axis(title: str, **options: Any) -> dict[str, Any]:
    """Describe an axis; the page adds its colours."""
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
    """Describe a line."""
    return {
        "type": "scatter",
        "mode": "lines",
        "x": list(x),
        "y": list(y),
        "name": escape(name),
        "line": {"color": color, "dash": dash, "width": width},
        **options,
    }


def chain_line(chain: int, chains: int, x: Sequence[Any], y: Any) -> dict[str, Any]:
    """Describe the line of one chain of so many; the legend has them while they are few."""
    return line(
        x,
        shortened(y),
        name=f"chain {chain}",
        color=SERIES[chain % len(SERIES)],
        dash=DASHES[chain % len(DASHES)],
        showlegend=chains <= _MAX_LEGEND,
    )


def rule(value: float, text: str, *, dash: str = "dash", color: str = "@ink") -> dict[str, Any]:
    """Describe a horizontal line across the figure, with its meaning at the right end."""
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
    """Describe a shaded band."""
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
    """Describe a shaded stretch of the horizontal axis, over the whole height."""
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
