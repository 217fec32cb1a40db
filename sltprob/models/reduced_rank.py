"""Reduced rank regression: a linear network with one hidden layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpyro
import numpyro.distributions as dist

from sltprob.data import Data
from sltprob.exact import Exact
from sltprob.models import _linear
from sltprob.models._potential import HalfSquaredError
from sltprob.models.base import Model, Truth
from sltprob.spec import one_of, positive
from sltprob.theory import learning_coefficients

__all__ = ["ReducedRank"]


@dataclass(frozen=True, kw_only=True)
class ReducedRank(Model):
    """A linear network L = ½ ‖B A - C‖² with C = diag(1, …, 1, 0, …) of the given rank.

    It is ½ E|B A x - C x|² for x ~ N(0, I). A is hidden × input, B is output × hidden, their
    entries have normal priors.

    Parameters
    ----------
    input, hidden, output : int
        Widths M, H, N.
    rank : int
        Rank r of C.
    prior_center : str
        Mean of the prior: ``zero``, or ``optimum`` for a prior around the deepest true point.
    prior_scale : float, dimensionless
        Prior standard deviation of every entry.

    References
    ----------
    .. [1] M. Aoyagi, S. Watanabe, "Stochastic complexities of reduced rank regression in
       Bayesian estimation", Neural Networks 18 (2005) 924-933.
    """

    input: int = 3
    hidden: int = 3
    output: int = 3
    rank: int = 0
    prior_center: Annotated[str, one_of("zero", "optimum")] = "zero"
    prior_scale: Annotated[float, positive()] = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.truth()  # refuses widths and ranks that cannot be

    @property
    def _widths(self) -> tuple[int, int, int]:
        return (self.input, self.hidden, self.output)

    def program(self, x: Any, y: Any = None) -> None:  # type: ignore[override]
        """Run the NumPyro program."""
        mean_a, mean_b = _linear.prior_means(self._widths, self.rank, self.prior_center)
        a = numpyro.sample("a", dist.Normal(mean_a, self.prior_scale).to_event(2))
        b = numpyro.sample("b", dist.Normal(mean_b, self.prior_scale).to_event(2))
        numpyro.sample("y", HalfSquaredError((x @ a.T) @ b.T), obs=y)

    def population(self) -> Data:
        """Give inputs √M e_i, over which the mean loss is exactly ½ ‖B A - C‖²."""
        return _linear.population(self.input, self.output, self.rank)

    def minibatch(self, rng_key: Any, size: int) -> dict[str, Any]:
        """Draw fresh inputs x ~ N(0, I)."""
        return _linear.minibatch(rng_key, size, self.input, self.output, self.rank)

    def draw_data(self, generator: np.random.Generator, n: int) -> dict[str, Any]:
        """Draw x ~ N(0, I) and y = C x + noise of unit variance."""
        return _linear.draw_data(generator, n, self.input, self.output, self.rank)

    def optimum(self) -> dict[str, Any]:
        """Give the deepest true point, A and B = diag(1, …, 1, 0, …)."""
        a, b = _linear.layer_optima(self._widths, self.rank)
        return {"a": a, "b": b}

    def truth(self) -> Truth:
        """State the four cases of Aoyagi and Watanabe."""
        found = learning_coefficients.reduced_rank(
            input=self.input, hidden=self.hidden, output=self.output, rank=self.rank
        )
        return Truth.of(found)

    def _exact(self, beta: float, tolerance: float) -> Exact | None:
        """Compute λ̂: an integral for rank 0 or a scalar side, block Gibbs else."""
        return _linear.exact_linear(
            beta,
            self._widths,
            self.rank,
            prior_center=self.prior_center,
            prior_scale=self.prior_scale,
            tolerance=tolerance,
        )
