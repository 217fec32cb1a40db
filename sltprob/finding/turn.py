"""Where lambda-hat turns: the top of its curve, and how that moves with the width."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sltprob.exact import Exact
from sltprob.finding.paper import write_svg

__all__ = ["Line", "Turn", "draw_turns", "find_turn", "fit_line"]

type Array = NDArray[np.float64]

# The curve is a cubic in log beta where it is within this part of its highest value.
_NEAR_THE_TOP = 0.06
_RESAMPLES = 400
_COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#0072B2", "#D55E00", "black")


@dataclass(frozen=True, kw_only=True)
class Turn:
    """The top of lambda-hat as a function of log10 beta, with standard errors."""

    log10_beta: float
    log10_beta_mcse: float
    lambda_hat: float
    lambda_hat_mcse: float


@dataclass(frozen=True, kw_only=True)
class Line:
    """A weighted fit ``intercept + slope x``, with standard errors and its misfit."""

    intercept: float
    intercept_error: float
    slope: float
    slope_error: float
    misfit: float  # Chi-squared per degree of freedom


def find_turn(values: Sequence[Exact], *, seed: int = 0) -> Turn:
    """Find the highest lambda-hat, by a cubic in log beta through the points near it.

    The errors come from fits to points that are moved by their own errors.

    References
    ----------
    Efron, B. and Tibshirani, R. J. (1993). An Introduction to the Bootstrap, Chapman and Hall,
    section 6.5 (the parametric bootstrap).
    """
    logs = np.array([math.log10(value.beta) for value in values])
    heights = np.array([value.lambda_hat for value in values])
    errors = np.array([value.mcse for value in values])
    near = heights >= (1.0 - _NEAR_THE_TOP) * heights.max()
    if near.sum() < 5 or not logs.min() < logs[np.argmax(heights)] < logs.max():
        raise ValueError(
            f"{near.sum()} of {len(values)} inverse temperatures are near the highest lambda-hat, "
            "which must be inside of them; write five or more around it, such as 1e9,3e9,1e10,"
            "3e10,1e11 for h = 16."
        )
    logs, heights, errors = logs[near], heights[near], errors[near]
    generator = np.random.default_rng([seed, 5])
    noise = generator.standard_normal((_RESAMPLES, len(logs))) * errors
    (place, height), *tops = _tops(logs, np.vstack([heights, heights + noise]), errors)
    spread = np.std(tops, axis=0)
    return Turn(
        log10_beta=float(place),
        log10_beta_mcse=float(spread[0]),
        lambda_hat=float(height),
        lambda_hat_mcse=float(spread[1]),
    )


def _tops(logs: Array, curves: Array, errors: Array) -> Array:
    """Give place and height of the top of a weighted cubic through each curve, shape (n, 2)."""
    middle = logs.mean()
    fine = np.linspace(logs.min(), logs.max(), 2001)
    inverse = np.linalg.pinv(np.vander(logs - middle, 4) / errors[:, None])
    values = (curves / errors) @ inverse.T @ np.vander(fine - middle, 4).T
    best = values.argmax(axis=1)
    return np.column_stack([fine[best], values[np.arange(len(curves)), best]])


def fit_line(x: Sequence[float], values: Sequence[float], errors: Sequence[float]) -> Line:
    """Fit a straight line by weighted least squares.

    References
    ----------
    Bevington, P. R. and Robinson, D. K. (2003). Data Reduction and Error Analysis for the Physical
    Sciences, 3rd ed., McGraw-Hill, chapter 6.
    """
    if not len(x) == len(values) == len(errors) >= 3:
        raise ValueError(f"{len(x)}, {len(values)} and {len(errors)} numbers: three or more each.")
    weights = 1.0 / np.asarray(errors)
    matrix = np.column_stack([np.ones(len(x)), x]) * weights[:, None]
    covariance = np.linalg.inv(matrix.T @ matrix)
    found = covariance @ (matrix.T @ (np.asarray(values) * weights))
    misfit = float(np.sum((matrix @ found - np.asarray(values) * weights) ** 2)) / (len(x) - 2)
    return Line(
        intercept=float(found[0]),
        intercept_error=math.sqrt(covariance[0, 0]),
        slope=float(found[1]),
        slope_error=math.sqrt(covariance[1, 1]),
        misfit=misfit,
    )


def draw_turns(
    path: Path, curves: Mapping[int, Sequence[Exact]], limits: Mapping[int, float]
) -> Path | None:
    """Write lambda-hat over the learning coefficient for several widths as SVG.

    The inverse temperature is that at which the logarithm of beta grows with the root of the width.
    Nothing is written without Matplotlib.

    References
    ----------
    Watanabe, S. (2009). Algebraic Geometry and Statistical Learning Theory, Cambridge.
    """

    def draw(axes: Any) -> None:
        for number, (width, values) in enumerate(curves.items()):
            axes.errorbar(
                [math.log10(value.beta) / math.sqrt(width) for value in values],
                [value.lambda_hat / limits[width] for value in values],
                yerr=[value.mcse / limits[width] for value in values],
                fmt="o-",
                ms=3.5,
                color=_COLOURS[number % len(_COLOURS)],
                label=f"h = {width}",
            )
        axes.axhline(1.0, color="grey", lw=0.8)
        axes.set_xlabel("log₁₀ β / √h")
        axes.set_ylabel("λ̂ / λ")
        axes.legend(frameon=False, ncols=6, loc="upper center", bbox_to_anchor=(0.5, 1.12))

    return write_svg(path, draw)
