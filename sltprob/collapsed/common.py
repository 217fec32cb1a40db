"""What every method needs: its error, its tolerance, and a mean of exponentials."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["PrecisionError", "check_tolerance", "log_mean_exp"]

type Array = NDArray[np.float64]


class PrecisionError(ValueError):
    """Say that the exact answer could not be computed to the tolerance that was asked for."""


def check_tolerance(tolerance: float) -> None:
    """Refuse a tolerance that is not a reasonable relative error."""
    if not 1e-4 <= tolerance <= 0.5:
        raise ValueError(
            f"tolerance={tolerance!r}, but it must be from 0.0001 to 0.5; write tolerance=0.01."
        )


def log_mean_exp(values: Array) -> float:
    """Evaluate log mean exp without overflow."""
    top = float(np.max(values))
    return top + math.log(float(np.mean(np.exp(values - top))))
