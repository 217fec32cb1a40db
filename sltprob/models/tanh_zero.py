"""A two-layer tanh network that learns zero: the flagship model."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from sltprob import collapsed, quadrature
from sltprob.data import Data
from sltprob.exact import Exact
from sltprob.models._embedding import EmbeddingPrior
from sltprob.models._likelihood import SquaredError
from sltprob.models._network import tanh_network
from sltprob.models.base import Model, Truth

__all__ = ["TanhZero"]


@dataclass(frozen=True, kw_only=True)
class TanhZero(Model):
    """A two-layer tanh network f(x) = Σ a_i tanh(w_i x), x ~ N(0,1), with target zero.

    The loss is L = E_x f(x)², by quadrature; a_i ~ N(0, readout_scale²).

    Parameters
    ----------
    width : int
        Number h of hidden units; the posterior has 2h dimensions.
    embedding_prior : str
        Prior of each w_i: ``uniform[bound]`` or ``normal[sd]``.
    readout_scale : float, dimensionless
        Prior standard deviation of each a_i.

    Raises
    ------
    ValueError
        If an option is out of range.

    References
    ----------
    .. [1] S. Watanabe, Algebraic Geometry and Statistical Learning Theory (Cambridge, 2009).
    .. [2] M. Aoyagi, "Log canonical threshold of Vandermonde matrix type singularities and
       generalization error of a three-layered neural network in Bayesian estimation",
       International Journal of Pure and Applied Mathematics 52 (2009) 177-204.
    """

    width: int = 128
    embedding_prior: str = "uniform[1]"
    readout_scale: float = 1.0

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"width={self.width}: it must be a whole number >= 1, such as 128")
        if not 0 < self.readout_scale < math.inf:
            raise ValueError(
                f"readout_scale={self.readout_scale}: it must be positive and finite, such as 1"
            )
        EmbeddingPrior.parse(self.embedding_prior)

    @property
    def _prior(self) -> EmbeddingPrior:
        return EmbeddingPrior.parse(self.embedding_prior)

    def program(self, x: Any, y: Any = None) -> None:  # type: ignore[override]
        """Run the NumPyro program.

        Parameters
        ----------
        x : array, shape (n,)
            Inputs.
        y : array, shape (n,)
            Targets.
        """
        shape = (self.width,)
        w = numpyro.sample("w", self._prior.distribution.expand(shape).to_event(1))
        a = numpyro.sample("a", dist.Normal(0.0, self.readout_scale).expand(shape).to_event(1))
        numpyro.sample("y", SquaredError(tanh_network(a, w, x)), obs=y)

    def population(self) -> Data:
        """Give the quadrature rule on N(0,1): positive nodes only, since f² is even.

        Returns
        -------
        Data
        """
        rule = _rule(self._prior.largest(self.width))
        return Data({"x": rule.nodes, "y": np.zeros_like(rule.nodes)}, rule.weights, rule.error)

    def minibatch(self, rng_key: Any, size: int) -> dict[str, Any]:
        """Draw fresh inputs x ~ N(0,1).

        Parameters
        ----------
        rng_key : PRNG key
        size : int

        Returns
        -------
        dict of str to array
        """
        return {"x": jax.random.normal(rng_key, (size,)), "y": jnp.zeros(size)}

    def draw_data(self, generator: np.random.Generator, n: int) -> dict[str, Any]:
        """Draw x ~ N(0,1) and y ~ N(0, 1/2), the noise that the squared error stands for.

        Parameters
        ----------
        generator : numpy.random.Generator
        n : int

        Returns
        -------
        dict of str to array
        """
        return {"x": generator.normal(size=n), "y": generator.normal(0, math.sqrt(0.5), n)}

    def optimum(self) -> dict[str, Any]:
        """Give the point a = 0 with embeddings spread over their prior.

        Returns
        -------
        dict of str to array
        """
        middles = (np.arange(self.width) + 0.5) / self.width
        spread = self._prior.distribution.icdf(middles)
        return {"a": np.zeros(self.width), "w": np.asarray(spread)}

    def truth(self) -> Truth:
        """State λ = (h + k² + k)/(4k + 2), k = floor(√h), and m = 2 iff h is a square.

        Returns
        -------
        Truth
        """
        h = self.width
        k = math.isqrt(h)
        return Truth(
            Fraction(h + k * k + k, 4 * k + 2),
            2 if k * k == h else 1,
            "Aoyagi 2009, Vandermonde matrix type singularities with zero truth",
        )

    def exact(self, beta: float, *, tolerance: float = 0.01) -> Exact | None:
        """Compute lambda-hat and F from the density of w with the readout integrated out.

        Parameters
        ----------
        beta : float, dimensionless
        tolerance : float, dimensionless
            Relative error that is wanted on lambda-hat.

        Returns
        -------
        Exact or None
            None on a data set, for which no independent route is known.

        Raises
        ------
        ValueError
            If beta is not positive, or too large for float64.
        """
        if self.n is not None:
            return None
        prior = self._prior
        rule = _rule(prior.largest(self.width))
        roots = np.sqrt(rule.weights)

        def features(w: np.ndarray) -> np.ndarray:
            return roots * np.tanh(w[..., None] * rule.nodes)

        return collapsed.exact(
            beta,
            draw_prior=lambda generator, count: prior.draw(generator, (count, self.width)),
            log_prior=lambda w: prior.log_prob(w).sum(axis=-1),
            features=features,
            readout_scale=self.readout_scale,
            tolerance=tolerance,
        )


@functools.cache
def _rule(largest_slope: float) -> quadrature.Rule:
    return quadrature.gaussian_half_line(largest_slope)
