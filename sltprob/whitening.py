"""The linear map that turns the posterior of a ridge regression into a standard normal.

A vector α ~ N(0, I) that is seen through t = B α + noise of unit variance has the posterior
N(m, (I + BᵀB)⁻¹). With A Aᵀ = (I + BᵀB)⁻¹ the coordinates z of α = m + A z are N(0, I), whatever
B is. BᵀB is never formed: B can reach 10⁶ and more, and its square would lose the directions
that the data do not see. The QR decomposition of [B; I] or [Bᵀ; I], whichever is narrower, has
all that is needed, inverses included.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular

__all__ = ["colour", "expected_misfit", "log_evidence", "whiten"]


class _Factors(NamedTuple):
    """The decomposition [C; I] = [Q₁; Q₂] R with a positive diagonal, C = Bᵀ if B is wide.

    Then RᵀR = I + CᵀC, R⁻¹ = Q₂ and C R⁻¹ = Q₁.
    """

    q1: Any
    q2: Any
    r: Any


def _is_wide(b: Any) -> bool:
    return bool(b.shape[0] < b.shape[1])


def _factorise(b: Any) -> _Factors:
    tall = b.T if _is_wide(b) else b
    rows, columns = tall.shape
    q, r = jnp.linalg.qr(jnp.concatenate([tall, jnp.eye(columns, dtype=b.dtype)]))
    signs = jnp.sign(jnp.diagonal(r))
    q = q * signs[None, :]
    return _Factors(q[:rows], q[rows:], r * signs[:, None])


def _fit(b: Any, t: Any, factors: _Factors) -> tuple[Any, Any]:
    """Give the mean m and the residual t - B m."""
    q1, q2, _ = factors
    if _is_wide(b):
        projected = q2.T @ t
        return q1 @ projected, q2 @ projected
    projected = q1.T @ t
    return q2 @ projected, t - q1 @ projected


def _log_evidence(b: Any, t: Any) -> tuple[Any, _Factors, Any, Any]:
    factors = _factorise(b)
    mean, residual = _fit(b, t, factors)
    log_root = jnp.sum(jnp.log(jnp.diagonal(factors.r)))
    # Least at the exact mean, so that an error of the mean enters by its square.
    value = -log_root - 0.5 * (residual @ residual + mean @ mean)
    return value, factors, mean, residual


@jax.custom_jvp
def log_evidence(b: Any, t: Any) -> Any:
    """Evaluate log ∫ N(α; 0, I) exp(-½|t - B α|²) dα = -½ log det(I + B Bᵀ) - ½ tᵀ(I + B Bᵀ)⁻¹t.

    References
    ----------
    .. [1] Å. Björck, "Numerical Methods for Least Squares Problems" (SIAM, 1996), section 2.7
       (regularised problems by QR).
    """
    return _log_evidence(b, t)[0]


@log_evidence.defjvp
def _log_evidence_derivative(primals: Any, tangents: Any) -> Any:
    (b, t), (db, dt) = primals, tangents
    value, (q1, q2, _), mean, residual = _log_evidence(b, t)
    # (I + B Bᵀ)⁻¹ B, of norm at most one half. Through the QR, it would be ten times the time.
    shrunk = q2 @ q1.T if _is_wide(b) else q1 @ q2.T
    slope = residual[:, None] * mean[None, :] - shrunk
    return value, jnp.sum(slope * db) - residual @ dt


def expected_misfit(b: Any, t: Any) -> Any:
    """Evaluate E|t - B α|² = |t - B m|² + tr B (I + BᵀB)⁻¹ Bᵀ under the posterior.

    References
    ----------
    .. [1] Å. Björck, "Numerical Methods for Least Squares Problems" (SIAM, 1996), section 2.7
       (regularised problems by QR).
    """
    tall = b.T if _is_wide(b) else b
    columns = tall.shape[1]
    identity = jnp.eye(columns, dtype=b.dtype)
    r = jnp.linalg.qr(jnp.concatenate([tall, identity]), mode="r")
    inverse = solve_triangular(r, identity)
    # tr B (I + BᵀB)⁻¹ Bᵀ = tr (I - (I + CᵀC)⁻¹), the same for B and for its transpose.
    spread = columns - jnp.sum(inverse**2)
    if _is_wide(b):
        residual = inverse @ (inverse.T @ t)
    else:
        residual = t - b @ (inverse @ (inverse.T @ (b.T @ t)))
    return residual @ residual + spread


def colour(b: Any, t: Any, z: Any) -> Any:
    """Map standard normal coordinates to the posterior: α = m + A z.

    References
    ----------
    .. [1] A. Andrews, "A square root formulation of the Kalman covariance equations", AIAA
       Journal 6 (1968) 1165-1166: A = I - Bᵀ S⁻ᵀ (S + I)⁻¹ B with S Sᵀ = I + B Bᵀ.
    """
    factors = _factorise(b)
    mean, _ = _fit(b, t, factors)
    q1, q2, r = factors
    if not _is_wide(b):
        return mean + q2 @ z
    # (S + I)⁻¹ B = (I - (S + I)⁻¹) Q₁ᵀ, with S = Rᵀ: B z itself is large, and its rounding would be
    # amplified by |B| once more in the directions that the data see best.
    seen = q1.T @ z
    return mean + z - q1 @ (seen - solve_triangular(r + jnp.eye(len(r)), seen, trans="T"))


def whiten(b: Any, t: Any, alpha: Any) -> Any:
    """Map the posterior to standard normal coordinates: the inverse of `colour`."""
    factors = _factorise(b)
    mean, _ = _fit(b, t, factors)
    moved = alpha - mean
    if not _is_wide(b):
        return factors.r @ moved
    # Woodbury's identity: (I - Bᵀ S⁻ᵀ (S + I)⁻¹ B)⁻¹ = I + Bᵀ (Sᵀ + I)⁻¹ B.
    return moved + b.T @ solve_triangular(factors.r + jnp.eye(len(factors.r)), b @ moved)
