"""Features of tanh units in their first Hermite modes, each column to full relative precision.

A loss that sees the modes up to K has the features ``c_k(w)``, k <= K, which are of the order
``w^k``: the matrix is *graded*. Each column has all of its own digits, and a Householder QR
decomposition keeps such columns apart, so that singular values far below 1e-16 of the largest have
digits too.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from sltprob.theory.hermite import coefficients

__all__ = ["GradedModes", "graded_modes"]

type Array = NDArray[np.float64]

_DEGREE = 64


class GradedModes:
    """Evaluate the odd modes up to `order` of many weights, by interpolation in w.

    References
    ----------
    Higham, N. J. (2002). Accuracy and Stability of Numerical Algorithms, 2nd ed., SIAM, section
    19.4 (columnwise error of QR).
    """

    def __init__(self, largest_slope: float, order: int) -> None:
        self.largest_slope = largest_slope
        # Functions of w^2, on [-1, 1].
        nodes = np.cos(np.pi * (np.arange(_DEGREE + 1) + 0.5) / (_DEGREE + 1))
        slopes = largest_slope * np.sqrt(0.5 * (1.0 + nodes))
        self._modes = np.arange(1, order + 1, 2)
        values = coefficients(slopes, order)[:, self._modes]
        self._signs = np.sign(values[0])
        logs = np.log(np.abs(values)) - self._modes * np.log(slopes)[:, None]
        self._series = chebyshev.chebfit(nodes, logs, _DEGREE)

    @property
    def size(self) -> int:
        """Number of columns."""
        return len(self._modes)

    def holds(self, w: Array) -> NDArray[np.bool_]:
        """Say which draws have no weight beyond the largest slope."""
        held: NDArray[np.bool_] = np.abs(w).max(axis=1) <= self.largest_slope
        return held

    def features(self, w: Array) -> Array:
        """Evaluate the columns."""
        flat = w.ravel()
        logs = chebyshev.chebval(2.0 * (flat / self.largest_slope) ** 2 - 1.0, self._series).T
        with np.errstate(divide="ignore"):
            logs += self._modes * np.log(np.abs(flat))[:, None]
        values = np.exp(logs) * (np.sign(flat)[:, None] * self._signs)
        return values.reshape(*w.shape, -1)


@functools.lru_cache(maxsize=64)
def _stored(largest_slope: float, order: int) -> GradedModes:
    return GradedModes(largest_slope, order)


def graded_modes(largest_slope: float, order: int) -> GradedModes:
    """Give graded features that serve, from a store of those made before.

    References
    ----------
    Higham, N. J. (2002). Accuracy and Stability of Numerical Algorithms, 2nd ed., SIAM, section
    19.4.
    """
    # Rounded up, so that a descent over many betas makes few of them.
    return _stored(1.2 ** math.ceil(math.log(largest_slope) / math.log(1.2)), order)
