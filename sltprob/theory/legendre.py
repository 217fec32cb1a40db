"""Features of an odd unit on Gaussian inputs, to full relative precision in every column.

At a very large beta the collapsed density needs singular values of the feature matrix that are
below 1e-16 of the largest one, where ``sqrt(weight_q) tanh(w x_q)`` has no digits left. Legendre
polynomials of the weight keep them:

    tanh(w x) = sum_j b_j(x) P_j(w / s),  |w| <= s,

and ``b_j = sum_k R_kj e_k`` with orthonormal e_k is a QR decomposition, done once for each s with
many digits. Column k of the features is ``sum_j R_kj P_j(w / s)``. Its size falls geometrically
with k (the columns are *graded*), and its sum has all digits of that size. Weights that spread over
[-s, s] leave the columns far from collinear, so that a Householder QR decomposition in double
precision keeps the digits of all singular values. Weights that have shrunk get an s of their own.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import mpmath
import numpy as np
from numpy.typing import NDArray

__all__ = ["LegendreFeatures"]

type Array = NDArray[np.float64]

#: Scales s are powers of this: with a wider step, columns become more collinear. Below 0.03, the
#: level given here, columns are so few that the step may be wider.
_STEP = 1.25
_COARSE, _COARSE_STEP = -16, 4.0
#: What a column that is left out may add to log det.
_LARGEST_RESIDUAL = 1e-6
# Digits of wide slopes take minutes for each scale, of 4 and more an hour.
_LARGEST_SLOPE = 1.6
_LARGEST_FACTOR = 1e80


class LegendreFeatures:
    """Evaluate graded features, shape (n, h, columns), of tanh units for x ~ N(0, 1).

    `factor` is what squares of features are multiplied by. No weight may be beyond `largest_slope`.

    References
    ----------
    Higham, N. J. (2002). Accuracy and Stability of Numerical Algorithms, 2nd ed., SIAM, section
    19.4 (columnwise error of QR).
    """

    def __init__(self, factor: float, largest_slope: float) -> None:
        # Rounded up, so that a descent over many betas makes few of them.
        self._factor = 1e4 ** math.ceil(math.log10(factor) / 4.0)
        self._level = int(_levels(np.array([largest_slope]))[0])
        self.largest_slope = _scale(self._level)

    @classmethod
    def where_possible(cls, factor: float, largest_slope: float) -> LegendreFeatures | None:
        """Give the features, or None for slopes or factors whose columns take too long."""
        possible = 0 < largest_slope <= _LARGEST_SLOPE and factor <= _LARGEST_FACTOR
        return cls(factor, largest_slope) if possible else None

    @property
    def size(self) -> int:
        """Number of columns."""
        return len(_triangle(self._factor, self._level))

    def holds(self, w: Array) -> NDArray[np.bool_]:
        """Say which draws have no weight beyond the largest slope."""
        held: NDArray[np.bool_] = np.abs(w).max(axis=1) <= self.largest_slope
        return held

    def features(self, w: Array) -> Array:
        """Evaluate the columns; draws whose weights have shrunk use a smaller scale."""
        values = np.zeros((*w.shape, self.size))
        levels = _levels(np.abs(w).max(axis=1))
        for level in np.unique(levels):
            chosen = levels == level
            triangle = _triangle(self._factor, int(level))
            # They are fewer for a smaller scale, whose features are smaller.
            used = triangle[: self.size]
            values[chosen, :, : len(used)] = _odd_legendre(w[chosen] / _scale(level), used)
        return values


def _levels(slopes: Array) -> NDArray[np.int64]:
    """Give the levels of the scales that hold these slopes."""
    # Nothing is learnt below: the columns beside the first are zero there.
    logs = np.log(np.maximum(slopes, 1e-12))
    fine = logs / math.log(_STEP)
    coarse = _COARSE + (logs - math.log(_scale(_COARSE))) / math.log(_COARSE_STEP)
    return np.ceil(np.where(fine >= _COARSE, fine, coarse) - 1e-9).astype(int)


def _scale(level: int) -> float:
    fine, coarse = max(level, _COARSE), min(level - _COARSE, 0)
    return float(_STEP**fine * _COARSE_STEP**coarse)


def _odd_legendre(u: Array, triangle: Array) -> Array:
    """Evaluate ``sum_j triangle[k, j] P_{2j+1}(u)``, by the recurrence of Legendre polynomials."""
    flat = u.ravel()
    odd = np.empty((triangle.shape[1], len(flat)))
    even, odd[0] = np.ones(len(flat)), flat
    for number in range(1, len(odd)):
        degree = 2 * number
        even = ((2 * degree - 1) * flat * odd[number - 1] - (degree - 1) * even) / degree
        odd[number] = ((2 * degree + 1) * flat * even - degree * odd[number - 1]) / (degree + 1)
    return (odd.T @ triangle.T).reshape(*u.shape, len(triangle))


@functools.lru_cache(maxsize=256)
def _triangle(factor: float, level: int) -> Array:
    """Compute R, its rows to full relative precision, shape (columns, polynomials)."""
    least = math.sqrt(_LARGEST_RESIDUAL / factor)
    digits = max(0.0, -math.log10(least))
    slope = _scale(level)
    # A guess, from the cases that were tried; small slopes make b_j a power of them.
    share = 3.0 + math.sqrt(slope) if slope > 0.05 else 1.5 / math.log10(0.16 / slope)
    # Rounded up, so that few rules serve.
    count = 16 * math.ceil((12.0 + share * digits) / 16.0)
    # The Gram matrix of the b_j has twice their digits.
    with mpmath.workdps(30 + math.ceil(2.0 * digits)):
        while True:
            gram = _gram(slope, least, count)
            small = [gram[number, number] < (0.1 * least) ** 2 for number in range(count)]
            # The last ones have the errors of the rule for w.
            if True in small[: 4 * count // 5]:
                return _cholesky(gram, small.index(True), 0.1 * least)
            count = 16 * math.ceil(3 * count / 32)


def _gram(slope: float, least: float, count: int) -> Any:
    """Compute <b_j, b_k> for the first `count` odd degrees, shape (count, count), of mpmath."""
    nodes, roots = _inputs(slope, least)
    rule, polynomials = _gauss_legendre(count, mpmath.mp.dps)
    values = [
        [root * mpmath.tanh(slope * u * x) for u in rule]
        for x, root in zip(nodes, roots, strict=True)
    ]
    # Whole numbers are three times as fast as mpmath's.
    bits = mpmath.mp.prec
    series = (polynomials @ _fixed(values, bits).T) >> bits
    return (series @ series.T) * mpmath.ldexp(1, -2 * bits)


def _fixed(values: Any, bits: int) -> Any:
    """Give values in units of 2^-bits, as whole numbers."""
    return np.vectorize(lambda value: int(mpmath.ldexp(value, bits)), otypes=[object])(values)


def _inputs(slope: float, least: float) -> tuple[list[Any], list[Any]]:
    """Build the midpoint rule for x > 0; give its nodes and the square roots of its weights.

    References
    ----------
    Trefethen, L. N. and Weideman, J. A. C. (2014). The exponentially convergent trapezoidal rule.
    SIAM Review 56, 385-458.
    """
    wanted = 2.0 * math.log(1e6 / least)
    # tanh(w x) has its poles there; a Gaussian has none, and grows along the imaginary axis.
    strip = min(0.5 * math.pi / slope, 4.0)
    spacing = mpmath.mpf(2.0 * math.pi * strip / (wanted + 0.5 * strip**2))
    count = math.ceil(math.sqrt(2.0 * wanted) / spacing)
    nodes = [spacing * (number + mpmath.mpf(0.5)) for number in range(count)]
    scale = mpmath.sqrt(2 * spacing / mpmath.sqrt(2 * mpmath.pi))
    return nodes, [scale * mpmath.exp(-(x**2) / 4) for x in nodes]


@functools.lru_cache(maxsize=64)
def _gauss_legendre(count: int, digits: int) -> tuple[list[Any], Any]:
    """Give the positive half of the Gauss-Legendre rule with twice so many nodes.

    With it come the odd polynomials there, times what makes coefficients of them: whole numbers in
    units of the precision of so many `digits`, shape (count, count).
    """
    order = 2 * count
    nodes, columns = [], []
    for guess in np.polynomial.legendre.leggauss(order)[0][count:]:
        u, slope = mpmath.mpf(guess), mpmath.mpf(0)
        # Each step doubles the digits; the last one is for the slope.
        for _ in range(math.ceil(math.log2(digits / 14.0)) + 1):
            *values, below, value = _polynomials(u, order)
            slope = order * (below - u * value) / (1 - u**2)
            u -= value / slope
        weight = 2 / ((1 - u**2) * slope**2)
        nodes.append(u)
        # On both halves of the line: twice (2 degree + 1) / 2.
        odd = [*values, below][1::2]
        columns.append([(4 * k + 3) * weight * value for k, value in enumerate(odd)])
    return nodes, _fixed(columns, mpmath.mp.prec).T


def _polynomials(u: Any, order: int) -> list[Any]:
    """Evaluate P_0 to P_order."""
    values = [mpmath.mpf(1), u]
    for degree in range(2, order + 1):
        values.append(((2 * degree - 1) * u * values[-1] - (degree - 1) * values[-2]) / degree)
    return values


def _cholesky(gram: Any, size: int, least: float) -> Array:
    """Compute the rows of R, of gram = R^T R, until they are below `least`."""
    rest = gram[:size, :size].copy()
    rows: list[Array] = []
    for number in range(size):
        row = rest[number] / mpmath.sqrt(rest[number, number])
        row[:number] = mpmath.mpf(0)
        if rows and max(abs(value) for value in row) < least:
            break
        rows.append(row.astype(float))
        rest = rest - np.outer(row, row)
    return np.array(rows)
