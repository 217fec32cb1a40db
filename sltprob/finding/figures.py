"""Figures of the question itself: lambda-hat across scales, and the modes of random networks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sltprob.exact import Exact
from sltprob.report.curve import curve_figure
from sltprob.report.figures import Figure, axis, band, chart, escape, line
from sltprob.report.judged import Judged
from sltprob.report.numbers import number
from sltprob.theory.ansatz import AnsatzFit
from sltprob.theory.scale import ScaleRow

__all__ = ["curve_page_figures", "inputs_figure", "modes_figure"]

# Room for powers of ten left of the axis.
_MARGIN = {"l": 84, "r": 16, "t": 30, "b": 48}
_WIDE: dict[str, Any] = {"hovermode": "closest", "margin": _MARGIN, "wide": True}


def curve_page_figures(
    rows: Sequence[ScaleRow],
    exacts: Sequence[Exact],
    judged: Sequence[Judged] = (),
    fits: Sequence[AnsatzFit] = (),
) -> list[Figure]:
    """Draw lambda-hat with its bounds, its square root, and the free energy."""
    figures = [_against_theory(rows, exacts, judged), _square_root(rows, fits)]
    if rows[0].integrated is not None:
        figures.append(_free_energy(rows))
    return figures


def _decades(low: float, high: float) -> dict[str, Any]:
    return {"dtick": max(1, math.ceil((high - low) / 9)), "exponentformat": "power"}


def _beta_axis(rows: Sequence[ScaleRow]) -> dict[str, Any]:
    low, high = math.log10(rows[0].beta), math.log10(rows[-1].beta)
    margin = 0.03 * (high - low) or 0.5
    return axis(
        "inverse temperature β (dimensionless)",
        type="log",
        range=[low - margin, high + margin],
        **_decades(low, high),
    )


def _against_theory(
    rows: Sequence[ScaleRow], exacts: Sequence[Exact], judged: Sequence[Judged]
) -> Figure:
    base = curve_figure(judged, exacts, "scale")
    assert base.spec is not None
    betas = [row.beta for row in rows]
    data = list(base.spec["data"])
    curves = [
        ("mode bound (rigorous)", [row.mode_bound for row in rows], "@series1", "dash"),
        (
            "crude count ¼(log β/π)²",
            [row.crude_count or None for row in rows],
            "@series4",
            "dot",
        ),
        ("infinite width (NNGP)", [row.nngp for row in rows], "@series2", "dashdot"),
    ]
    for name, values, color, dash in curves:
        if any(value is not None for value in values):
            data.append(line(betas, values, name=name, color=color, dash=dash, width=2))
    # As points, because the infinitely wide network runs along the same line.
    data[0] |= {"mode": "markers", "marker": {"symbol": "circle", "size": 7, "color": "@ink"}}
    data.append(data.pop(0))
    levels = []
    if rows[0].claimed is not None:
        levels.append((rows[0].claimed, f"claimed: h/2 = {rows[0].claimed:g}"))
    if rows[0].learning_coefficient is not None:
        levels.append(
            (rows[0].learning_coefficient, f"theorem: λ = {rows[0].learning_coefficient:.4g}")
        )
    shapes = [
        {
            "type": "line",
            "xref": "paper",
            "x0": 0,
            "x1": 1,
            "y0": value,
            "y1": value,
            "line": {"color": "@muted", "dash": "solid", "width": 1},
            "label": {
                "text": escape(text),
                # Below its right end if the curve has come up to it: nothing else is there.
                "textposition": "end" if rows[-1].lambda_hat > 0.8 * value else "start",
                "yanchor": "top" if rows[-1].lambda_hat > 0.8 * value else "bottom",
                "font": {"size": 12, "color": "@ink"},
            },
        }
        for value, text in levels
    ]
    shown = [row.lambda_hat for row in rows] + [value for value, _ in levels]
    shown += [row.mode_bound for row in rows if row.mode_bound is not None]
    low, high = math.log10(0.6 * min(shown)), math.log10(1.6 * max(shown))
    outside = sum(
        1
        for run in judged
        if run.cell["lambda_hat"] is None or not 10**low <= run.cell["lambda_hat"] <= 10**high
    )
    caption = (
        "Exact values have errors smaller than their points. The vertical axis is logarithmic, "
        "so that the claimed plateau fits in."
    )
    if judged:
        caption += (
            " Bars are ± one Monte Carlo standard error; hollow markers are runs whose verdict "
            "does not trust them."
        )
    if outside:
        noun = "run lies" if outside == 1 else "runs lie"
        caption += f" {outside} {noun} outside the frame."
    layout = {
        **base.spec["layout"],
        "height": 520,
        "margin": _MARGIN,
        "xaxis": _beta_axis(rows),
        "yaxis": axis(
            "λ̂(β) (dimensionless)",
            type="log",
            range=[low, high],
            tickvals=[0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500],
            ticktext=["0.1", "0.2", "0.5", "1", "2", "5", "10", "20", "50", "100", "200", "500"],
        ),
        "annotations": [],
        "shapes": shapes,
    }
    return Figure(
        "scale",
        "λ̂ across scales",
        caption,
        "λ̂ against β with its bounds; the table holds the numbers",
        {"data": data, "layout": layout},
        wide=True,
    )


def _square_root(rows: Sequence[ScaleRow], fits: Sequence[AnsatzFit]) -> Figure:
    betas = [row.beta for row in rows]
    data = [
        line(
            betas,
            [math.sqrt(row.lambda_hat) for row in rows],
            name="√λ̂, exact",
            color="@ink",
            mode="markers",
            marker={"size": 7, "color": "@ink"},
        )
    ]
    styles = {"linear": ("@series2", "solid"), "quadratic": ("@series1", "dash")}
    names = {"linear": "λ̂ = a + b log β", "quadratic": "the Ansatz: √λ̂ = a + b log β"}
    caption = "Were λ̂ quadratic in log β, the points would lie on a straight line."
    for fit in fits:
        if fit.name in styles:
            color, dash = styles[fit.name]
            values = [math.sqrt(max(fit.predict(beta), 0.0)) for beta in betas]
            data.append(line(betas, values, name=names[fit.name], color=color, dash=dash, width=2))
            caption += (
                f" {fit.name.capitalize()}: off by up to "
                f"{number(100 * fit.largest_residual, 2)} % of λ̂."
            )
    return chart(
        "root",
        "The square root of λ̂ against log β",
        caption,
        "square root of λ̂ against log β, with a linear and a quadratic form",
        data,
        xaxis=_beta_axis(rows),
        yaxis=axis("√λ̂ (dimensionless)", rangemode="tozero"),
        height=400,
        **_WIDE,
    )


def _free_energy(rows: Sequence[ScaleRow]) -> Figure:
    betas = [row.beta for row in rows]
    integrated = [row.integrated or 0.0 for row in rows]
    errors = [2 * (row.integrated_mcse or 0.0) for row in rows]
    data = [
        band(
            betas,
            [value - error for value, error in zip(integrated, errors, strict=True)],
            [value + error for value, error in zip(integrated, errors, strict=True)],
        ),
        line(betas, integrated, name="integral of λ̂ d log β", color="@series0", width=2),
        line(
            betas,
            [row.free_energy for row in rows],
            name="exact −log Z",
            color="@ink",
            mode="markers",
            marker={"size": 7, "color": "@ink"},
        ),
    ]
    return chart(
        "free-energy",
        "Free energy",
        "F by thermodynamic integration of λ̂ from the first β, with a band of ± twice its error, "
        "and the exact −log Z.",
        "free energy against β by integration and exactly",
        data,
        xaxis=_beta_axis(rows),
        yaxis=axis("F (nats)", rangemode="tozero"),
        height=400,
        **_WIDE,
    )


def modes_figure(
    squares: NDArray[np.float64],
    prediction: NDArray[np.float64],
    *,
    prediction_name: str,
    root: bool,
) -> Figure:
    """Draw squared coefficients of random networks: samples in blue, their mean in red."""
    mean = squares.mean(axis=0)
    modes = np.flatnonzero(mean > 0)
    x = [float(f"{value:.5g}") for value in (np.sqrt(modes) if root else modes)]
    data = []
    for place, row in enumerate(squares):
        entry = line(
            x,
            [float(f"{value:.4g}") if value > 1e-300 else None for value in row[modes]],
            name=f"{len(squares)} random networks",
            color="@series0",
            width=0.7,
            opacity=0.45,
            hoverinfo="skip",
            showlegend=place == 0,
        )
        data.append(entry)
    means = [float(f"{value:.4g}") for value in mean[modes]]
    texts = [f"k = {k}: mean c² = {number(value)}" for k, value in zip(modes, means, strict=True)]
    data.append(
        line(x, means, name="their mean", color="#d62728", width=2.6, text=texts, hoverinfo="text")
    )
    data.append(
        line(
            x,
            [float(f"{value:.4g}") for value in prediction[modes]],
            name=prediction_name,
            color="@ink",
            dash="dash",
            width=1.8,
        )
    )
    low, high = math.log10(float(mean[modes].min())), math.log10(float(mean.max()))
    return chart(
        "modes",
        "Squared coefficients of random networks",
        "Each blue line is one network drawn from its prior, the red line is their mean. Modes "
        "that vanish by symmetry are left out. The prediction has the predicted slope and is "
        "scaled to the mean in the middle of the fitted range.",
        "squared mode coefficients of random networks on a logarithmic scale",
        data,
        xaxis=axis("√k, k the number of the mode" if root else "k, the number of the mode"),
        yaxis=axis(
            "squared coefficient c² (dimensionless)",
            type="log",
            range=[low - 2.0, high + 2.0],
            **_decades(low, high),
        ),
        height=520,
        **_WIDE,
    )


def inputs_figure(
    counts: Sequence[int], measured: Sequence[float], predicted: Sequence[float]
) -> Figure:
    """Draw the error of squared coefficients from random inputs against their number."""
    data = [
        line(
            list(counts),
            list(measured),
            name="measured",
            color="@series0",
            mode="markers",
            marker={"size": 9, "color": "@series0"},
        ),
        line(
            list(counts), list(predicted), name="predicted: Var[f heₖ]/N", color="@ink", dash="dash"
        ),
    ]
    return chart(
        "inputs",
        "What random inputs would have cost",
        "Mean squared error of a coefficient computed from N random inputs: to see a mode whose "
        "square is ε takes N of order 1/ε.",
        "error of coefficients from random inputs",
        data,
        xaxis=axis("number N of random inputs", type="log", dtick=1),
        yaxis=axis("squared error of c", type="log", dtick=1, exponentformat="power"),
        height=360,
        **_WIDE,
    )
