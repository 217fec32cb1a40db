"""The loss of each chain over time."""

from __future__ import annotations

from typing import Any

import numpy as np

from sltprob.report.downsample import extremes, shortened
from sltprob.report.figures import SERIES, Figure, axis, line, shade, unavailable
from sltprob.report.judged import Judged
from sltprob.report.numbers import count, number

__all__ = ["loss_trace"]

PLACE = 10

#: Chains up to this many get a strip of their own, more of them one strip together.
_MAX_STRIPS = 8
_GAP = 0.03


def loss_trace(judged: Judged, points: int) -> Figure:
    """Draw β (L - L*) of every chain, so that its mean is λ̂; warm-up shaded."""
    loss = judged.run.loss
    chains, draws = loss.shape
    quantity = "β(L − L*)" if judged.run.knows_minimum else "βL"
    heading = f"Loss trace: {quantity} of each chain"
    if not loss.size:
        return unavailable("loss", heading, "The run has no draws.", wide=True)
    warmup = judged.warmup("loss")
    if warmup is not None:
        shift = judged.run.number("minimum_loss") if judged.run.knows_minimum else 0.0
        warmup = judged.run.number("beta") * (warmup - shift)
    low, high = _range(loss, judged.cell["exact"])
    strips = chains if chains <= _MAX_STRIPS else 1
    buckets = max(10, points // (2 * chains))
    data: list[dict[str, Any]] = []
    for chain in range(chains):
        yaxis = _axis_name("y", chain if strips > 1 else 0)
        color = SERIES[chain % len(SERIES)] if strips == chains else "@series0"
        options: dict[str, Any] = {"yaxis": yaxis, "showlegend": False}
        if warmup is not None and chain < len(warmup):
            chosen = extremes(warmup[chain], max(10, buckets // 4))
            times = (chosen - warmup.shape[1]).tolist()
            values = shortened(warmup[chain][chosen])
            name = f"chain {chain}, warm-up"
            data.append(line(times, values, name=name, color="@muted", width=1, **options))
        chosen = extremes(loss[chain], buckets)
        values = shortened(loss[chain][chosen])
        opacity = 1.0 if strips == chains else max(0.25, 3 / chains)
        data.append(
            line(
                chosen.tolist(),
                values,
                name=f"chain {chain}",
                color=color,
                width=1,
                opacity=opacity,
                mode="lines" if draws > 10 else "lines+markers",
                **options,
            )
        )
        bad = np.flatnonzero(~np.isfinite(loss[chain]))
        if bad.size:
            data.append(_not_finite(bad[extremes(bad, 50)], low, options))
    count_warmup = 0 if warmup is None else warmup.shape[1]
    layout = _strips(loss, strips, (low, high), quantity, count_warmup)
    layout["shapes"] += _levels(judged, strips)
    drawn = (
        "Every draw is drawn"
        if draws <= 2 * buckets
        else f"Of every {number(draws / buckets, 3)} draws the least and the greatest are drawn"
    )
    shaded = " Warm-up is shaded and never averaged in; it may leave the top." * bool(count_warmup)
    exact = f", the dotted line the {judged.truth}" if judged.cell["exact"] is not None else ""
    mean = "λ̂, the mean of all chains" if judged.run.knows_minimum else "the mean of all chains"
    return Figure(
        "loss",
        heading,
        f"The dashed line is {mean}{exact}. The strips should look alike. {drawn}.{shaded}",
        f"{quantity} against the draw, {chains} chains of {count(draws)} draws, mean "
        f"{number(judged.run.lambda_hat, 4)}",
        {"data": data, "layout": layout},
        wide=True,
    )


def _range(loss: np.ndarray, exact: float | None) -> tuple[float, float]:
    finite = loss[np.isfinite(loss)]
    if not finite.size:
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    if exact is not None:
        low, high = min(low, exact), max(high, exact)
    if low >= 0 and low < 0.5 * high:
        low = 0.0
    margin = 0.04 * (high - low) or 0.1 * abs(high) or 1.0
    return low - margin * (low != 0), high + margin


def _axis_name(letter: str, index: int) -> str:
    return letter if index == 0 else f"{letter}{index + 1}"


def _strips(
    loss: np.ndarray, strips: int, limits: tuple[float, float], quantity: str, warmup: int
) -> dict[str, Any]:
    """Lay out strips under one another, with the mean of each chain at its right."""
    chains, draws = loss.shape
    height = (1 - _GAP * (strips - 1)) / strips
    strip_height = {1: 260, 2: 130, 3: 105}.get(strips, 82)
    means = [f"mean {number(float(chain.mean()), 3)}" for chain in loss]
    right = max(84, 16 + 7 * max(len(mean) for mean in means)) if strips == chains else 84
    layout: dict[str, Any] = {
        "height": strip_height * strips + 70,
        "margin": {"l": 64, "r": right, "t": 14, "b": 52},
        "xaxis": axis(
            "draw (before 0: warm-up)" if warmup else "draw",
            range=[-warmup, max(draws - 1, 1)],
            anchor=_axis_name("y", strips - 1),
        ),
        "shapes": [],
        "annotations": [
            {
                "text": quantity,
                "textangle": -90,
                "xref": "paper",
                "yref": "paper",
                "x": 0,
                "xshift": -48,
                "y": 0.5,
                "showarrow": False,
                "font": {"size": 12},
            }
        ],
    }
    if warmup:
        layout["shapes"].append(shade(-warmup, 0))
    for strip in range(strips):
        top = 1 - strip * (height + _GAP)
        layout[f"yaxis{strip + 1 if strip else ''}"] = {
            "domain": [max(0.0, top - height), top],
            "range": list(limits),
            "nticks": 4 if strips > 1 else 6,
            "rangemode": "normal",
            **({"matches": "y"} if strip else {}),
        }
        text = f"chain {strip}<br>{means[strip]}" if strips == chains else f"{chains} chains"
        layout["annotations"].append(
            {
                "text": text,
                "xref": "paper",
                "yref": "paper",
                "x": 1,
                "xshift": 6,
                "xanchor": "left",
                "y": top - height / 2,
                "align": "left",
                "showarrow": False,
                "font": {"size": 11},
            }
        )
    return layout


def _levels(judged: Judged, strips: int) -> list[dict[str, Any]]:
    """Mark the mean and the exact value in every strip."""
    levels = [(judged.run.lambda_hat, "dash"), (judged.cell["exact"], "dot")]
    return [
        {
            "type": "line",
            "xref": "paper",
            "x0": 0,
            "x1": 1,
            "yref": _axis_name("y", strip),
            "y0": value,
            "y1": value,
            "line": {"color": "@ink", "dash": dash, "width": 1.2},
        }
        for value, dash in levels
        if value is not None and np.isfinite(value)
        for strip in range(strips)
    ]


def _not_finite(times: np.ndarray, height: float, options: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": times.tolist(),
        "y": [height] * len(times),
        "name": "not finite",
        "marker": {"symbol": "x", "color": "@wrong", "size": 8},
        "cliponaxis": False,
        **options,
    }
