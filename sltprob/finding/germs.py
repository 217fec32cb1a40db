"""Units near a change of shape: of what the Airy and Pearcey models are the limits.

A unit with tied weights, ``f(x) = w tanh(w x)``, learns ``y x``. To leading order in w its loss is
``(w^2 - y)^2``: one well for y < 0, two for y > 0. A ReLU whose threshold w enters its inputs,
``f(x) = relu(w - x)`` with x > 0 half-normal and w > 0, learns zero under a penalty t w. To leading
order its loss is ``sqrt(2 / pi) w^3 / 3 + t w``. Where beta grows and y beta^(1/2), or
t beta^(2/3), stays, only these orders are left.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import special

from sltprob.exact import check_beta
from sltprob.models.airy import Airy
from sltprob.models.pearcey import Pearcey

__all__ = ["airy_limit", "entering_unit", "pearcey_limit", "tied_unit"]

type Array = NDArray[np.float64]

_PIECES, _NODES = 400, 8


def tied_unit(beta: float, target: float) -> float:
    """Compute lambda-hat of w tanh(w x), x ~ N(0, 1), that learns y x, with a flat prior of w.

    References
    ----------
    Watanabe, S. (2009). Algebraic Geometry and Statistical Learning Theory, Cambridge.
    """
    x = 0.1 * (np.arange(90) + 0.5)
    weights = np.exp(-0.5 * x**2)
    weights /= weights.sum()

    def loss(w: Array) -> Array:
        outputs = w[:, None] * np.tanh(w[:, None] * x) - target * x
        values: Array = outputs**2 @ weights
        return values

    return _lambda_hat(beta, loss, 3.0 * (beta**-0.25 + math.sqrt(abs(target))))


def entering_unit(beta: float, penalty: float) -> float:
    """Compute lambda-hat of relu(w - x), x half-normal, that learns zero under t w, w > 0.

    References
    ----------
    Watanabe, S. (2009). Algebraic Geometry and Statistical Learning Theory, Cambridge.
    """

    def loss(w: Array) -> Array:
        # E relu(w - x)^2 in closed form.
        density = math.sqrt(2.0 / math.pi)
        inside = special.erf(w / math.sqrt(2.0))
        values: Array = (w**2 + 1.0) * inside + density * w * np.expm1(-0.5 * w**2)
        # The terms cancel to the third order in w.
        small = density * w**3 * (1.0 / 3.0 - w**2 / 60.0 + w**4 / 840.0)
        return np.where(w < 0.05, small, values - density * w) + penalty * w

    return _lambda_hat(beta, loss, 6.0 * beta ** (-1.0 / 3.0))


def pearcey_limit(scaled: float) -> float:
    """Give lambda-hat of the Pearcey model that `tied_unit` tends to, y beta^(1/2) held.

    References
    ----------
    NIST Digital Library of Mathematical Functions, chapter 36.
    """
    # (w^2 - y)^2 is 4 (w^4/4 - y w^2/2), up to a constant.
    found = Pearcey(quadratic=-scaled).exact(4.0, tolerance=1e-4)
    assert found is not None
    return found.lambda_hat


def airy_limit(scaled: float) -> float:
    """Give lambda-hat of the Airy model that `entering_unit` tends to, t beta^(2/3) held.

    References
    ----------
    NIST Digital Library of Mathematical Functions, section 9.12.
    """
    density = math.sqrt(2.0 / math.pi)
    # density (w^3/3 + (t / density) w), at beta density = 1.
    slope = scaled / density * density ** (2.0 / 3.0)
    found = Airy(slope=slope).exact(1.0, tolerance=1e-4)
    assert found is not None
    return found.lambda_hat


def _lambda_hat(beta: float, loss: Callable[[Array], Array], end: float) -> float:
    """Integrate over 0 < w < end; a loss that is even has the same on both sides."""
    check_beta(beta)
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    edges = np.linspace(0.0, end, _PIECES + 1)
    half = 0.5 * np.diff(edges)
    w = (0.5 * (edges[1:] + edges[:-1])[:, None] + half[:, None] * nodes).ravel()
    losses = loss(w)
    # A minimum at a wall is no node.
    rises = beta * (losses - min(losses.min(), loss(edges).min()))
    masses = (half[:, None] * weights).ravel() * np.exp(-rises)
    return float(masses @ rises / masses.sum())
