"""Networks by activation, input distribution, target and depth; the readout is linear."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from sltprob import collapsed
from sltprob.data import Data
from sltprob.exact import Exact
from sltprob.models._activations import ACTIVATIONS
from sltprob.models._embedding import EmbeddingPrior
from sltprob.models._inputs import InputRule, Inputs
from sltprob.models._modular import (
    FEWEST_UNITS,
    modular_solution,
    modular_target,
    quadratic_truth,
)
from sltprob.models._network import tanh_network
from sltprob.models._potential import SquaredError
from sltprob.models._readout import Readout
from sltprob.models.base import Model, Truth
from sltprob.spec import one_of, positive, whole
from sltprob.theory.hermite import hermite_polynomials
from sltprob.theory.learning_coefficients import vandermonde_tanh

__all__ = ["Network"]

_RULE_NETWORKS = 16
_UNKNOWN = Truth(None, None, "not known for this combination", "none")


@dataclass(frozen=True, kw_only=True)
class Network(Model):
    """A network with a linear readout, f(x) = Σ a_i φ_i(x), on a known input distribution.

    The loss is L = E_x (f(x) - y(x))², by quadrature. There are no biases. The hidden weights of
    the second and later layers have the embedding prior divided by √width.

    Parameters
    ----------
    width : int
        Units of every hidden layer.
    activation : str
        ``tanh``, ``erf``, ``sin``, ``gelu``, ``softplus``, ``relu`` or ``square``.
    inputs : str
        ``gaussian`` (scalar), ``circle`` (plane), ``cube[d]``, uniform on [-1, 1]^d: a tensor
        rule to d = 3, quasi-Monte Carlo with an error bar beyond, or ``modular[p]``: all pairs of
        residues a, b modulo an odd p, as cosines and sines of 2π a/p and 2π b/p.
    target : str
        ``zero``; ``hermite[k]``, one normalised Hermite mode of a Gaussian input; ``unit``, one
        hidden unit of the same network with weight one on the first input; ``modular``, the mode
        cos 2π (a + b)/p of modular addition, for four or more quadratic units.
    depth : int
        Hidden layers.
    embedding_prior : str
        Prior of each hidden weight: ``uniform[bound]`` or ``normal[sd]``.
    readout_scale : float, dimensionless
        Prior standard deviation of each a_i.
    accuracy : float
        Relative error of the loss that the quadrature must reach.

    Raises
    ------
    ValueError
        If ``unit`` is asked for with a depth above one, ``hermite`` with other inputs than
        Gaussian ones, or ``modular`` where it is not reached.

    References
    ----------
    .. [1] M. Aoyagi, "Log canonical threshold of Vandermonde matrix type singularities and
       generalization error of a three-layered neural network in Bayesian estimation",
       International Journal of Pure and Applied Mathematics 52 (2009) 177-204.
    .. [2] A. Gromov, "Grokking modular arithmetic" (arXiv 2301.02679).
    """

    width: Annotated[int, whole(1)] = 16
    activation: Annotated[str, one_of(*ACTIVATIONS)] = "tanh"
    inputs: str = "gaussian"
    target: str = "zero"
    depth: Annotated[int, whole(1)] = 1
    embedding_prior: str = "uniform[1]"
    readout_scale: Annotated[float, positive()] = 1.0
    accuracy: Annotated[float, positive()] = 1e-10

    def __post_init__(self) -> None:
        super().__post_init__()
        EmbeddingPrior.parse(self.embedding_prior)
        distribution = Inputs.parse(self.inputs)
        if self._hermite_order is not None and distribution.family != "gaussian":
            raise ValueError(f"target={self.target} needs inputs=gaussian, not {self.inputs}")
        if self.target == "unit" and self.depth != 1:
            raise ValueError(f"target=unit needs depth=1, not depth={self.depth}")
        quadratic = self.activation == "square" and self.depth == 1
        reached = quadratic and distribution.family == "modular" and self.width >= FEWEST_UNITS
        if self.target == "modular" and not reached:
            raise ValueError(
                f"target=modular needs inputs=modular[p], activation=square, depth=1 and width="
                f"{FEWEST_UNITS} or more, not inputs={self.inputs}, activation={self.activation}, "
                f"depth={self.depth} and width={self.width}"
            )

    @property
    def _hermite_order(self) -> int | None:
        """The order k of a Hermite target, None for another target."""
        if self.target in ("zero", "unit", "modular"):
            return None
        name, _, rest = self.target.partition("[")
        if name != "hermite" or not rest.endswith("]") or not rest[:-1].isdigit():
            raise ValueError(
                f"target={self.target}: it must be zero, unit, modular or hermite[k], as in "
                "hermite[3]"
            )
        return int(rest[:-1])

    @property
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of the weights of every hidden layer, by site."""
        shapes = {"w": (self.width, *Inputs.parse(self.inputs).shape)}
        for layer in range(2, self.depth + 1):
            shapes[f"w{layer}"] = (self.width, self.width)
        return shapes

    def _prior(self, site: str) -> EmbeddingPrior:
        prior = EmbeddingPrior.parse(self.embedding_prior)
        if site == "w":
            return prior
        return EmbeddingPrior(prior.family, prior.scale / math.sqrt(self.width))

    def program(self, x: Any, y: Any = None) -> None:  # type: ignore[override]
        """Run the NumPyro program."""
        weights = {
            site: numpyro.sample(
                site, self._prior(site).distribution.expand(shape).to_event(len(shape))
            )
            for site, shape in self._shapes.items()
        }
        prior = dist.Normal(0.0, self.readout_scale).expand((self.width,)).to_event(1)
        a = numpyro.sample("a", prior)
        if self.activation == "tanh" and self.depth == 1 and x.ndim == 1:
            outputs = tanh_network(a, weights["w"], x)
        else:
            outputs = a @ self._hidden(weights, x)
        numpyro.sample("y", SquaredError(outputs), obs=y)

    def _hidden(self, weights: Mapping[str, Any], x: Any) -> Any:
        """Evaluate the last hidden layer, shape (h, n)."""
        activation = ACTIVATIONS[self.activation].in_jax
        w = weights["w"]
        hidden = activation(w[:, None] * x[None, :] if x.ndim == 1 else w @ x.T)
        for layer in range(2, self.depth + 1):
            hidden = activation(weights[f"w{layer}"] @ hidden)
        return hidden

    def readout(self) -> Readout:
        """Name the site a, with the last hidden layer as its features."""
        return Readout("a", lambda values, arguments: self._hidden(values, arguments["x"]).T)

    def _units(self, weights: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
        """Evaluate the last hidden layer of several networks, shape (networks, h, n)."""
        activation = ACTIVATIONS[self.activation].in_numpy
        w = weights["w"]
        hidden = activation(w[..., None] * x if x.ndim == 1 else w @ x.T)
        for layer in range(2, self.depth + 1):
            hidden = activation(weights[f"w{layer}"] @ hidden)
        return hidden

    def _targets(self, x: np.ndarray) -> np.ndarray:
        first = x if x.ndim == 1 else x[:, 0]
        if self.target == "unit":
            return ACTIVATIONS[self.activation].in_numpy(first)
        if self.target == "modular":
            found: np.ndarray = modular_target(x)
            return found
        order = self._hermite_order
        return np.zeros(len(x)) if order is None else hermite_polynomials(order, first)[-1]

    def _draw_weights(self, generator: np.random.Generator, count: int) -> dict[str, np.ndarray]:
        return {
            site: self._prior(site).draw(generator, (count, *shape))
            for site, shape in self._shapes.items()
        }

    @functools.cached_property
    def _rule(self) -> InputRule:
        generator = np.random.default_rng(0)
        weights = self._draw_weights(generator, _RULE_NETWORKS)
        a = generator.normal(0, self.readout_scale, (_RULE_NETWORKS, self.width))

        def mean_losses(x: np.ndarray, rule_weights: np.ndarray) -> np.ndarray:
            outputs = np.einsum("ni,niq->nq", a, self._units(weights, x))
            losses: np.ndarray = (outputs - self._targets(x)) ** 2 @ rule_weights
            return losses

        activation = ACTIVATIONS[self.activation]
        odd_target = self.target in ("zero", "unit") or (self._hermite_order or 0) % 2 == 1
        return Inputs.parse(self.inputs).choose_rule(
            mean_losses,
            self.accuracy,
            even=activation.odd and odd_target,
            smooth=activation.smooth,
        )

    def population(self) -> Data:
        """Give the quadrature rule, with the fewest nodes that reach `accuracy` at prior draws."""
        rule = self._rule
        arguments = {"x": rule.nodes, "y": self._targets(rule.nodes)}
        return Data(arguments, rule.weights, rule.error)

    def minibatch(self, rng_key: Any, size: int) -> dict[str, Any] | None:
        """Draw fresh inputs with their targets."""
        x = Inputs.parse(self.inputs).draw(rng_key, size)
        first = x if x.ndim == 1 else x[:, 0]
        order = self._hermite_order
        if self.target == "unit":
            y = ACTIVATIONS[self.activation].in_jax(first)
        elif self.target == "modular":
            y = modular_target(x)
        elif order is None:
            y = jnp.zeros(size)
        else:
            y = hermite_polynomials(order, first, jnp)[-1]
        return {"x": x, "y": y}

    def draw_data(self, generator: np.random.Generator, n: int) -> dict[str, Any]:
        """Draw inputs, and targets with the noise N(0, 1/2) that the squared error stands for."""
        x = Inputs.parse(self.inputs).draw_numpy(generator, n)
        return {"x": x, "y": self._targets(x) + generator.normal(0, math.sqrt(0.5), n)}

    def optimum(self) -> dict[str, Any]:
        """Give a point of least loss: no readout, or the units that equal the target.

        For a Hermite target there is none: the infimum is approached as w → 0 and |a| → ∞, and
        this gives the point a = 0.
        """
        generator = np.random.default_rng(0)
        values = {site: draws[0] for site, draws in self._draw_weights(generator, 1).items()}
        values["a"] = np.zeros(self.width)
        prior = EmbeddingPrior.parse(self.embedding_prior)
        if self.target == "modular":
            solution = modular_solution(prior.scale)
            values["a"][:FEWEST_UNITS], values["w"][:FEWEST_UNITS] = solution
        if self.target == "unit":
            if prior.family == "uniform" and prior.scale <= 1:
                # The true weight 1 is on the edge of the prior; the open interval comes near it.
                one = prior.scale * (1 - 1e-12)
            else:
                one = 1.0
            values["a"][0] = 1.0
            values["w"][0] = 0.0
            values["w"].reshape(self.width, -1)[0, 0] = one
        return values

    def truth(self) -> Truth:
        """State what is proved or known numerically of this combination."""
        if self._hermite_order is not None:
            return Truth(
                None,
                None,
                "the infimum of the loss is not attained (w → 0, |a| → ∞): no learning coefficient",
                "none",
            )
        if self.depth > 1:
            return _UNKNOWN
        quadratic = self.activation == "square" and Inputs.parse(self.inputs).family == "modular"
        if quadratic and self.target in ("zero", "modular"):
            return quadratic_truth(self.width, learns=self.target == "modular")
        odd = ACTIVATIONS[self.activation].odd
        scalar = self._shapes["w"] == (self.width,) or self._shapes["w"] == (self.width, 1)
        if self.target == "unit":
            known = {1: (Fraction(1), 1), 2: (Fraction(5, 4), None), 3: (Fraction(3, 2), 2)}
            if self.activation != "tanh" or not scalar or self.width not in known:
                return _UNKNOWN
            return Truth(*known[self.width], "linear program over scalings", "numerical")
        if odd and scalar:
            return Truth.of(vandermonde_tanh(width=self.width))
        if self.inputs == "circle":
            return self._truth_on_the_circle(odd)
        if self.activation == "relu" and scalar:
            return Truth(
                Fraction(1, 2),
                2 if self.width == 1 else 1,
                "two half-lines, each the scalar product of a with the positive part of ±w",
            )
        return _UNKNOWN

    def _truth_on_the_circle(self, odd: bool) -> Truth:
        h = self.width
        if odd:
            bounds = [Fraction(h, 2)]
            bounds += [Fraction(h + k * k + k, 2 * k + 1) for k in range(1, math.isqrt(h) + 2)]
            least = min(bounds)
            source = "scalings of all weights, min(h/2, min_k (h + k² + k)/(2k + 1))"
            return Truth(least, bounds.count(least), source, "upper bound")
        if self.activation == "relu":
            coefficient = {1: Fraction(1, 2), 2: Fraction(1)}.get(h, Fraction(h + 1, 3))
            return Truth(coefficient, 2 if h == 2 else 1, "scalings of all weights", "upper bound")
        return _UNKNOWN

    def _exact(self, beta: float, tolerance: float) -> Exact:
        """Compute lambda-hat and F from the density of the hidden weights."""
        return collapsed.exact(beta, self.problem(), tolerance=tolerance)

    def problem(self) -> collapsed.Problem:
        """Give what is left when the readout is integrated out, a density of hidden weights."""
        rule = self._rule
        roots = np.sqrt(rule.weights)
        sizes = {site: math.prod(shape) for site, shape in self._shapes.items()}

        def unpack(flat: np.ndarray) -> dict[str, np.ndarray]:
            parts = np.split(flat, np.cumsum(list(sizes.values()))[:-1], axis=1)
            return {
                site: part.reshape(-1, *shape)
                for (site, shape), part in zip(self._shapes.items(), parts, strict=True)
            }

        def draw_prior(generator: np.random.Generator, count: int) -> np.ndarray:
            drawn = self._draw_weights(generator, count)
            return np.concatenate([part.reshape(count, -1) for part in drawn.values()], axis=1)

        def log_prior(flat: np.ndarray) -> np.ndarray:
            parts = unpack(flat)
            total = np.zeros(len(flat))
            for site, part in parts.items():
                total += self._prior(site).log_prob(part).reshape(len(flat), -1).sum(axis=1)
            return total

        return collapsed.Problem(
            draw_prior=draw_prior,
            log_prior=log_prior,
            features=lambda flat: roots * self._units(unpack(flat), rule.nodes),
            readout_scale=self.readout_scale,
            target=None if self.target == "zero" else roots * self._targets(rule.nodes),
        )
