"""A normal crossing: a monomial loss, the shape that every singularity resolves to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

import jax.numpy as jnp
import numpy as np
import numpyro
from scipy import special

from sltprob.exact import Exact
from sltprob.models._integrals import as_exact, mellin_barnes
from sltprob.models._loss_only import LossOnly
from sltprob.models._potential import PowerLaw
from sltprob.models.base import Truth
from sltprob.spec import number_list, one_of, positive
from sltprob.theory import learning_coefficients

__all__ = ["NormalCrossing"]


@dataclass(frozen=True, kw_only=True)
class NormalCrossing(LossOnly):
    """A monomial loss L = c Π w_j^(2 k_j) under a prior that may vanish as Π |w_j|^(h_j).

    Parameters
    ----------
    powers : str
        Half the powers, k_j, as a list ``1:2``; 0 for a coordinate that does not take part.
    prior_powers : str
        h_j as a list; a single 0 stands for all zero.
    prior : str
        ``uniform`` for |w|^h on [-1, 1], ``normal`` for |w|^h times N(0, 1).
    coefficient : float, dimensionless
        c, by default 1; ``0.5`` with two powers 1 is a linear network with one hidden unit.

    References
    ----------
    .. [1] S. Watanabe, Algebraic Geometry and Statistical Learning Theory (Cambridge, 2009),
       theorem 4.6.
    """

    powers: Annotated[str, number_list(0)] = "1:1"
    prior_powers: Annotated[str, number_list(0)] = "0"
    prior: Annotated[str, one_of("uniform", "normal")] = "uniform"
    coefficient: Annotated[float, positive()] = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        powers, prior_powers = _whole_numbers(self.powers), _whole_numbers(self.prior_powers)
        if not any(powers):
            raise ValueError(f"powers={self.powers}: one of them must be > 0, as in 1:2")
        if len(prior_powers) != len(powers) and prior_powers != (0,):
            raise ValueError(
                f"prior_powers={self.prior_powers}: give one for each of the {len(powers)} "
                "powers, or a single 0"
            )
        # One way to write it, so that equal models are equal.
        if not any(prior_powers):
            object.__setattr__(self, "prior_powers", "0")

    @property
    def _powers(self) -> tuple[int, ...]:
        return _whole_numbers(self.powers)

    @property
    def _prior_powers(self) -> tuple[int, ...]:
        if self.prior_powers == "0":
            return (0,) * len(self._powers)
        return _whole_numbers(self.prior_powers)

    def program(self, y: Any = None) -> None:  # type: ignore[override]
        """Run the NumPyro program."""
        w = numpyro.sample("w", PowerLaw(self._prior_powers, self.prior))
        loss = jnp.asarray(self.coefficient)
        for index, power in enumerate(self._powers):
            loss = loss * w[index] ** (2 * power)
        self.observe(loss, y)

    def optimum(self) -> dict[str, Any]:
        """Give w = 0, or a point beside it where the prior vanishes at 0."""
        # A loss of 1e-200 is a zero of the loss for every beta; log |0| would be no density.
        return {"w": np.where(np.asarray(self._prior_powers) > 0, 1e-100, 0.0)}

    def truth(self) -> Truth:
        """State λ = min (h_j + 1) / (2 k_j), m the number of minimisers."""
        found = learning_coefficients.monomial(powers=self._powers, prior_powers=self._prior_powers)
        return Truth.of(found)

    def _exact(self, beta: float, tolerance: float) -> Exact:
        """Compute λ̂ and F by the Mellin-Barnes integral over the moments of L."""
        factors = [(k, h) for k, h in zip(self._powers, self._prior_powers, strict=True) if k > 0]

        def log_moment(s: np.ndarray) -> np.ndarray:
            total = -s * math.log(self.coefficient)
            for k, h in factors:
                if self.prior == "uniform":
                    total = total - np.log1p(-2 * k * s / (h + 1))
                else:
                    half = (h + 1) / 2
                    total = total - k * s * math.log(2)
                    total = total + special.loggamma(half - k * s) - special.gammaln(half)
            return total

        ceiling = min((h + 1) / (2 * k) for k, h in factors)
        integral = mellin_barnes(beta, log_moment, ceiling)
        return as_exact(beta, integral, "Mellin-Barnes integral")


def _whole_numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(":"))
