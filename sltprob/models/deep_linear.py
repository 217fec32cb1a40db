"""A deep linear network of any widths, with a truth of any rank."""

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
from sltprob.spec import number_list, one_of, positive
from sltprob.theory import learning_coefficients

__all__ = ["DeepLinear"]


@dataclass(frozen=True, kw_only=True)
class DeepLinear(Model):
    """A deep linear network L = ½ ‖W_L … W_1 - C‖², C = diag(1, …, 1, 0, …) of the given rank.

    It is ½ E|W_L … W_1 x - C x|² for x ~ N(0, I); all weights have normal priors. The
    loss of a prior draw grows like the product of the widths, so large networks want a small
    `prior_scale`, and ``prior_center=optimum`` to have the truth within the prior's reach.

    Parameters
    ----------
    widths : str
        Widths from input to output, as a list ``10:5:10``.
    rank : int
        Rank of C.
    prior_center : str
        Mean of the prior: ``zero``, or ``optimum``, every layer diag(1, …, 1, 0, …).
    prior_scale : float, dimensionless
        Prior standard deviation of every weight.

    References
    ----------
    .. [1] M. Aoyagi, "Consideration on the learning efficiency of multiple-layered neural
       networks with linear units", Neural Networks 172 (2024) 106132.
    """

    widths: Annotated[str, number_list(1)] = "2:2:2:2"
    rank: int = 0
    prior_center: Annotated[str, one_of("zero", "optimum")] = "zero"
    prior_scale: Annotated[float, positive()] = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.truth()  # refuses widths and ranks that cannot be

    @property
    def _widths(self) -> tuple[int, ...]:
        return tuple(int(width) for width in self.widths.split(":"))

    def program(self, x: Any, y: Any = None) -> None:  # type: ignore[override]
        """Run the NumPyro program."""
        means = _linear.prior_means(self._widths, self.rank, self.prior_center)
        output = x
        for index, mean in enumerate(means, start=1):
            w = numpyro.sample(f"w{index}", dist.Normal(mean, self.prior_scale).to_event(2))
            output = output @ w.T
        numpyro.sample("y", HalfSquaredError(output), obs=y)

    def population(self) -> Data:
        """Give inputs √M e_i, over which the mean loss is exactly ½ ‖W_L … W_1 - C‖²."""
        return _linear.population(self._widths[0], self._widths[-1], self.rank)

    def minibatch(self, rng_key: Any, size: int) -> dict[str, Any]:
        """Draw fresh inputs x ~ N(0, I)."""
        return _linear.minibatch(rng_key, size, self._widths[0], self._widths[-1], self.rank)

    def draw_data(self, generator: np.random.Generator, n: int) -> dict[str, Any]:
        """Draw x ~ N(0, I) and y = C x + noise of unit variance."""
        widths = self._widths
        return _linear.draw_data(generator, n, widths[0], widths[-1], self.rank)

    def optimum(self) -> dict[str, Any]:
        """Give the deepest true point, every layer diag(1, …, 1, 0, …)."""
        layers = _linear.layer_optima(self._widths, self.rank)
        return {f"w{index}": layer for index, layer in enumerate(layers, start=1)}

    def truth(self) -> Truth:
        """State the theorem of Aoyagi."""
        found = learning_coefficients.deep_linear(widths=self._widths, rank=self.rank)
        return Truth(found.value, found.multiplicity, found.source)

    def _exact(self, beta: float, tolerance: float) -> Exact | None:
        """Compute λ̂: an integral where one serves, block Gibbs else."""
        return _linear.exact_linear(
            beta,
            self._widths,
            self.rank,
            prior_center=self.prior_center,
            prior_scale=self.prior_scale,
            tolerance=tolerance,
        )
