"""Weighted data: what a likelihood is averaged over.

A data set is weighted data with equal weights; a quadrature rule of a known data distribution
is weighted data too, and turns the same program into the population loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["Data"]


@dataclass(frozen=True)
class Data:
    """The arguments of a program, and the weight of each datum.

    Parameters
    ----------
    arguments : mapping of str to array
        Keyword arguments of the program. Arrays whose first axis has the length of `weights`
        are taken to have one row per datum.
    weights : array, shape (n,), or None
        One weight per datum, not negative; their sum is the total weight of the mean loss and
        is normally one. None stands for 1/n each.
    error : float, dimensionless
        Relative error of the mean that the weights form, 0 for a data set: the error estimate
        of the quadrature rule. It is stored with every run.

    Raises
    ------
    ValueError
        If a weight is negative or not finite, or all are zero.
    """

    arguments: Mapping[str, Any]
    weights: Any = None
    error: float = field(default=0.0)

    def __post_init__(self) -> None:
        if self.weights is None:
            return
        weights = np.asarray(self.weights)
        good = weights.ndim == 1 and np.all(np.isfinite(weights)) and np.all(weights >= 0)
        if not good or not np.any(weights > 0):
            raise ValueError(
                "weights must be a vector of finite numbers >= 0, not all zero; got "
                f"shape {weights.shape}, smallest {np.min(weights, initial=np.inf)}"
            )
