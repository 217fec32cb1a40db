"""A two-layer tanh network that learns zero: the flagship model."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from sltprob import collapsed, quadrature
from sltprob.data import Data
from sltprob.exact import Exact
from sltprob.models._embedding import EmbeddingPrior
from sltprob.models._network import tanh_network
from sltprob.models._potential import SquaredError
from sltprob.models._readout import Readout
from sltprob.models.base import Model, Truth
from sltprob.spec import positive, whole
from sltprob.theory.graded import graded_modes
from sltprob.theory.hermite import hermite_polynomials, normalised_hermite
from sltprob.theory.legendre import LegendreFeatures

__all__ = ["TanhZero"]

_MOST_MODES = 99


@dataclass(frozen=True, kw_only=True)
class TanhZero(Model):
    """A two-layer tanh network f(x) = Σ a_i tanh(w_i x), x ~ N(0,1), with target zero.

    The loss is L = E_x f(x)², by quadrature; a_i ~ N(0, readout_scale²). With `modes`, f is cut to
    its Hermite modes up to that one: L = Σ_{k <= modes} (Σ_i a_i c_k(w_i))².

    Parameters
    ----------
    width : int
        Number h of hidden units; the posterior has 2h dimensions.
    embedding_prior : str
        Prior of each w_i: ``uniform[bound]`` or ``normal[sd]``.
    readout_scale : float, dimensionless
        Prior standard deviation of each a_i.
    modes : int or None
        Largest Hermite mode that the loss sees, up to 99; even ones vanish. None for all.

    References
    ----------
    .. [1] S. Watanabe, Algebraic Geometry and Statistical Learning Theory (Cambridge, 2009).
    .. [2] M. Aoyagi, "Log canonical threshold of Vandermonde matrix type singularities and
       generalization error of a three-layered neural network in Bayesian estimation",
       International Journal of Pure and Applied Mathematics 52 (2009) 177-204.
    """

    width: Annotated[int, whole(1)] = 128
    embedding_prior: str = "uniform[1]"
    readout_scale: Annotated[float, positive()] = 1.0
    modes: Annotated[int | None, whole(1, _MOST_MODES, example=5, none="for all")] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        EmbeddingPrior.parse(self.embedding_prior)

    @property
    def _prior(self) -> EmbeddingPrior:
        return EmbeddingPrior.parse(self.embedding_prior)

    def program(self, x: Any, y: Any = None) -> None:  # type: ignore[override]
        """Run the NumPyro program."""
        shape = (self.width,)
        w = numpyro.sample("w", self._prior.distribution.expand(shape).to_event(1))
        a = numpyro.sample("a", dist.Normal(0.0, self.readout_scale).expand(shape).to_event(1))
        if self.modes is None:
            outputs = tanh_network(a, w, x)
        else:
            nodes, projection = self._projection_in_jax()
            outputs = _odd_modes(self.modes, x) @ (tanh_network(a, w, nodes) @ projection)
        numpyro.sample("y", SquaredError(outputs), obs=y)

    @property
    def _projection(self) -> tuple[np.ndarray, np.ndarray]:
        """Nodes z, shape (Q,), and what takes f(z) to its odd modes, shape (Q, modes)."""
        assert self.modes is not None
        return _projection(self._prior.largest(self.width), self.modes)

    def _projection_in_jax(self) -> list[Any]:
        """Give the projection in the precision in force: JAX keeps constants of any other."""
        precision = jnp.zeros(()).dtype
        return [jnp.asarray(array, precision) for array in self._projection]

    def population(self) -> Data:
        """Give the quadrature rule on N(0,1): positive nodes only, since f² is even."""
        largest = self._prior.largest(self.width)
        if self.modes is None:
            rule = _rule(largest)
            error = rule.error
        else:
            # f is a polynomial then, and Gauss' rule with so many nodes is exact for its square:
            # what is left is the error of its coefficients.
            rule = quadrature.gauss_hermite((self.modes + 2) // 2)
            error = _rule_of_projection(largest, self.modes).error
        return Data({"x": rule.nodes, "y": np.zeros_like(rule.nodes)}, rule.weights, error)

    def minibatch(self, rng_key: Any, size: int) -> dict[str, Any]:
        """Draw fresh inputs x ~ N(0,1)."""
        return {"x": jax.random.normal(rng_key, (size,)), "y": jnp.zeros(size)}

    def draw_data(self, generator: np.random.Generator, n: int) -> dict[str, Any]:
        """Draw x ~ N(0,1) and y ~ N(0, 1/2), the noise that the squared error stands for."""
        return {"x": generator.normal(size=n), "y": generator.normal(0, math.sqrt(0.5), n)}

    def optimum(self) -> dict[str, Any]:
        """Give the point a = 0 with embeddings spread over their prior."""
        middles = (np.arange(self.width) + 0.5) / self.width
        spread = self._prior.distribution.icdf(middles)
        return {"a": np.zeros(self.width), "w": np.asarray(spread)}

    def truth(self) -> Truth:
        """State λ = (h + k² + k)/(4k + 2), k = floor(√h), and m = 2 iff h is a square.

        With M odd modes: min(M/2, min_{k < M} (h + k² + k)/(4k + 2)), a bound from all w ~ t.
        """
        h = self.width
        if self.modes is not None:
            count = (self.modes + 1) // 2
            bounds = [Fraction(h + k * k + k, 4 * k + 2) for k in range(count)]
            bounds.append(Fraction(count, 2))
            return Truth(min(bounds), None, "scalings of all weights", "upper bound")
        k = math.isqrt(h)
        return Truth(
            Fraction(h + k * k + k, 4 * k + 2),
            2 if k * k == h else 1,
            "Aoyagi 2009, Vandermonde matrix type singularities with zero truth",
        )

    def readout(self) -> Readout:
        """Name the site a, with the features tanh(w_i x)."""
        if self.modes is None:
            return Readout("a", lambda values, data: jnp.tanh(jnp.outer(data["x"], values["w"])))
        modes = self.modes

        def features(values: Any, data: Any) -> Any:
            nodes, projection = self._projection_in_jax()
            coefficients = projection.T @ jnp.tanh(jnp.outer(nodes, values["w"]))
            return _odd_modes(modes, data["x"]) @ coefficients

        return Readout("a", features)

    def _exact(self, beta: float, tolerance: float) -> Exact:
        """Compute lambda-hat and F from the density of w with the readout integrated out."""
        return collapsed.exact(beta, self.problem(), tolerance=tolerance)

    def problem(self) -> collapsed.Problem:
        """Give what is left when the readout is integrated out, a density of w alone."""
        prior = self._prior
        if self.modes is None:
            rule = _rule(prior.largest(self.width))
            nodes, projection = rule.nodes, np.sqrt(rule.weights)
        else:
            nodes, projection = self._projection

        def features(w: np.ndarray) -> np.ndarray:
            units = np.tanh(w[..., None] * nodes)
            return units * projection if self.modes is None else units @ projection

        def graded(factor: float, largest: float) -> collapsed.GradedFeatures | None:
            # No weight of a uniform prior is beyond its bound.
            if prior.family == "uniform":
                largest = min(largest, prior.scale)
            if self.modes is None:
                return LegendreFeatures.where_possible(factor, largest)
            return graded_modes(largest, self.modes)

        return collapsed.Problem(
            draw_prior=lambda generator, count: prior.draw(generator, (count, self.width)),
            log_prior=lambda w: prior.log_prob(w).sum(axis=-1),
            features=features,
            readout_scale=self.readout_scale,
            graded=graded,
        )


def _odd_modes(order: int, x: Any) -> Any:
    """Evaluate the odd He_k / sqrt(k!), k <= order, at x; shape (n, modes)."""
    return jnp.stack(hermite_polynomials(order, x, jnp)[1::2], axis=-1)


@functools.cache
def _rule_of_projection(largest_slope: float, order: int) -> quadrature.Rule:
    # Modes end at 2 sqrt(k), and a Gaussian some units farther.
    spacing = 0.15 / max(1.0, largest_slope)
    count = math.ceil((2.0 * math.sqrt(order) + 7.0) / spacing)
    return quadrature.gaussian_midpoint(spacing, count, largest_slope)


@functools.cache
def _projection(largest_slope: float, order: int) -> tuple[np.ndarray, np.ndarray]:
    rule = _rule_of_projection(largest_slope, order)
    return rule.nodes, rule.weights[:, None] * normalised_hermite(order, rule.nodes)[1::2].T


@functools.cache
def _rule(largest_slope: float) -> quadrature.Rule:
    return quadrature.gaussian_half_line(largest_slope)
