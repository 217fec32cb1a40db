"""A quartic with a quadratic and a linear term: the potential of Pearcey's function."""

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
from sltprob.models._potential import Flat
from sltprob.models.base import Truth
from sltprob.spec import finite

__all__ = ["Pearcey"]


@dataclass(frozen=True, kw_only=True)
class Pearcey(LossOnly):
    """A quartic L = w⁴/4 + quadratic w²/2 + linear w on the line, with a flat prior.

    With a small positive quadratic term, λ̂ is ¼ (the quartic's) as long as β << quadratic^-2, and
    ½ beyond: a soft width that looks like a singularity. With a negative one there are two wells.
    The flat prior is improper; chains that start "from the prior" start from N(0, 2²), and the
    free energy is undefined.

    Parameters
    ----------
    quadratic : float, dimensionless
        Coefficient of w²/2.
    linear : float, dimensionless
        Coefficient of w; it tilts the wells.

    References
    ----------
    .. [1] T. Pearcey, "The structure of an electromagnetic field in the neighbourhood of a cusp
       of a caustic", Philosophical Magazine 37 (1946) 311-317.
    .. [2] NIST Digital Library of Mathematical Functions, chapter 36.
    """

    quadratic: Annotated[float, finite()] = 0.01
    linear: Annotated[float, finite()] = 0.0

    def _loss(self, w: Any) -> Any:
        return w * w * (w * w / 4 + self.quadratic / 2) + self.linear * w

    @property
    def _extrema(self) -> tuple[list[float], list[float]]:
        """The minima, and the maximum between them if there is one, in increasing order."""
        roots = np.roots([1.0, 0.0, self.quadratic, self.linear])
        if -4 * self.quadratic**3 - 27 * self.linear**2 > 0:
            left, middle, right = (self._polish(root) for root in np.sort(roots.real))
            return [left, right], [middle]
        if self.linear == 0:
            return [0.0], []
        # The one minimum is on the other side of 0 than the tilt; a complex or a double root (an
        # inflection) is on the same side, as the roots sum to 0.
        return [self._polish(max(roots.real, key=lambda root: -self.linear * root))], []

    def _polish(self, root: float) -> float:
        """Improve a root of the derivative by Newton steps."""
        for _ in range(3):
            slope = 3 * root**2 + self.quadratic
            if slope:
                root -= (root**3 + self.quadratic * root + self.linear) / slope
        return float(root)

    @property
    def minimum_loss(self) -> float:
        """The least value of the loss over the minima."""
        return min(float(self._loss(w)) for w in self._extrema[0])

    def program(self, y: Any = None) -> None:  # type: ignore[override]
        """Run the NumPyro program."""
        w = numpyro.sample("w", Flat(1))
        self.observe(self._loss(w[0]), y)

    def optimum(self) -> dict[str, Any]:
        """Give a minimum of least loss."""
        return {"w": np.array([min(self._extrema[0], key=self._loss)])}

    def truth(self) -> Truth:
        """State λ = ¼ for the pure quartic and ½ else, m = 1."""
        value = Fraction(1, 4) if self.quadratic == 0 == self.linear else Fraction(1, 2)
        return Truth(value, 1, "order of vanishing at the global minimum")

    def _exact(self, beta: float, tolerance: float) -> Exact:
        """Compute λ̂ by Gauss-Legendre quadrature on panels graded towards each minimum."""
        minima, maxima = self._extrema
        edges = [-math.inf, *maxima, math.inf]
        found = []
        for c, left, right in zip(minima, edges[:-1], edges[1:], strict=True):
            taylor = (0.0, (3 * c * c + self.quadratic) / 2, c, 0.25)
            height = float(self._loss(c)) - self.minimum_loss
            found.append(Well(height, taylor, c - left, right - c))
        return as_exact(beta, wells(beta, found), "quadrature on graded panels", improper=True)
