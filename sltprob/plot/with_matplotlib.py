"""Figures of a page by Matplotlib: the part of Plotly's schema that the pages use."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sltprob.plot.drawing import plain

__all__ = ["drawn"]

_DASHES = {
    "solid": "-",
    "dash": "--",
    "dot": ":",
    "dashdot": "-.",
    "longdash": (0, (8, 3)),
    "longdashdot": (0, (8, 3, 2, 3)),
}
_MARKERS = {
    "circle": "o",
    "square": "s",
    "diamond": "D",
    "triangle-up": "^",
    "triangle-down": "v",
    "pentagon": "p",
    "hexagon": "h",
    "x": "x",
    "line-ew": "_",
}
_HEIGHT = 3.4


def drawn(specs: Sequence[dict[str, Any]], headings: Sequence[str]) -> tuple[Any, np.ndarray]:
    """Draw figures under one another, and give the figure with its plots."""
    try:
        from matplotlib import pyplot
    except ImportError:
        raise ValueError(
            "these pictures need Matplotlib, which is not installed; pip install "
            "'sltprob[figures]', or backend='plotly'"
        ) from None
    panels = [_panels(spec) for spec in specs]
    count = sum(map(len, panels))
    height = _HEIGHT * len(specs) + 0.55 * sum(len(panel) - 1 for panel in panels)
    figure, axes = pyplot.subplots(
        count, 1, figsize=(7, height), squeeze=False, layout="constrained"
    )
    plots = np.empty(len(specs), dtype=object)
    place = 0
    for index, (spec, names, heading) in enumerate(zip(specs, panels, headings, strict=True)):
        own = axes[place : place + len(names), 0]
        place += len(names)
        plots[index] = own[0]
        own[0].set_title(heading, loc="left", fontsize="medium")
        for axes_of_strip, name in zip(own, names, strict=True):
            _panel(axes_of_strip, spec, name, last=axes_of_strip is own[-1], alone=len(names) == 1)
    return figure, plots


def _panels(spec: Mapping[str, Any]) -> list[str]:
    """Name the vertical axes, of which strips under one another have several."""
    found = {str(trace.get("yaxis", "y")) for trace in spec["data"]}
    return sorted(found, key=lambda name: int(name[1:] or 1))


def _panel(axes: Any, spec: Mapping[str, Any], name: str, *, last: bool, alone: bool) -> None:
    layout = spec["layout"]
    for trace in spec["data"]:
        if str(trace.get("yaxis", "y")) == name:
            _trace(axes, trace)
    for shape in layout.get("shapes", ()):
        _shape(axes, shape, name)
    # After the data, which would else move the limits.
    for side, key in (("x", "xaxis"), ("y", f"yaxis{name[1:]}")):
        _axis(axes, side, layout.get(key, {}), labelled=side == "y" or last)
    if not alone:
        axes.set_ylabel("")
        if not last:
            axes.set_xticklabels([])
    handles, labels = axes.get_legend_handles_labels()
    if last and handles:
        axes.legend(handles, labels, fontsize="x-small", frameon=False, ncols=1 + (len(labels) > 4))


def _axis(axes: Any, side: str, options: Mapping[str, Any], *, labelled: bool) -> None:
    log = options.get("type") == "log"
    if log:
        getattr(axes, f"set_{side}scale")("log")
    if labelled:
        getattr(axes, f"set_{side}label")(plain(options.get("title", {}).get("text", "")))
    limits = options.get("range")
    if limits is not None:
        ends = [10**value for value in limits] if log else limits
        getattr(axes, f"set_{side}lim")(ends)
    elif options.get("rangemode") == "tozero" and not log:
        getattr(axes, f"set_{side}lim")(**{"bottom" if side == "y" else "left": 0})
    if "tickvals" in options:
        low, high = getattr(axes, f"get_{side}lim")()
        pairs = zip(options["tickvals"], options["ticktext"], strict=True)
        kept = [(value, plain(text)) for value, text in pairs if low <= value <= high]
        set_ticks = getattr(axes, f"set_{side}ticks")
        set_ticks([value for value, _ in kept], labels=[text for _, text in kept])
        set_ticks([], minor=True)


def _trace(axes: Any, trace: Mapping[str, Any]) -> None:
    x, y = _numbers(trace["x"]), _numbers(trace["y"])
    line, marker = trace.get("line", {}), trace.get("marker", {})
    named = trace.get("showlegend", True) and trace.get("name")
    label = plain(str(trace["name"])) if named else "_"
    if trace.get("fill") == "toself":
        colour, opacity = _rgba(trace["fillcolor"])
        axes.fill(x, y, color=colour, alpha=opacity, linewidth=0, label=label)
        return
    mode = trace.get("mode", "lines")
    colour = _rgba(line.get("color") or marker.get("color") or "#1a1e23")[0]
    alpha = trace.get("opacity")
    if "lines" in mode:
        style = "steps-post" if line.get("shape") == "hv" else "default"
        dash = _DASHES[line.get("dash", "solid")]
        width = line.get("width", 1.6) * 0.75
        axes.plot(
            x, y, color=colour, linestyle=dash, linewidth=width, drawstyle=style, label=label,
            alpha=alpha,
        )  # fmt: skip
        label = "_"
    error = trace.get("error_y")
    if error is not None:
        above = _numbers(error["array"])
        below = _numbers(error.get("arrayminus", error["array"]))
        axes.errorbar(x, y, yerr=[below, above], fmt="none", ecolor=colour, elinewidth=1, capsize=2)
    if "markers" in mode:
        _points(axes, x, y, marker, colour, label)


def _points(
    axes: Any, x: np.ndarray, y: np.ndarray, marker: Mapping[str, Any], colour: str, label: str
) -> None:
    """Draw points, hollow those whose symbol is open."""
    symbol = marker.get("symbol", "circle")
    symbols = symbol if isinstance(symbol, list) else [symbol] * len(x)
    for kind in dict.fromkeys(symbols):
        own = np.array([each == kind for each in symbols])
        shape = _MARKERS.get(kind.removesuffix("-open"), "o")
        unfilled = shape in ("x", "_")
        face = {} if unfilled else {"facecolors": "none" if kind.endswith("-open") else colour}
        area = (0.75 * marker.get("size", 7)) ** 2
        axes.scatter(
            x[own], y[own], s=area, marker=shape, label=label, linewidths=1.4, zorder=3,
            **({"c": colour} if unfilled else {"edgecolors": colour}), **face,
        )  # fmt: skip
        label = "_"


def _shape(axes: Any, shape: Mapping[str, Any], name: str) -> None:
    reference = str(shape.get("yref", "y"))
    if shape["type"] == "rect":
        colour, opacity = _rgba(shape["fillcolor"])
        axes.axvspan(shape["x0"], shape["x1"], color=colour, alpha=opacity, linewidth=0)
        return
    if reference != name and reference != "paper":
        return
    line = shape["line"]
    dash, colour = _DASHES[line.get("dash", "solid")], _rgba(line["color"])[0]
    axes.axhline(shape["y0"], color=colour, linestyle=dash, linewidth=0.9)
    text = plain(shape.get("label", {}).get("text", ""))
    if text:
        end = shape["label"].get("textposition", "end") == "end"
        axes.annotate(
            text,
            (1 if end else 0, shape["y0"]),
            xycoords=("axes fraction", "data"),
            xytext=(-3 if end else 3, 2),
            textcoords="offset points",
            ha="right" if end else "left",
            fontsize=8,
            color=colour,
        )


def _numbers(values: Sequence[Any]) -> np.ndarray:
    return np.array([math.nan if value is None else value for value in values], dtype=float)


def _rgba(colour: str) -> tuple[str, float]:
    """Split a colour of CSS into Matplotlib's and its opacity."""
    found = re.fullmatch(r"rgba\((\d+), (\d+), (\d+), ([\d.]+)\)", colour)
    if found is None:
        return colour, 1.0
    red, green, blue, opacity = found.groups()
    return f"#{int(red):02x}{int(green):02x}{int(blue):02x}", float(opacity)
