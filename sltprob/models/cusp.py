"""A cusp: zeros on the curve w1² = w2³, singular at the origin."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any

import numpy as np
import numpyro
import numpyro.distributions as dist
from scipy import special

from sltprob.exact import Exact
from sltprob.models._integrals import as_exact, log_trapezoid
from sltprob.models._loss_only import LossOnly
from sltprob.models.base import Truth
from sltprob.spec import whole

__all__ = ["Cusp"]

# Spacing of the inner rule; its error is about exp(-2π²/0.4) = 4e-22.
_INNER_STEP = 0.4
# In units where the inner Gaussian has unit width: beyond it exp(-x²/2) is below rounding.
_REACH = 12.0


@dataclass(frozen=True, kw_only=True)
class Cusp(LossOnly):
    """A cusp L = (w1² - w2^power)², with w1, w2 ~ N(0, 1).

    Parameters
    ----------
    power : int
        2 for two crossing lines, 3 for the cusp, more for its sharper relatives.

    References
    ----------
    .. [1] V. I. Arnold, S. M. Gusein-Zade, A. N. Varchenko, Singularities of Differentiable
       Maps II (Birkhäuser, 1988), chapter 7: x² - y^q has log canonical threshold
       min(1, 1/2 + 1/q); the square halves it.
    """

    power: Annotated[int, whole(2)] = 3

    def program(self, y: Any = None) -> None:  # type: ignore[override]
        """Run the NumPyro program."""
        w = numpyro.sample("w", dist.Normal(0.0, 1.0).expand((2,)).to_event(1))
        self.observe_root(w[0] ** 2 - w[1] ** self.power, y)

    def optimum(self) -> dict[str, Any]:
        """Give the origin."""
        return {"w": np.zeros(2)}

    def truth(self) -> Truth:
        """State λ = 1/4 + 1/(2q), 5/12 for the cusp; m = 2 for q = 2, else 1."""
        q = self.power
        return Truth(
            Fraction(q + 2, 4 * q), 2 if q == 2 else 1, "weighted homogeneous; Arnold et al. 1988"
        )

    def _exact(self, beta: float, tolerance: float) -> Exact:
        """Compute λ̂ and F by two nested trapezoidal rules in resolved coordinates."""
        # ∫ dw1 at w2 = ±exp(u), cached for the two functions that the outer rule asks for.
        found: dict[int, tuple[np.ndarray, np.ndarray]] = {}

        def inner(u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            if u.size not in found:
                sizes = np.exp(self.power * u)
                sides = [_given_second(beta, sizes)]
                sides.append(
                    _given_second(beta, -sizes) if self.power % 2 else _given_second(beta, sizes)
                )
                logs = np.stack([log_z for log_z, _ in sides])
                total = special.logsumexp(logs, axis=0)
                mean = sum(np.exp(log_z - total) * energy for (log_z, energy) in sides)
                gaussian = u - np.exp(2 * u) / 2 - 0.5 * math.log(2 * math.pi)
                found[u.size] = total + gaussian, np.asarray(mean)
            return found[u.size]

        integral = log_trapezoid(
            lambda u: inner(u)[0],
            lambda u: inner(u)[1],
            -42.0 - 0.1 * max(0.0, math.log(beta)),
            math.log(13.0),
            step=0.1 / self.power,
        )
        return as_exact(beta, integral, "two-dimensional quadrature in resolved coordinates")


def _given_second(beta: float, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Integrate over w1 ~ N(0, 1) at c = w2^q: the log of E exp(-β (w1² - c)²), and E[β L].

    With s = √(2β) w1² the integrand is a Gaussian of unit width around s0 = √(2β) c, times
    s^(-1/2). s = log(1 + exp(τ)) is logarithmic near 0 and linear far from it, so that equally
    spaced τ resolve both ends.
    """
    root = math.sqrt(2 * beta)
    centre = root * c
    decay = 1 / (2 * root)
    constant = -0.5 * math.log(2 * math.pi) - 0.25 * math.log(2 * beta)
    logs = np.full(c.shape, -np.inf)
    energies = np.zeros(c.shape)

    near = (centre <= 50) & (centre > -3 * _REACH)
    tau = np.arange(-90.0, 50 + _REACH, _INNER_STEP)
    s = np.logaddexp(0.0, tau)
    fixed = -0.5 * np.log(s) + special.log_expit(tau) - decay * s + math.log(_INNER_STEP)
    for chunk in np.array_split(np.flatnonzero(near), 1 + near.sum() // 500):
        energy = (s - centre[chunk, None]) ** 2 / 2
        logs[chunk], energies[chunk] = _mean(fixed - energy, energy)

    far = np.flatnonzero(centre > 50)
    offset = np.arange(-_REACH, _REACH + _INNER_STEP / 2, _INNER_STEP)
    # Here s = τ, and the offset is kept apart from s0: their sum would lose its digits.
    s = centre[far, None] + offset
    energy = np.broadcast_to(offset**2 / 2, s.shape)
    terms = -0.5 * np.log(s) - decay * s - energy + math.log(_INNER_STEP)
    logs[far], energies[far] = _mean(terms, energy)
    return logs + constant, energies


def _mean(terms: np.ndarray, energy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    total = special.logsumexp(terms, axis=1)
    return total, np.sum(np.exp(terms - total[:, None]) * energy, axis=1)
