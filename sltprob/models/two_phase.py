"""Two phases: a broad basin a little above a narrow one, so that λ̂ jumps with beta."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from sltprob.exact import Exact
from sltprob.models._integrals import Integral, as_exact, box_power
from sltprob.models._loss_only import LossOnly
from sltprob.models.base import Truth
from sltprob.spec import between, positive, whole

__all__ = ["TwoPhase"]


@dataclass(frozen=True, kw_only=True)
class TwoPhase(LossOnly):
    """A first-order phase transition in β between two basins, side by side on one line.

    The prior is uniform on [-1, 1]^d. A first part of the first axis, `narrow_weight` of it, is
    the narrow phase: with v running from -1 to 1 over that part, L = |v|^narrow_power +
    Σ_(j>1) |w_j|^narrow_power. The rest is the broad phase, L = excess + |v|^broad_power +
    Σ_(j>1) |w_j|^broad_power. At small β the broad phase has the mass, at large β the narrow one;
    in between λ̂ has a peak, as the loss fluctuates by `excess` between the phases. A sampler
    has to cross a barrier of height one.

    The posterior is exactly the mixture that a discrete phase label would give, with the label
    integrated out; a discrete label itself could not be tempered. On the boundary between the
    phases, at the top of the barrier, L has a step: of size `excess` in one dimension.

    Parameters
    ----------
    narrow_weight : float, dimensionless
        Prior probability of the narrow phase, between 0 and 1.
    excess : float, dimensionless
        Loss of the broad phase above the narrow one.
    narrow_power, broad_power : int
        Powers in the two phases, narrow < broad.
    dimension : int
        d.

    References
    ----------
    .. [1] S. Watanabe, Mathematical Theory of Bayesian Statistics (CRC Press, 2018), section 9.4
       (phase transitions). The curve is a mixture of two incomplete gamma functions.
    """

    narrow_weight: Annotated[float, between(0, 1)] = 0.3
    excess: Annotated[float, positive()] = 0.001
    narrow_power: Annotated[int, whole(1)] = 2
    broad_power: int = 6
    dimension: Annotated[int, whole(1)] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        whole(self.narrow_power + 1).read("broad_power", self.broad_power, 6)

    def program(self, y: Any = None) -> None:  # type: ignore[override]
        """Run the NumPyro program."""
        w = numpyro.sample("w", dist.Uniform(-1.0, 1.0).expand((self.dimension,)).to_event(1))
        share, position = self.narrow_weight, (w[0] + 1) / 2
        losses = []
        for start, width, power in (
            (0.0, share, self.narrow_power),
            (share, 1 - share, self.broad_power),
        ):
            first = 2 * (position - start) / width - 1
            rest = jnp.sum(jnp.abs(w[1:]) ** power)
            losses.append(jnp.abs(first) ** power + rest)
        loss = jnp.where(position < share, losses[0], self.excess + losses[1])
        self.observe(loss, y)

    def optimum(self) -> dict[str, Any]:
        """Give the bottom of the narrow basin."""
        w = np.zeros(self.dimension)
        w[0] = self.narrow_weight - 1
        return {"w": w}

    def truth(self) -> Truth:
        """State λ = d / narrow_power, m = 1: the narrow phase has the least loss."""
        return Truth(
            Fraction(self.dimension, self.narrow_power), 1, "scaling in the phase of least loss"
        )

    def _exact(self, beta: float, tolerance: float) -> Exact:
        """Compute λ̂ and F as a mixture of incomplete gamma functions."""
        logs, means = [], []
        for share, excess, power in (
            (self.narrow_weight, 0.0, self.narrow_power),
            (1 - self.narrow_weight, self.excess, self.broad_power),
        ):
            log_z, lambda_hat = box_power(beta, power)
            logs.append(math.log(share) - beta * excess + self.dimension * log_z)
            means.append(beta * excess + self.dimension * lambda_hat)
        log_total = float(np.logaddexp(logs[0], logs[1]))
        # exp(-βε) is 0 long before βε would be infinite.
        lambda_hat = sum(
            math.exp(log_z - log_total) * mean for log_z, mean in zip(logs, means, strict=True)
        )
        rounding = 1e-15 * (10 + abs(log_total))
        integral = Integral(log_total, lambda_hat, rounding, rounding * (1 + lambda_hat))
        return as_exact(beta, integral, "mixture of incomplete gamma functions")
