"""Data sets that are drawn, and the exact posterior of the tanh network given one of them.

Given the hidden weights w the posterior of the readout is Gaussian, and all depends on w through
the prior covariance ``P(w)`` of the coefficients of f in a short basis. So draws of w from their
prior are weighted by their marginal likelihood, the rest is closed form, and a data set costs as
much as some thousand 10 x 10 matrices, whatever n and h.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import chebyshev, hermite_e
from numpy.typing import NDArray

from sltprob.collapsed.common import log_mean_exp
from sltprob.models.tanh_zero import TanhZero
from sltprob.theory.kernel import slope_rule

__all__ = ["QUANTITIES", "Basis", "DataSet", "evaluate_dataset"]

type Array = NDArray[np.float64]
#: Maps means and variances of f, shape (S, m), and y, shape (m,), to values, shape (m,).
type Field = Callable[[Array, Array, Array], Array]

#: What is computed for each data set, times n and relative to the truth.
QUANTITIES = {
    "bayes": "Bayes generalisation loss, of the posterior's mean density",
    "gibbs": "Gibbs generalisation loss, the posterior's mean of the loss",
    "training": "Bayes training loss",
    "fluctuation": "half the functional variance, the singular fluctuation ν",
    "waic": "WAIC: training loss and functional variance",
    "loo": "leave-one-out loss",
    "free_energy": "free energy -log of the marginal likelihood",
    "wbic": "WBIC: the mean loss at the inverse temperature 1 / log n",
}

# Beyond this |x| a normal input has probability 1e-10.
_LARGEST_INPUT = 6.5
_NUM_INPUTS = 56
_NUM_OUTPUTS = 14
#: n h s^2 of the functions of x that are left out.
_LEAST_RESOLVED = 1e-5
_CHUNK = 100_000
#: Fields are summed over up to so many data one by one, over more by moments of the data.
_MOST_DIRECT = 400


@dataclass(frozen=True, eq=False)
class DataSet:
    """What is needed of n pairs; inputs are made positive, since f is odd."""

    size: int
    gram: Array  # (r, r): sums of products of the functions
    cross: Array  # (r,): sums of functions times y
    # (inputs, outputs): sums of T_j(x) He_k(y) / sqrt(k!)
    moments: Array
    pairs: tuple[Array, Array] | None  # The functions, (n, r), and y, (n,), of small data


@dataclass(frozen=True, eq=False)
class Basis:
    """The functions of x that n data can see: singular functions of tanh(w x), with the prior of w.

    They are orthonormal for x ~ N(0, 1).
    """

    inputs: Array  # (Q,): Chebyshev nodes of x > 0
    weights: Array  # (Q,): of N(0, 1), both halves
    functions: Array  # (Q, r)
    series: Array  # (Q, r): of their Chebyshev polynomials
    prior: (
        Array  # (r,): h sigma^2 s^2, the variances of coefficients of the infinitely wide network
    )

    @classmethod
    def build(cls, model: TanhZero, size: int) -> Basis:
        """Find the functions that n = `size` data can see."""
        prior = model._prior
        count = math.ceil(_NUM_INPUTS * max(1.0, prior.largest(model.width)))
        angles = np.pi * (np.arange(count) + 0.5) / count
        inputs = 0.5 * _LARGEST_INPUT * (1.0 + np.cos(angles))
        weights = 0.5 * _LARGEST_INPUT * _fejer(angles) * np.sqrt(2.0 / np.pi)
        weights *= np.exp(-0.5 * inputs**2)
        slopes, masses = slope_rule(prior.family, prior.scale)
        units = np.tanh(np.outer(inputs, slopes)) * np.sqrt(masses)
        _, singular, right = np.linalg.svd(np.sqrt(weights)[:, None] * units, full_matrices=False)
        variances = model.width * model.readout_scale**2 * singular**2
        rank = max(1, int(np.sum(size * variances >= _LEAST_RESOLVED)))
        functions = units @ right[:rank].T / singular[:rank]
        series = chebyshev.chebfit(2.0 * inputs / _LARGEST_INPUT - 1.0, functions, count - 1)
        return cls(inputs, weights, functions, np.asarray(series, float), variances[:rank])

    def draw(self, size: int, generator: np.random.Generator) -> DataSet:
        """Draw data, and keep what is needed of them."""
        rank = self.functions.shape[1]
        gram, cross = np.zeros((rank, rank)), np.zeros(rank)
        moments = np.zeros((len(self.inputs), _NUM_OUTPUTS))
        for start in range(0, size, _CHUNK):
            count = min(_CHUNK, size - start)
            # The sign of x would multiply y, which has a symmetric law of its own.
            x = np.abs(generator.normal(size=count))
            y = generator.normal(size=count)
            polynomials = chebyshev.chebvander(
                2.0 * np.minimum(x, _LARGEST_INPUT) / _LARGEST_INPUT - 1.0, len(self.inputs) - 1
            )
            functions = polynomials @ self.series
            gram += functions.T @ functions
            cross += functions.T @ y
            moments += polynomials.T @ _hermite(y)
        pairs = (functions, y) if size <= _MOST_DIRECT else None
        return DataSet(size, gram, cross, moments, pairs)

    def draw_roots(self, model: TanhZero, count: int, generator: np.random.Generator) -> Array:
        """Draw w; give R, shape (count, min(h, r), r), with ``R^T R = P(w)``."""
        parts = []
        step = max(1, 2_000_000 // (model.width * len(self.inputs)))
        for start in range(0, count, step):
            w = model._prior.draw(generator, (min(step, count - start), model.width))
            units = np.tanh(w[:, :, None] * self.inputs)
            coefficients = units @ (self.weights[:, None] * self.functions)
            parts.append(np.linalg.qr(model.readout_scale * coefficients, mode="r"))
        return np.concatenate(parts)

    def controls(self, data: DataSet) -> Array:
        """Give quadratic forms of y, shape (2,), whose means over y are zero."""
        root = np.sqrt(self.prior)
        values, vectors = np.linalg.eigh(root[:, None] * data.gram * root)
        values = np.maximum(values, 1e-300)
        shares = values / (1.0 + values)
        # Independent standard normal variables, given x.
        noise = vectors.T @ (root * data.cross) / np.sqrt(values)
        return np.array([np.sum(shares**power * (noise**2 - 1.0)) for power in (1, 2)])

    def mean(self, values: Array) -> float:
        """Average a field, shape (Q, outputs), over the population."""
        return float(self.weights @ values @ _OUTPUT_WEIGHTS)

    def total(self, values: Array, moments: Array) -> float:
        """Sum a field, shape (Q, outputs), over data that are known by their moments."""
        modes = values @ (_OUTPUT_WEIGHTS[:, None] * _hermite(_OUTPUTS))
        x = 2.0 * self.inputs / _LARGEST_INPUT - 1.0
        return float(np.sum(chebyshev.chebfit(x, modes, len(x) - 1) * moments))


def evaluate_dataset(basis: Basis, data: DataSet, roots: Array) -> tuple[dict[str, float], float]:
    """Compute all quantities of one data set; give the effective number of draws too."""
    posterior = _Posterior.of(data, roots)
    shares, covariance, mean = posterior.shares, posterior.covariance, posterior.mean

    outputs = np.tile(_OUTPUTS, len(basis.inputs))

    def on_grid(field: Field) -> Array:
        means, variances = (
            np.repeat(part, _NUM_OUTPUTS, axis=1) for part in posterior.moments(basis.functions)
        )
        values = field(means, variances, outputs)
        return values.reshape(len(basis.inputs), _NUM_OUTPUTS)

    def over_data(field: Field) -> float:
        if data.pairs is None:
            return basis.total(on_grid(field), data.moments)
        functions, y = data.pairs
        return float(np.sum(field(*posterior.moments(functions), y)))

    def log_density(means: Array, variances: Array, y: Array) -> Array:
        """Evaluate the log of the mean density, relative to N(0, 1)."""
        wide = 1.0 + variances
        logs = -0.5 * np.log(wide) - 0.5 * (y - means) ** 2 / wide + 0.5 * y**2
        return np.log(shares @ np.exp(logs))

    def log_left_out(means: Array, variances: Array, y: Array) -> Array:
        """Evaluate the same with the posterior of all other data."""
        left = 1.0 - variances
        logs = 0.5 * np.log(left) - 0.5 * (y - means) ** 2 / left + 0.5 * y**2
        return -np.log(shares @ np.exp(-logs))

    def variance(means: Array, variances: Array, y: Array) -> Array:
        """Evaluate the posterior variance of the log likelihood."""
        squares = (y - means) ** 2
        losses = 0.5 * (squares + variances)
        center = shares @ losses
        return shares @ (0.5 * variances**2 + squares * variances + (losses - center) ** 2)

    size = data.size
    training = -over_data(log_density)
    functional = over_data(variance)
    gibbs = 0.5 * shares @ (np.trace(covariance, axis1=1, axis2=2) + np.sum(mean**2, axis=1))
    values = {
        "bayes": -size * basis.mean(on_grid(log_density)),
        "gibbs": size * float(gibbs),
        "training": training,
        "fluctuation": 0.5 * functional,
        "waic": training + functional,
        "loo": -over_data(log_left_out),
        "free_energy": posterior.free_energy,
        "wbic": _Posterior.of(data, roots, 1.0 / math.log(size)).loss(data),
    }
    return values, posterior.ess


@dataclass(frozen=True, eq=False)
class _Posterior:
    """The posterior of the coefficients of f: a weighted mixture of Gaussians, one for each w."""

    shares: Array  # (S,)
    mean: Array  # (S, r)
    covariance: Array  # (S, r, r)
    free_energy: float  # relative to that of f = 0

    @classmethod
    def of(cls, data: DataSet, roots: Array, temper: float = 1.0) -> _Posterior:
        """Compute it, with the likelihood to the power `temper`."""
        inner = np.eye(roots.shape[1]) + temper * roots @ data.gram @ roots.mT
        lower = np.linalg.cholesky(inner)
        factors = np.linalg.solve(lower, roots)
        mean = temper * (factors @ data.cross)
        logs = 0.5 * np.sum(mean**2, axis=1)
        logs -= np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(axis=1)
        free_energy = -log_mean_exp(logs)
        return cls(
            np.exp(logs + free_energy) / len(logs),
            (factors.mT @ mean[:, :, None])[:, :, 0],
            factors.mT @ factors,
            free_energy,
        )

    @property
    def ess(self) -> float:
        """Effective number of draws of w."""
        return 1.0 / float(self.shares @ self.shares)

    def moments(self, functions: Array) -> tuple[Array, Array]:
        """Give mean and variance of f at points, shape (S, m) each, for every w."""
        variances = np.sum((functions @ self.covariance) * functions, axis=2)
        return self.mean @ functions.T, variances

    def loss(self, data: DataSet) -> float:
        """Average the sum of losses over the data, relative to that of f = 0."""
        second = self.covariance + self.mean[:, :, None] * self.mean[:, None, :]
        totals = 0.5 * np.sum(second * data.gram, axis=(1, 2)) - self.mean @ data.cross
        return float(self.shares @ totals)


def _fejer(angles: Array) -> Array:
    """Give the weights of Fejer's first rule on [-1, 1].

    References
    ----------
    Davis, P. J. and Rabinowitz, P. (1984). Methods of Numerical Integration, 2nd ed., section 2.5.
    """
    orders = np.arange(1, len(angles) // 2 + 1)
    sums = np.cos(2.0 * np.outer(angles, orders)) @ (1.0 / (4.0 * orders**2 - 1.0))
    return 2.0 / len(angles) * (1.0 - 2.0 * sums)


def _hermite(y: Array) -> Array:
    """Evaluate He_k(y) / sqrt(k!), shape (n, outputs)."""
    scales = np.sqrt([math.factorial(order) for order in range(_NUM_OUTPUTS)])
    return hermite_e.hermevander(y, _NUM_OUTPUTS - 1) / scales


_OUTPUTS, _OUTPUT_WEIGHTS = hermite_e.hermegauss(_NUM_OUTPUTS)
_OUTPUT_WEIGHTS /= math.sqrt(2.0 * math.pi)
