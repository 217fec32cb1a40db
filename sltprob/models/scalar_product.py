"""The square of a scalar product: a quadric cone of zeros in 2p dimensions."""

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

__all__ = ["ScalarProduct"]


@dataclass(frozen=True, kw_only=True)
class ScalarProduct(LossOnly):
    """A cone L = (Σ a_i w_i)² in R^(2p), with a_i, w_i ~ N(0, 1).

    Parameters
    ----------
    size : int
        Number p of pairs.

    References
    ----------
    .. [1] V. I. Arnold, S. M. Gusein-Zade, A. N. Varchenko, Singularities of Differentiable
       Maps II (Birkhäuser, 1988), chapter 7: a non-degenerate quadratic form in n > 2 variables
       has log canonical threshold 1, so its square has λ = ½.
    .. [2] NIST Digital Library of Mathematical Functions, section 13.4: Z = x^(p/2)
       U(p/2, (p+1)/2, x), x = 1/(4β).
    """

    size: Annotated[int, whole(1)] = 5

    def program(self, y: Any = None) -> None:  # type: ignore[override]
        """Run the NumPyro program."""
        prior = dist.Normal(0.0, 1.0).expand((self.size,)).to_event(1)
        a = numpyro.sample("a", prior)
        w = numpyro.sample("w", prior)
        self.observe_root(jnp.sum(a * w), y)

    def optimum(self) -> dict[str, Any]:
        """Give the tip of the cone."""
        return {"a": np.zeros(self.size), "w": np.zeros(self.size)}

    def truth(self) -> Truth:
        """State λ = ½, m = 2 for p = 1 and m = 1 else."""
        return Truth(
            Fraction(1, 2),
            2 if self.size == 1 else 1,
            "square of a quadratic form; Arnold et al. 1988",
        )

    def _exact(self, beta: float, tolerance: float) -> Exact:
        """Compute λ̂ and F: given w, L is |w|² z² with z ~ N(0, 1), a product of two χ²."""

        def log_moment(s: np.ndarray) -> np.ndarray:
            total = -2 * s * math.log(2)
            for half in (0.5, self.size / 2):
                total = total + special.loggamma(half - s) - special.gammaln(half)
            return total

        integral = mellin_barnes(beta, log_moment, 0.5)
        return as_exact(beta, integral, "Mellin-Barnes integral of a product of two χ²")
