"""The partition function of a product of two Gaussian matrices, exactly.

For L = ½ ‖B A‖² with standard normal entries, integrating A out leaves Z = E Π_i (1 + β l_i)^(-M/2)
over the eigenvalues l_i of a real Wishart matrix BᵀB. Their density contains |Vandermonde|, so that
de Bruijn's formula turns the p-dimensional integral into a Pfaffian of two-dimensional ones, for
any p.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.polynomial import legendre

from sltprob.models._integrals import Integral

__all__ = ["product_of_two"]


def product_of_two(beta: float, sizes: tuple[int, int, int]) -> Integral:
    """Compute log Z and λ̂ of L = ½ ‖B A‖², A and B standard normal.

    References
    ----------
    .. [1] N. G. de Bruijn, "On some multiple integrals involving determinants", Journal of the
       Indian Mathematical Society 19 (1955) 133-151.
    .. [2] R. J. Muirhead, Aspects of Multivariate Statistical Theory (Wiley, 1982), theorem
       3.2.18 (density of the eigenvalues of a Wishart matrix).
    """
    inputs, hidden, outputs = sizes
    # Either factor can be integrated out; the smaller Pfaffian loses fewer digits.
    if inputs < outputs:
        inputs, outputs = outputs, inputs
    results = []
    for order in (20, 14):
        prior_log, _, _ = _pfaffian(0.0, inputs, hidden, outputs, order)
        log_z, lambda_hat, condition = _pfaffian(beta, inputs, hidden, outputs, order)
        results.append((log_z - prior_log, lambda_hat, condition))
    (log_z, lambda_hat, condition), (other_log_z, other_lambda_hat, _) = results
    rounding = float(np.finfo(float).eps) * condition
    return Integral(
        log_z,
        lambda_hat,
        abs(log_z - other_log_z) + rounding * (1 + abs(log_z)),
        abs(lambda_hat - other_lambda_hat) + rounding * (1 + abs(lambda_hat)),
    )


def _pfaffian(
    beta: float, inputs: int, hidden: int, outputs: int, order: int
) -> tuple[float, float, float]:
    """Give the log of the integral of Π f(l_i) times the density, λ̂ and the condition number."""
    size, degrees = min(hidden, outputs), max(hidden, outputs)
    # The weight behaves as l^least at 0; beyond the upper end it is below rounding.
    least = (degrees - size + 1) / 2
    lower = -max(0.0, math.log1p(beta)) - 45 / least
    upper = math.log(4.0 * (degrees + size) + 400.0)
    points, weights, cumulative = _panels(lower, upper, order)
    eigenvalues = np.exp(points)
    log_weight = least * points - eigenvalues / 2 - inputs / 2 * np.log1p(beta * eigenvalues)
    top = float(log_weight.max())
    measure = weights * np.exp(log_weight - top)
    energy = inputs / 2 * beta * eigenvalues / (1 + beta * eigenvalues)

    # Polynomials that are orthonormal for the measure keep the Pfaffian well conditioned.
    basis = np.empty((size, points.size))
    log_norms = 0.0
    for index in range(size):
        column = np.ones_like(eigenvalues) if index == 0 else eigenvalues * basis[index - 1]
        for _ in range(2):
            column = column - (basis[:index] @ (measure * column)) @ basis[:index]
        norm = math.sqrt(float(measure @ column**2))
        basis[index] = column / norm
        # Each norm enters all later monic polynomials, too.
        log_norms += (size - index) * math.log(norm)

    density = np.exp(log_weight - top)

    def skew(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """∫∫ sign(y - x) left_i(x) right_j(y) over the measure."""
        primitive = cumulative(right * density)
        totals = right @ measure
        found: np.ndarray = (left * measure) @ (totals[:, None] - 2 * primitive).T
        return found

    matrix = skew(basis, basis)
    moved = skew(basis * energy, basis) + skew(basis, basis * energy)
    if size % 2:
        border, moved_border = basis @ measure, (basis * energy) @ measure
        matrix = np.block([[matrix, border[:, None]], [-border[None, :], np.zeros((1, 1))]])
        moved = np.block(
            [[moved, moved_border[:, None]], [-moved_border[None, :], np.zeros((1, 1))]]
        )
    matrix, moved = (matrix - matrix.T) / 2, (moved - moved.T) / 2
    log_pfaffian = float(np.linalg.slogdet(matrix)[1]) / 2
    lambda_hat = float(np.trace(np.linalg.solve(matrix, moved))) / 2
    log_total = log_pfaffian + log_norms + size * top
    return log_total, lambda_hat, float(np.linalg.cond(matrix))


def _panels(
    lower: float, upper: float, order: int
) -> tuple[np.ndarray, np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Make Gauss-Legendre panels on an interval, with the primitive of a function at the nodes."""
    count = math.ceil((upper - lower) / 0.25)
    nodes, weights = legendre.leggauss(order)
    edges = np.linspace(lower, upper, count + 1)
    half = (edges[1] - edges[0]) / 2
    points = ((edges[1:] + edges[:-1])[:, None] / 2 + half * nodes).ravel()
    # ∫_(-1)^x of the interpolating polynomial, through its Legendre coefficients.
    vandermonde = legendre.legvander(nodes, order - 1)
    to_coefficients = (vandermonde * weights[:, None]).T * (np.arange(order) + 0.5)[:, None]
    primitives = np.column_stack(
        [legendre.legval(nodes, legendre.legint(row, lbnd=-1)) for row in np.eye(order)]
    )
    inside = half * primitives @ to_coefficients

    def cumulative(values: np.ndarray) -> np.ndarray:
        panels = values.reshape(*values.shape[:-1], count, order)
        sums = half * panels @ weights
        before = np.cumsum(sums, axis=-1) - sums
        found: np.ndarray = (panels @ inside.T + before[..., None]).reshape(values.shape)
        return found

    return points, np.tile(half * weights, count), cumulative
