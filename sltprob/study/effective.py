"""Effective theories: the tanh network whose loss sees only the first modes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.polynomial import chebyshev

from sltprob import collapsed
from sltprob.exact import Exact
from sltprob.models._embedding import EmbeddingPrior
from sltprob.theory.hermite import coefficients

__all__ = ["truncated"]


def truncated(
    beta: float,
    modes: int,
    *,
    width: int = 128,
    embedding_prior: str = "uniform[1]",
    readout_scale: float = 1.0,
    activation: str = "tanh",
    tolerance: float = 0.02,
    seed: int = 0,
) -> Exact:
    """Compute lambda-hat of the loss truncated to the Hermite modes up to k.

    The loss is ``L_K = sum_{k <= K} (sum_i a_i c_k(w_i))^2``: what is left of ``E f^2`` if modes
    above K are invisible.

    Parameters
    ----------
    beta : float, dimensionless
    modes : int
        K, the largest mode that the loss sees.
    width, embedding_prior, readout_scale, activation
        As of the model ``network``.
    tolerance : float, dimensionless
    seed : int

    Returns
    -------
    Exact

    Raises
    ------
    ValueError
        If an option is out of range.
    PrecisionError
        As in `sltprob.collapsed.exact`.

    References
    ----------
    .. [1] S. Watanabe, Algebraic Geometry and Statistical Learning Theory (Cambridge, 2009).
    """
    if modes < 1:
        raise ValueError(f"modes={modes}: the loss must see one mode or more, such as 5")
    prior = EmbeddingPrior.parse(embedding_prior)
    table = _Table(prior.largest(width), modes, activation)
    return collapsed.exact(
        beta,
        draw_prior=lambda generator, count: prior.draw(generator, (count, width)),
        log_prior=lambda w: prior.log_prob(w).sum(axis=-1),
        features=table.features,
        readout_scale=readout_scale,
        tolerance=tolerance,
        seed=seed,
    )


class _Table:
    """Evaluate c_k(w) for many w, by interpolation in w of the modes that do not vanish."""

    def __init__(self, largest: float, order: int, activation: str) -> None:
        # A prior without bound: beyond, the weight counts as the largest one.
        self._largest = 1.5 * largest
        # The coefficients are analytic in w with scales of order one.
        degree = 96 + round(64 * self._largest)
        nodes = np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))
        values = coefficients(self._largest * nodes, order, activation)
        kept = np.flatnonzero(np.abs(values).max(axis=0))
        self._series = chebyshev.chebfit(nodes, values[:, kept], degree)

    def features(self, w: np.ndarray) -> np.ndarray:
        """Give T of shape (n, h, modes) for w of shape (n, h)."""
        x = np.clip(w / self._largest, -1.0, 1.0)
        return np.moveaxis(chebyshev.chebval(x, self._series), 0, -1)


def truncation_table(
    beta: float, cuts: Sequence[int], *, width: int = 128, embedding_prior: str = "uniform[1]"
) -> list[Exact]:
    """Compute lambda-hat at one beta for several truncations.

    Parameters
    ----------
    beta : float, dimensionless
    cuts : sequence of int
    width : int
    embedding_prior : str

    Returns
    -------
    list of Exact

    Raises
    ------
    ValueError
        As in `truncated`.

    References
    ----------
    .. [1] S. Watanabe, Algebraic Geometry and Statistical Learning Theory (Cambridge, 2009).
    """
    return [truncated(beta, cut, width=width, embedding_prior=embedding_prior) for cut in cuts]
