"""Free energy by thermodynamic integration, and how it grows with log beta.

``F(beta) - F(beta_0) = integral lambda_hat d log beta``: what a ladder of measurements of
lambda-hat says about the marginal likelihood. If lambda-hat is a polynomial of degree p in log
beta, F is one of degree p + 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline

__all__ = ["PolynomialFit", "ThermodynamicIntegral", "polynomial_fits", "thermodynamic_integral"]

type Array = NDArray[np.float64]

_DEGREES = (1, 2, 3)


@dataclass(frozen=True, eq=False)
class ThermodynamicIntegral:
    """Hold F along a ladder of inverse temperatures."""

    betas: Array  # shape (n,), dimensionless
    free_energies: Array  # shape (n,), nats
    # Shape (n,), nats: Standard errors propagated from those of lambda-hat, as if these were
    # independent
    mcse: Array
    # Shape (n,), nats: Error of the rule, estimated from above: the change when every second rung
    # is left out
    interpolation: Array


@dataclass(frozen=True)
class PolynomialFit:
    """A polynomial in log beta, fitted by weighted least squares."""

    degree: int
    coefficients: tuple[float, ...]  # Lowest power first
    # Standard errors, scaled so that chi-squared is one per degree of freedom where it is larger
    errors: tuple[float, ...]
    residual: float  # Root mean square of the residuals, in the unit of the values
    largest: float  # Largest residual, relative to the largest value


def thermodynamic_integral(
    betas: Sequence[float] | Array,
    lambda_hats: ArrayLike,
    mcse: ArrayLike,
    *,
    start: float = 0.0,
    start_mcse: float = 0.0,
) -> ThermodynamicIntegral:
    """Integrate lambda-hat over log beta, with the errors of the measurements.

    Notes
    -----
    The integral of the not-a-knot cubic spline is linear in the measurements, so their errors
    propagate exactly. Values from the same random numbers (the exact curve by importance sampling)
    have correlated errors, which these do not know of.

    References
    ----------
    Lartillot, N. and Philippe, H. (2006). Computing Bayes factors using thermodynamic integration.
    Systematic Biology 55, 195-207.
    Calderhead, B. and Girolami, M. (2009). Estimating Bayes factors via thermodynamic integration
    and population MCMC. Computational Statistics & Data Analysis 53, 4028-4045.
    """
    ladder, values, errors = (np.asarray(item, dtype=float) for item in (betas, lambda_hats, mcse))
    if ladder.ndim != 1 or len(ladder) < 4 or not (values.shape == errors.shape == ladder.shape):
        raise ValueError(
            f"betas, lambda_hats and mcse have shapes {ladder.shape}, {values.shape}, "
            f"{errors.shape}, but all must be (n,) with n of at least 4."
        )
    finite = np.isfinite(ladder) & np.isfinite(values) & np.isfinite(errors)
    if not finite.all() or not (ladder > 0).all() or not (np.diff(ladder) > 0).all():
        raise ValueError("betas must be above 0 and increase, and every value must be finite.")
    logs = np.log(ladder)
    matrix = _integration_matrix(logs)
    energies = start + matrix @ values
    return ThermodynamicIntegral(
        ladder,
        energies,
        np.sqrt(start_mcse**2 + matrix**2 @ errors**2),
        _rule_error(logs, values, matrix @ values),
    )


def _integration_matrix(logs: Array) -> Array:
    """Give the matrix that maps values on the ladder to their integrals from its first rung."""
    splines = CubicSpline(logs, np.eye(len(logs)), axis=0).antiderivative()
    matrix: Array = splines(logs) - splines(logs[0])
    return matrix


def _rule_error(logs: Array, values: Array, integrals: Array) -> Array:
    chosen = np.union1d(np.arange(0, len(logs), 2), [len(logs) - 1])
    if len(chosen) < 4:
        return np.abs(integrals - _trapezoid(logs, values))
    coarse = CubicSpline(logs[chosen], values[chosen]).antiderivative()
    # Not divided by the 15 of a fourth-order rule: lambda-hat has a step for each mode that gets
    # resolved, and a ladder coarser than these steps is not yet in that regime.
    error: Array = np.abs(coarse(logs) - coarse(logs[0]) - integrals)
    return error


def _trapezoid(logs: Array, values: Array) -> Array:
    pieces = 0.5 * np.diff(logs) * (values[1:] + values[:-1])
    return np.concatenate([[0.0], np.cumsum(pieces)])


def polynomial_fits(
    betas: Sequence[float] | Array,
    values: ArrayLike,
    errors: ArrayLike,
) -> tuple[PolynomialFit, ...]:
    """Fit polynomials in log beta, to tell a quadratic from a cubic.

    References
    ----------
    Draper, N. R. and Smith, H. (1998). Applied Regression Analysis, 3rd ed., Wiley.
    """
    logs, data = np.log(np.asarray(betas, dtype=float)), np.asarray(values, dtype=float)
    spread = np.asarray(errors, dtype=float)
    if len(logs) < max(_DEGREES) + 2 or data.shape != logs.shape or spread.shape != logs.shape:
        raise ValueError(
            f"{len(logs)} points do not serve for degree {max(_DEGREES)}: it takes "
            f"{max(_DEGREES) + 2}, with a value and an error each."
        )
    weights = 1.0 / spread if (spread > 0).all() else np.ones_like(data)
    fits = []
    for degree in _DEGREES:
        design = logs[:, None] ** np.arange(degree + 1) * weights[:, None]
        found = np.linalg.lstsq(design, weights * data, rcond=None)[0]
        misfit = weights * data - design @ found
        freedom = len(logs) - degree - 1
        scale = float(misfit @ misfit) / freedom
        covariance = np.linalg.inv(design.T @ design)
        if (spread > 0).all():
            scale = max(1.0, scale)
        residuals = data - logs[:, None] ** np.arange(degree + 1) @ found
        fits.append(
            PolynomialFit(
                degree,
                tuple(float(value) for value in found),
                tuple(float(value) for value in np.sqrt(scale * np.diagonal(covariance))),
                float(np.sqrt(np.mean(residuals**2))),
                float(np.abs(residuals).max() / np.abs(data).max()),
            )
        )
    return tuple(fits)
