"""A sum of powers, one for each coordinate: λ̂ equals λ at every beta under a flat prior."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from sltprob.exact import Exact
from sltprob.models._integrals import Integral, as_exact, box_power
from sltprob.models._loss_only import LossOnly
from sltprob.models._potential import Flat
from sltprob.models.base import Truth
from sltprob.spec import number_list, positive, read_numbers
from sltprob.theory import learning_coefficients

__all__ = ["EvenPowers"]


@dataclass(frozen=True, kw_only=True)
class EvenPowers(LossOnly):
    """A sum of powers L = Σ |w_j|^(p_j) under a flat prior, or a uniform one on a box.

    Under the flat prior β scales out of the posterior and λ̂ = Σ 1/p_j at every β: the cleanest
    test of a sampler there is. The flat prior is improper; chains that start "from the prior"
    start from N(0, 2²), and the free energy is undefined.

    Parameters
    ----------
    powers : str
        p_j >= 1 as a list ``2:4:6``.
    prior : str
        ``flat``, or ``box[1]`` for the uniform prior on [-1, 1]^d.

    References
    ----------
    .. [1] V. I. Arnold, S. M. Gusein-Zade, A. N. Varchenko, Singularities of Differentiable
       Maps II (Birkhäuser, 1988), chapter 7 (quasi-homogeneous functions).
    """

    powers: Annotated[str, number_list(1)] = "2:4:6"
    prior: str = "flat"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._bound  # noqa: B018 - reads the prior, and refuses it here rather than later

    @property
    def _powers(self) -> tuple[int, ...]:
        return tuple(int(power) for power in self.powers.split(":"))

    @property
    def _bound(self) -> float:
        """Half the side of the box, infinite for the flat prior."""
        if self.prior == "flat":
            return math.inf
        inside = self.prior.removeprefix("box[").removesuffix("]")
        if f"box[{inside}]" != self.prior:
            raise ValueError(f"prior={self.prior}: it must be flat or box[bound], such as box[1]")
        bound = read_numbers("prior", inside, "box[1]")[0]
        return float(positive().read("prior bound", bound, 1))

    def program(self, y: Any = None) -> None:  # type: ignore[override]
        """Run the NumPyro program."""
        dimension = len(self._powers)
        prior: Any = Flat(dimension)
        if math.isfinite(self._bound):
            prior = dist.Uniform(-self._bound, self._bound).expand((dimension,)).to_event(1)
        w = numpyro.sample("w", prior)
        loss = jnp.zeros(())
        for index, power in enumerate(self._powers):
            # An odd power is one of |w|; an even one is smooth at 0, so no |w| in it.
            loss += w[index] ** power if power % 2 == 0 else jnp.abs(w[index]) ** power
        self.observe(loss, y)

    def optimum(self) -> dict[str, Any]:
        """Give w = 0."""
        return {"w": np.zeros(len(self._powers))}

    def truth(self) -> Truth:
        """State λ = Σ 1/p_j, m = 1."""
        return Truth.of(learning_coefficients.even_powers(powers=self._powers))

    def _exact(self, beta: float, tolerance: float) -> Exact:
        """Compute λ̂ and F from incomplete gamma functions; under the flat prior λ̂ = Σ 1/p_j."""
        rounding = 1e-14 * len(self._powers)
        if math.isinf(self._bound):
            value = float(learning_coefficients.even_powers(powers=self._powers).value)
            integral = Integral(math.nan, value, math.nan, rounding)
            return as_exact(beta, integral, "scaling of each coordinate", improper=True)
        lambda_hat = log_z = 0.0
        for power in self._powers:
            one_log_z, one_lambda_hat = box_power(beta * self._bound**power, power)
            log_z += one_log_z
            lambda_hat += one_lambda_hat
        integral = Integral(log_z, lambda_hat, rounding * (1 + abs(log_z)), rounding)
        return as_exact(beta, integral, "incomplete gamma functions")
