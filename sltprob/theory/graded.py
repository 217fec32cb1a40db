"""Features of a tanh unit in Hermite modes, each column to full relative precision.

At a very large beta the collapsed density needs singular values of the feature matrix that are
below 1e-16 of the largest one, where ``sqrt(weight_q) tanh(w x_q)`` has no digits left. In the
basis of Hermite modes the matrix is *graded*: column k is ``c_k(w)``, of the order ``w^k``, and has
all of its own digits. A Householder QR decomposition keeps such columns apart, so that every
singular value has digits.

Only the leading columns need this. What is left after them, ``sum_{k > k_1} c_k(w) he_k(x)``, is
small, lies near a space of few dimensions, and takes absolute precision only.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from sltprob.theory.bounds import highest_mode
from sltprob.theory.hermite import LARGEST_ORDER, coefficients

__all__ = ["GradedModes", "graded_modes"]

type Array = NDArray[np.float64]

#: What the rounding of the columns behind the leading ones may do to log det.
_LARGEST_ROUNDING = 1e-7
#: What leaving out the rest may do to log det.
_LARGEST_RESIDUAL = 1e-5
_DEGREE = 64


class GradedModes:
    """Evaluate graded features of many weights, by interpolation in w.

    References
    ----------
    Higham, N. J. (2002). Accuracy and Stability of Numerical Algorithms, 2nd ed., SIAM, section
    19.4 (columnwise error of QR).
    """

    def __init__(self, factor: float, largest_slope: float, order: int | None) -> None:
        last = highest_mode(factor, largest_slope) if order is None else order
        self.largest_slope = largest_slope
        # Functions of w^2, on [-1, 1].
        nodes = np.cos(np.pi * (np.arange(_DEGREE + 1) + 0.5) / (_DEGREE + 1))
        slopes = largest_slope * np.sqrt(0.5 * (1.0 + nodes))
        odd = np.arange(1, last + 1, 2)
        values = coefficients(slopes, last)[:, odd]
        lead = len(odd)
        if order is None:
            tails = np.cumsum((values**2).max(axis=0)[::-1])[::-1]
            allowed = _LARGEST_ROUNDING / np.finfo(float).eps ** 2
            lead = int(np.argmax(np.append(factor * tails, 0.0) <= allowed))
        self._modes = odd[:lead]
        self._signs = np.sign(values[0, :lead])
        logs = np.log(np.abs(values[:, :lead])) - self._modes * np.log(slopes)[:, None]
        rest = values[:, lead:] / slopes[:, None]
        if rest.shape[1]:
            rest = rest @ _directions(values[:, lead:], factor)
        self._series = chebyshev.chebfit(nodes, np.concatenate([logs, rest], axis=1), _DEGREE)

    @property
    def size(self) -> int:
        """Number of columns."""
        return int(self._series.shape[1])

    def holds(self, w: Array) -> NDArray[np.bool_]:
        """Say which draws have no weight beyond the largest slope."""
        held: NDArray[np.bool_] = np.abs(w).max(axis=1) <= self.largest_slope
        return held

    def features(self, w: Array) -> Array:
        """Evaluate the columns."""
        flat = w.ravel()
        x = 2.0 * (flat / self.largest_slope) ** 2 - 1.0
        basis = np.empty((len(self._series), len(flat)))
        basis[0], basis[1] = 1.0, x
        for degree in range(2, len(basis)):
            basis[degree] = 2.0 * x * basis[degree - 1] - basis[degree - 2]
        values = basis.T @ self._series
        lead = len(self._modes)
        with np.errstate(divide="ignore"):
            values[:, :lead] += self._modes * np.log(np.abs(flat))[:, None]
        values[:, :lead] = np.exp(values[:, :lead]) * (np.sign(flat)[:, None] * self._signs)
        values[:, lead:] *= flat[:, None]
        return values.reshape(*w.shape, -1)


def _directions(values: Array, factor: float) -> Array:
    """Find an orthonormal basis, shape (modes, r), that holds rows of `values` at this factor."""
    directions = np.linalg.svd(values, full_matrices=False)[2].T
    squares = (values @ directions) ** 2
    left_out = np.cumsum(squares[:, ::-1], axis=1)[:, ::-1].max(axis=0)
    small = factor * left_out <= _LARGEST_RESIDUAL
    rank = int(np.argmax(small)) if small.any() else len(small)
    return directions[:, :rank]


def graded_modes(
    factor: float, largest_slope: float, *, order: int | None = None
) -> GradedModes | None:
    """Give graded features that serve, from a store of those made before.

    References
    ----------
    Higham, N. J. (2002). Accuracy and Stability of Numerical Algorithms, 2nd ed., SIAM, section
    19.4.
    """
    # Rounded up, so that a descent over many betas makes few of them.
    rounded = 10.0 ** math.ceil(math.log10(factor))
    slope = 1.2 ** math.ceil(math.log(largest_slope) / math.log(1.2))
    if order is None and highest_mode(rounded, slope) > LARGEST_ORDER:
        return None
    return _stored(rounded, slope, order)


@functools.lru_cache(maxsize=64)
def _stored(factor: float, largest_slope: float, order: int | None) -> GradedModes:
    return GradedModes(factor, largest_slope, order)
