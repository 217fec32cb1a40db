"""Fewer points that look the same: every extreme of a trace survives."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np

__all__ = ["bucket_means", "extremes", "shortened"]


def extremes(values: np.ndarray, buckets: int) -> np.ndarray:
    """Choose the least and the greatest value of each of `buckets` equal stretches."""
    if buckets < 1:
        raise ValueError(f"buckets={buckets}: it must be at least 1, such as 200")
    size = len(values)
    if size <= 2 * buckets:
        return np.arange(size)
    width = -(-size // buckets)
    rows = -(-size // width)
    padded = np.full((rows, width), math.nan)
    padded.flat[:size] = values
    finite = np.isfinite(padded)
    low = np.argmin(np.where(finite, padded, math.inf), axis=1)
    high = np.argmax(np.where(finite, padded, -math.inf), axis=1)
    return np.unique(np.concatenate([low, high]) + np.tile(np.arange(rows) * width, 2))


def bucket_means(values: np.ndarray, buckets: int) -> tuple[np.ndarray, np.ndarray]:
    """Average stretches of a trace."""
    if buckets < 1:
        raise ValueError(f"buckets={buckets}: it must be at least 1, such as 50")
    edges = np.linspace(0, len(values), min(buckets, len(values)) + 1).astype(int)
    pairs = list(pairwise(edges))
    positions = np.array([(start + stop - 1) / 2 for start, stop in pairs])
    return positions, np.array([np.mean(values[start:stop]) for start, stop in pairs])


def shortened(values: Any, resolution: int = 1000) -> list[float | int | None]:
    """Round to what a screen can show, for a short JSON text."""
    array = np.asarray(values, dtype=float)
    finite = array[np.isfinite(array)]
    if not finite.size:
        return [None] * array.size
    low, high = np.quantile(finite, [0.05, 0.95])
    span = float(high - low) or float(np.ptp(finite)) or float(np.max(np.abs(finite))) or 1.0
    if not 1e-250 < span < 1e250:
        return [float(value) if math.isfinite(value) else None for value in array]
    decimals = math.ceil(-math.log10(span / resolution))
    result: list[float | int | None] = []
    for value in array:
        if not math.isfinite(value):
            result.append(None)
            continue
        rounded = round(float(value), decimals)
        whole = rounded.is_integer() and abs(rounded) < 1e15
        result.append(int(rounded) if whole else rounded)
    return result
