"""A power of the distance to one point."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from scipy import special

from sltprob.exact import Exact
from sltprob.models._integrals import as_exact, mellin_barnes
from sltprob.models._loss_only import LossOnly
from sltprob.models.base import Truth
from sltprob.spec import whole

__all__ = ["Radial"]


@dataclass(frozen=True, kw_only=True)
class Radial(LossOnly):
    """A radial loss L = |w|^(2q) in R^d, with w_j ~ N(0, 1).

    Parameters
    ----------
    dimension : int
        d.
    power : int
        q.

    References
    ----------
    .. [1] V. I. Arnold, S. M. Gusein-Zade, A. N. Varchenko, Singularities of Differentiable
       Maps II (Birkhäuser, 1988), chapter 7 (quasi-homogeneous functions): λ = d/(2q).
    """

    dimension: Annotated[int, whole(1)] = 3
    power: Annotated[int, whole(1)] = 2

    def program(self, y: Any = None) -> None:  # type: ignore[override]
        """Run the NumPyro program."""
        w = numpyro.sample("w", dist.Normal(0.0, 1.0).expand((self.dimension,)).to_event(1))
        self.observe(jnp.sum(w * w) ** self.power, y)

    def optimum(self) -> dict[str, Any]:
        """Give w = 0."""
        return {"w": np.zeros(self.dimension)}

    def truth(self) -> Truth:
        """State λ = d/(2q), m = 1."""
        return Truth(Fraction(self.dimension, 2 * self.power), 1, "homogeneous; Arnold et al. 1988")

    def _exact(self, beta: float, tolerance: float) -> Exact:
        """Compute λ̂ and F by the Mellin-Barnes integral: L is the q-th power of a χ²."""
        half, q = self.dimension / 2, self.power

        def log_moment(s: np.ndarray) -> np.ndarray:
            gammas = special.loggamma(half - q * s) - special.gammaln(half)
            return gammas - q * s * math.log(2)

        integral = mellin_barnes(beta, log_moment, half / q)
        return as_exact(beta, integral, "Mellin-Barnes integral of a power of χ²")
