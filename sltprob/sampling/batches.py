"""How many points are handled well in one vectorised call."""

from __future__ import annotations

from sltprob.posterior import TemperedPosterior

__all__ = ["batch_size", "fitting", "scouting_effort", "work"]

# Points times dimension above which they leave the cache, and points times data the memory.
_COORDINATES, _DATA = 2048, 2_000_000
_LARGEST_BATCH, _SMALLEST_BATCH = 64, 8
# Dimension times data below which it takes longer to optimise a program than ten runs of it save.
_SMALL = 5000


def fitting(posterior: TemperedPosterior) -> int:
    """Say how many points stay in the cache together, and their work on the data in memory."""
    by_dimension = _COORDINATES // max(posterior.dimension, 1)
    return min(by_dimension, _DATA // max(len(posterior.weights), 1))


def batch_size(posterior: TemperedPosterior) -> int:
    """Say how many points share a vectorised call."""
    return min(max(fitting(posterior), _SMALLEST_BATCH), _LARGEST_BATCH)


def work(posterior: TemperedPosterior) -> int:
    """Say what a gradient costs: dimension times data."""
    return max(posterior.dimension * len(posterior.weights), 1)


def scouting_effort(posterior: TemperedPosterior) -> int:
    """Say how hard XLA should optimise a program that runs some ten times."""
    return 0 if work(posterior) <= _SMALL else 1
