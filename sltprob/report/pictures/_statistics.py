"""When statistics of the loss exist."""

from __future__ import annotations

import numpy as np

__all__ = ["unusable"]


def unusable(loss: np.ndarray, chains_needed: int = 1) -> str:
    """Say why statistics of a loss do not exist; empty if they do."""
    chains, draws = loss.shape
    if chains < chains_needed:
        return f"Comparing chains needs at least {chains_needed} of them; the run has {chains}."
    if draws < 4:
        return f"Each chain has too few draws: {draws}, at least 4 are needed."
    if not np.all(np.isfinite(loss)):
        return "Some draws are not finite."
    if not np.all(np.ptp(loss, axis=1) > 0):
        return "A chain stands still."
    return ""
