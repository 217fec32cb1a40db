"""Which inverse temperatures a precision can resolve."""

from __future__ import annotations

import math

import jax.numpy as jnp

__all__ = ["checked_beta"]

# Rounding of beta*L that is still far below the statistical error of any run.
_LARGEST_ROUNDING = 0.01


def checked_beta(beta: float) -> float:
    """Refuse a beta that is not positive and finite, or that float32 cannot resolve."""
    try:
        beta = float(beta)
    except (TypeError, ValueError):
        raise ValueError(f"beta={beta!r}: it must be a positive number, such as 1e4") from None
    if not 0 < beta < math.inf:
        raise ValueError(f"beta={beta:g}: it must be positive and finite, such as 1e4")
    precision = jnp.finfo(jnp.zeros(()).dtype)
    if precision.bits < 64 and beta * float(precision.eps) > _LARGEST_ROUNDING:
        raise ValueError(
            f"float32 resolves beta*L only to {beta * float(precision.eps):.2g} at "
            f"beta={beta:g} (limit {_LARGEST_ROUNDING}); use beta <= "
            f"{_LARGEST_ROUNDING / float(precision.eps):.2g}, or write numpyro.enable_x64() "
            "before anything else (--dtype float64 on the command line)"
        )
    return beta
