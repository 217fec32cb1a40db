"""The figure of λ̂ against β: every sampler, and the exact line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import Any

from sltprob.cell import name_of_truth
from sltprob.exact import Exact
from sltprob.report.figures import SERIES, Figure, axis, escape, shortened_name, unavailable
from sltprob.report.judged import Judged
from sltprob.report.numbers import inverse_temperature, measured, number

__all__ = ["by_model", "curve_figure", "exact_points", "limits", "x_range"]

#: Heights of the frame to which values are drawn, for those who zoom out.
_FARTHEST = 1e4
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "pentagon", "hexagon")


def curve_figure(judged: Sequence[Judged], exact: Sequence[Exact], key: str) -> Figure:
    """Draw λ̂ against β for the runs of one model."""
    heading = "λ̂ against inverse temperature"
    shown = [run for run in judged if _drawable(run.cell["beta"], run.cell["lambda_hat"])]
    line = exact_points(judged, exact)
    if not shown and not line:
        return unavailable(key, heading, "No run has a value of λ̂.", wide=True)
    samplers = sorted({run.cell["sampler"] for run in shown})
    shift = _shift([run.cell["beta"] for run in shown], len(samplers))
    low, high = limits(shown, [point.lambda_hat for point in line])
    # A browser cannot draw what is much farther off; the arrow at the edge tells it.
    reach = _FARTHEST * (high - low)
    data: list[dict[str, Any]] = []
    if line:
        data.append(_exact_line(line))
    for index, sampler in enumerate(samplers):
        own = [run for run in shown if run.cell["sampler"] == sampler]
        offset = shift * (index - (len(samplers) - 1) / 2)
        data += _sampler_traces(sampler, own, index, offset, reach)
    if any(not run.believable for run in shown):
        data.append(_legend_entry("hollow: do not believe", "@muted", "circle-open", "hollow"))
    outside = [run for run in shown if not low <= run.cell["lambda_hat"] <= high]
    moved = " Samplers are moved sideways a little, so that they do not hide each other."
    left_out = " Values outside the frame have an arrow at its edge." if outside else ""
    alternative = "; ".join(f"{run.name} at β = {run.beta}: {run.value}" for run in shown[:20])
    betas = sorted({*(run.cell["beta"] for run in shown), *(point.beta for point in line)})
    frame = x_range(betas)
    return Figure(
        key,
        heading,
        "Bars are ± one Monte Carlo standard error. Filled markers can be believed, hollow ones "
        "cannot." + moved * (len(samplers) > 1) + left_out,
        f"λ̂ against β. {alternative}",
        {
            "data": data,
            "layout": {
                "height": 440,
                "hovermode": "closest",
                "xaxis": axis(
                    "inverse temperature β (dimensionless)",
                    type="log",
                    range=frame,
                    **_ticks(betas),
                ),
                "yaxis": axis("λ̂(β) (dimensionless)", range=[low, high]),
                "annotations": _arrows(outside, high, frame),
            },
        },
        wide=True,
    )


def _drawable(beta: float, value: float | None) -> bool:
    return value is not None and math.isfinite(value) and 0 < beta < math.inf


def exact_points(judged: Sequence[Judged], exact: Sequence[Exact]) -> list[Exact]:
    """Give the exact line: the points given, and those that the runs hold."""
    points = {point.beta: point for point in exact if _drawable(point.beta, point.lambda_hat)}
    for run in judged:
        value, beta = run.cell["exact"], run.cell["beta"]
        known = any(math.isclose(beta, other, rel_tol=1e-9) for other in points)
        if _drawable(beta, value) and not known:
            points[beta] = Exact(
                beta=beta,
                lambda_hat=value,
                mcse=run.cell["exact_mcse"] or 0.0,
                free_energy=math.nan,
                free_energy_mcse=math.nan,
                method=str(run.draws.attrs.get("exact_method", "")),
            )
    return [points[beta] for beta in sorted(points)]


def _exact_line(points: Sequence[Exact]) -> dict[str, Any]:
    texts = []
    for point in points:
        text = f"{_kind([point])} λ̂ = {measured(point.lambda_hat, point.mcse).text()}"
        if math.isfinite(point.free_energy):
            energy = measured(point.free_energy, point.free_energy_mcse).text()
            text += f"<br>free energy = {energy} nats"
        text += f"<br>β = {inverse_temperature(point.beta)}<br>{escape(point.method)}"
        texts.append(text)
    few = len(points) < 12
    return {
        "type": "scatter",
        "mode": "lines+markers" if few else "lines",
        "x": [float(f"{point.beta:.6g}") for point in points],
        "y": [float(f"{point.lambda_hat:.6g}") for point in points],
        "name": _kind(points),
        "line": {"color": "@ink", "width": 1.6},
        "marker": {"symbol": "line-ew-open", "size": 9, "color": "@ink"},
        "text": texts,
        "hoverinfo": "text",
    }


def _kind(points: Sequence[Exact]) -> str:
    return name_of_truth({"exact_method": point.method} for point in points)


def _shift(betas: Sequence[float], samplers: int) -> float:
    """Choose the distance between samplers, in decades: a small part of that between betas."""
    logs = sorted({round(math.log10(beta), 6) for beta in betas})
    gap = min((high - low for low, high in pairwise(logs)), default=1.0)
    # And of the frame, whose margin all of them must fit into.
    width = logs[-1] - logs[0] if len(logs) > 1 else 1.0
    return min(0.06, 0.25 * gap / max(samplers, 1), 0.06 * width / max(samplers, 1))


def _sampler_traces(
    sampler: str, runs: Sequence[Judged], index: int, offset: float, reach: float
) -> list[dict[str, Any]]:
    color = SERIES[index % len(SERIES)]
    symbol = _SYMBOLS[index % len(_SYMBOLS)]
    group = f"sampler{index}"
    values = [run.cell["lambda_hat"] for run in runs]
    errors = [min(run.cell["mcse"] or 0.0, reach) for run in runs]
    points = {
        "type": "scatter",
        "mode": "markers",
        "x": [float(f"{run.cell['beta'] * 10**offset:.5g}") for run in runs],
        "y": [float(f"{value:.6g}") if abs(value) < reach else None for value in values],
        "error_y": {
            "array": [float(f"{error:.3g}") for error in errors],
            "color": color,
            "thickness": 1.6,
            "width": 5,
        },
        "marker": {
            "symbol": [symbol if run.believable else f"{symbol}-open" for run in runs],
            "color": color,
            "size": 11,
            "line": {"width": 2, "color": color},
        },
        "text": [_hover(run) for run in runs],
        "hoverinfo": "text",
        "customdata": [f"run-{run.number}" for run in runs],
        "name": escape(sampler),
        "legendgroup": group,
        "showlegend": False,
    }
    return [_legend_entry(sampler, color, symbol, group), points]


def _legend_entry(name: str, color: str, symbol: str, group: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [None],
        "y": [None],
        "name": escape(shortened_name(name, 36)),
        "legendgroup": group,
        "marker": {
            "symbol": symbol,
            "color": color,
            "size": 11,
            "line": {"width": 2, "color": color},
        },
    }


def _hover(run: Judged) -> str:
    distance = f"<br>{run.distance}" if run.distance else ""
    return (
        f"<b>{escape(run.name)}</b><br>λ̂ = {run.value}<br>β = {run.beta}{distance}"
        f"<br>{escape(run.status)}"
    )


def limits(runs: Sequence[Judged], exact: Sequence[float]) -> tuple[float, float]:
    """Frame what is known, and of the rest what is not far from it."""
    kept = list(exact)
    for run in runs:
        if run.believable:
            kept += _ends(run)
    if not kept:
        kept = [run.cell["lambda_hat"] for run in runs]
        middle = sorted(kept)[len(kept) // 2]
        kept = [value for value in kept if abs(value) <= 4 * abs(middle)] or kept
    reach = max(max(kept) - min(kept), 0.5 * abs(max(kept, key=abs)), 1e-12)
    low, high = min(kept) - reach, max(kept) + reach
    for run in runs:
        if low <= run.cell["lambda_hat"] <= high:
            kept += [min(max(end, low), high) for end in _ends(run)]
    margin = 0.07 * (max(kept) - min(kept)) or 0.1 * abs(kept[0]) or 0.1
    bottom = min(kept) - margin
    return (0.0 if 0 <= min(kept) < 0.4 * max(kept) else bottom), max(kept) + margin


def _ends(run: Judged) -> list[float]:
    value, error = run.cell["lambda_hat"], run.cell["mcse"] or 0.0
    return [value - error, value + error]


def _ticks(betas: Sequence[float]) -> dict[str, Any]:
    """Mark whole decades, or within one and a half the values themselves."""
    decades = math.log10(betas[-1] / betas[0])
    if decades >= 1.5 or len(betas) > 8:
        return {"dtick": max(1, math.ceil(decades / 9)), "exponentformat": "power"}
    return {"tickvals": list(betas), "ticktext": [inverse_temperature(beta) for beta in betas]}


def x_range(betas: Sequence[float]) -> list[float]:
    """Frame inverse temperatures with a margin."""
    low, high = math.log10(betas[0]), math.log10(betas[-1])
    margin = 0.06 * (high - low) or 0.5
    return [low - margin, high + margin]


def _arrows(outside: Sequence[Judged], high: float, frame: Sequence[float]) -> list[dict[str, Any]]:
    """Name the runs beyond the frame at its edge, those of one beta together."""

    def place(run: Judged) -> tuple[float, bool]:
        return run.cell["beta"], run.cell["lambda_hat"] > high

    found = []
    for (beta, above), group in groupby(sorted(outside, key=place), key=place):
        runs = list(group)
        names = [shortened_name(run.name, 24) for run in runs]
        lines = [
            f"{escape(name)} {number(run.cell['lambda_hat'])} {'↑' if above else '↓'}"
            for name, run in zip(names[:3], runs[:3], strict=True)
        ]
        if len(runs) > 3:
            lines.append(f"and {len(runs) - 3} more")
        part = (math.log10(beta) - frame[0]) / (frame[1] - frame[0])
        found.append(
            {
                "x": math.log10(beta),
                "y": 1 if above else 0,
                "yref": "paper",
                "xanchor": "left" if part < 0.2 else "right" if part > 0.8 else "center",
                "yanchor": "top" if above else "bottom",
                "text": "<br>".join(lines),
                "align": "left",
                "showarrow": False,
                "font": {"size": 12},
                "bgcolor": "@surface",
                "bordercolor": "@line",
                "borderpad": 3,
            }
        )
    return found


def by_model(judged: Sequence[Judged]) -> dict[str, list[Judged]]:
    """Group runs by their model."""
    return {
        model: list(group) for model, group in groupby(judged, key=lambda run: run.cell["model"])
    }
