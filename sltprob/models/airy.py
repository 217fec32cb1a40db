"""A cubic with a linear term, on the half line: the potential of Airy's function."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any

import numpy as np
import numpyro

from sltprob.exact import Exact
from sltprob.models._integrals import Well, as_exact, wells
from sltprob.models._loss_only import LossOnly
from sltprob.models._potential import FlatHalfLine
from sltprob.models.base import Truth
from sltprob.spec import finite

__all__ = ["Airy"]


@dataclass(frozen=True, kw_only=True)
class Airy(LossOnly):
    """A cubic L = w³/3 + slope w on w > 0, with a flat prior.

    With a small positive slope, λ̂ is ⅓ (the cubic's) as long as β << slope^-3/2, and 1 (a minimum
    at a wall) beyond. With a negative slope the minimum is inside. The flat prior is improper;
    chains that start "from the prior" start from a half-normal of scale 2, and the free energy
    is undefined.

    Parameters
    ----------
    slope : float, dimensionless
        Coefficient of w.

    References
    ----------
    .. [1] NIST Digital Library of Mathematical Functions, section 9.12: Z is β^(-1/3) π
       Hi(-slope β^(2/3)), Hi the Scorer function.
    """

    slope: Annotated[float, finite()] = 0.01

    @property
    def _minimum(self) -> float:
        return math.sqrt(max(0.0, -self.slope))

    @property
    def minimum_loss(self) -> float:
        """0, or -2/3 |slope|^(3/2) for a negative slope."""
        return -2 / 3 * self._minimum**3

    def program(self, y: Any = None) -> None:  # type: ignore[override]
        """Run the NumPyro program."""
        w = numpyro.sample("w", FlatHalfLine(1))[0]
        self.observe(w * (w * w / 3 + self.slope), y)

    def optimum(self) -> dict[str, Any]:
        """Give the minimum, or a point as close to the wall as has a finite logarithm."""
        return {"w": np.array([max(self._minimum, 1e-100)])}

    def truth(self) -> Truth:
        """State λ = 1, ⅓ or ½ for a positive, zero or negative slope; m = 1."""
        value = Fraction(1) if self.slope > 0 else Fraction(1, 2)
        if self.slope == 0:
            value = Fraction(1, 3)
        return Truth(value, 1, "order of vanishing at the minimum, or at the wall")

    def _exact(self, beta: float, tolerance: float) -> Exact:
        """Compute λ̂ by Gauss-Legendre quadrature on panels graded towards the minimum."""
        c = self._minimum
        taylor = (max(0.0, self.slope), c, 1 / 3)
        integral = wells(beta, [Well(0.0, taylor, c, math.inf)])
        return as_exact(beta, integral, "quadrature on graded panels", improper=True)
