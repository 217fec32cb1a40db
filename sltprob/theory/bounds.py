"""Upper bounds on lambda-hat by counting Hermite modes.

The readout of ``f = sum_i a_i phi(w_i x)`` integrates out (see `sltprob.collapsed`), which leaves
``lambda_hat = E_w[1/2 sum_k g(mu_k)]`` with ``g(t) = 2 beta sigma^2 t / (1 + 2 beta sigma^2 t)``
and mu the eigenvalues of the Gram matrix. The same sum is the trace of a concave function of
``A = C^T C``, C the Hermite coefficients ``c_k(w_i)``. The diagonal of a matrix is majorised by its
spectrum (Schur-Horn), so ``sum_k g(mu_k) <= sum_k g(A_kk)``: as if the modes were independent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sltprob.exact import check_beta
from sltprob.theory.hermite import coefficients
from sltprob.theory.kernel import spectrum_of_modes

__all__ = ["ModeBound", "crude_count", "highest_mode", "mode_bound"]

type Array = NDArray[np.float64]


@dataclass(frozen=True)
class ModeBound:
    """Hold the mode bound at one inverse temperature."""

    beta: float
    value: float  # the bound, averaged over w given beta
    mcse: float  # Standard error of `value`
    lambda_hat: float  # Lambda-hat itself from the same draws, for comparison
    # Effective number of draws of w; below some dozens w has left its prior, and the averages are
    # not to be used
    effective_draws: float


def crude_count(beta: float) -> float:
    """Count the odd modes above the resolution as the claim does: ``(log beta / pi)^2 / 4``.

    References
    ----------
    Hille, E. (1940). Contributions to the theory of Hermitian series II. Transactions of the AMS
    47, 80-94.
    """
    return 0.25 * (math.log(check_beta(beta)) / math.pi) ** 2


def highest_mode(beta: float, largest_slope: float = 1.0) -> int:
    """Choose a mode beyond which all modes together are not resolved at beta.

    References
    ----------
    Hille, E. (1940). Contributions to the theory of Hermitian series II. Transactions of the AMS
    47, 80-94.
    """
    if not (0 < beta < math.inf and 0 < largest_slope < math.inf):
        raise ValueError(f"beta={beta!r}, largest_slope={largest_slope!r}: both must be above 0.")
    root = (max(0.0, math.log(beta)) + 12.0) * max(1.0, largest_slope) / math.pi
    return max(25, math.ceil(root**2))


def mode_bound(
    betas: Sequence[float],
    slopes: ArrayLike,
    *,
    readout_scale: float = 1.0,
    activation: str = "tanh",
) -> tuple[ModeBound, ...]:
    """Compute the bound ``1/2 E_w sum_k 2 beta sigma^2 A_kk / (1 + 2 beta sigma^2 A_kk)``.

    The average is over the density of w at beta, by importance weights from draws of the prior.

    References
    ----------
    Marshall, A. W., Olkin, I. and Arnold, B. C. (2011). Inequalities: Theory of Majorization and
    Its Applications, 2nd ed., Springer, 9.B.1 (Schur) and 3.C.1.
    """
    w = np.asarray(slopes, dtype=float)
    if w.ndim != 2 or len(w) < 2 or not len(betas) or not 0 < readout_scale < math.inf:
        raise ValueError(
            f"slopes have shape {w.shape}, betas={list(betas)!r}, readout_scale={readout_scale!r}: "
            "slopes must have the shape (draws, h), two draws or more, and there must be a beta."
        )
    order = highest_mode(max(betas) * readout_scale**2 * w.shape[1], float(np.abs(w).max()))
    diagonals, spectra = [], []
    for row in w:
        modes = coefficients(row, order, activation)
        modes = modes[:, np.any(modes != 0, axis=0)]
        diagonals.append(np.sum(modes**2, axis=0))
        spectra.append(spectrum_of_modes(modes))
    size = max(len(row) for row in diagonals)
    traces = np.array([np.pad(row, (0, size - len(row))) for row in diagonals])
    squares = np.array([np.pad(row, (0, size - len(row))) for row in spectra])
    return tuple(_bound_at(beta, traces, squares, readout_scale) for beta in betas)


def _bound_at(beta: float, diagonals: Array, squares: Array, readout_scale: float) -> ModeBound:
    check_beta(beta)
    factor = 2.0 * beta * readout_scale**2
    energies = 0.5 * np.log1p(factor * squares).sum(axis=1)
    shares = np.exp(energies.min() - energies)
    shares /= shares.sum()
    bounds = 0.5 * (factor * diagonals / (1.0 + factor * diagonals)).sum(axis=1)
    lambdas = 0.5 * (factor * squares / (1.0 + factor * squares)).sum(axis=1)
    value = float(shares @ bounds)
    return ModeBound(
        beta=float(beta),
        value=value,
        mcse=math.sqrt(float(np.sum((shares * (bounds - value)) ** 2))),
        lambda_hat=float(shares @ lambdas),
        effective_draws=1.0 / float(shares @ shares),
    )
