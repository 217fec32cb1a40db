"""A short basis of the inputs for the features of most draws: it makes every evaluation cheaper."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Basis", "find_basis"]

type Array = NDArray[np.float64]

#: What leaving out features outside of the basis may do to log det, per draw.
LARGEST_RESIDUAL = 1e-4
NUM_PROBES = 8


@dataclass(frozen=True, eq=False)
class Basis:
    """Hold an orthonormal basis of the node axis, in order of importance, to be cut at some ranks.

    The features of many units span far fewer directions than there are nodes, so everything after
    the features themselves becomes cheaper. With R the part of T that is left out, ``0 <= log det -
    log det_kept <= 2 beta sigma^2 |R|^2``; ``|R|^2`` is measured for every draw, its part outside
    of the largest rank by a few random directions (columns at the end of `projection`), which
    estimate it to within a small factor.
    """

    projection: Array  # shape (Q, columns)
    ranks: tuple[int, ...]
    factor: float  # ``2 beta sigma^2`` at the largest beta

    @property
    def size(self) -> int:
        """Number of columns."""
        return int(self.projection.shape[1])

    def tiers(self, coordinates: Array) -> NDArray[np.int64]:
        """Give the first rank that holds each draw."""
        energies = np.sum(coordinates**2, axis=1)
        left_out = np.stack([energies[:, rank:].sum(axis=1) for rank in self.ranks])
        return np.sum(~(self.factor * left_out <= LARGEST_RESIDUAL), axis=0)


def find_basis(pilot: Array, factor: float) -> Basis | None:
    """Find the basis of the features of some draws.

    References
    ----------
    Halko, N., Martinsson, P. G. and Tropp, J. A. (2011). Finding structure with randomness. SIAM
    Review 53, 217-288 (error of a basis from random probes).
    """
    num_nodes = pilot.shape[2]
    held_out = np.arange(len(pilot)) % 4 == 0
    rows = pilot[~held_out].reshape(-1, num_nodes)
    directions = np.linalg.svd(np.linalg.qr(rows, mode="r"))[2]
    # Per held-out draw, the square of what is left out if the first r directions are kept.
    energies = np.sum((pilot[held_out] @ directions.T) ** 2, axis=1)
    left_out = np.cumsum(energies[:, ::-1], axis=1)[:, ::-1]
    # Not the maximum: rare draws beyond the others go to the next tier.
    small = factor * np.quantile(left_out, 0.9, axis=0) <= 0.1 * LARGEST_RESIDUAL
    rank = int(np.argmax(small)) if small.any() else num_nodes
    if rank > 0.7 * num_nodes:
        return None
    ranks = (rank, min(2 * rank + 8, num_nodes - 1))
    kept = directions[: ranks[-1]].T
    probes = np.random.default_rng(1).standard_normal((num_nodes, NUM_PROBES))
    probes -= kept @ (kept.T @ probes)
    return Basis(np.concatenate([kept, probes / math.sqrt(NUM_PROBES)], axis=1), ranks, factor)
