"""A trace in one line of text, for the terminal."""

from __future__ import annotations

import math

import numpy as np

from sltprob.report.downsample import extremes

__all__ = ["sparkline"]

_BLOCKS = "▁▂▃▄▅▆▇█"
_NOT_FINITE = "×"
#: Chains up to this many stand beside one another, more of them share one trace.
_MAX_CHAINS = 8


def sparkline(trace: np.ndarray, width: int = 60) -> str:
    """Draw a trace with block characters. Its extremes are kept."""
    if not trace.size:
        return ""
    rows = trace if len(trace) <= _MAX_CHAINS else trace.T.reshape(1, -1)
    buckets = max(1, (width - len(rows) + 1) // len(rows) // 2)
    # What stands alone in its stretch must not hide beside a number that is finite.
    chosen = [row[_kept(row, buckets)] for row in rows]
    finite = trace[np.isfinite(trace)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    return " ".join("".join(_block(float(v), low, high) for v in row) for row in chosen)


def _kept(row: np.ndarray, buckets: int) -> np.ndarray:
    """Choose extremes; where a stretch has a value that is not finite, that one instead."""
    chosen = extremes(row, buckets)
    if len(chosen) == len(row):
        return chosen
    width = -(-len(row) // buckets)
    bad = np.flatnonzero(~np.isfinite(row))
    spoilt = np.unique(bad // width)
    first = [int(bad[bad // width == stretch][0]) for stretch in spoilt]
    kept = chosen[~np.isin(chosen // width, spoilt)]
    return np.sort(np.concatenate([kept, np.array(first, dtype=kept.dtype)]))


def _block(value: float, low: float, high: float) -> str:
    if not math.isfinite(value):
        return _NOT_FINITE
    # Halves first: the difference of two huge numbers overflows.
    span = high / 2 - low / 2
    part = (value / 2 - low / 2) / span if span > 0 else 0.5
    return _BLOCKS[min(len(_BLOCKS) - 1, int(part * len(_BLOCKS)))]
