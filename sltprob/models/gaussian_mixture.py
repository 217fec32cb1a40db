"""A mixture of unit-variance Gaussians on the line, with more components than the truth has."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from scipy import special

from sltprob.data import Data
from sltprob.exact import Exact
from sltprob.models._integrals import Integral, as_exact
from sltprob.models._potential import Potential
from sltprob.models.base import Model, Truth
from sltprob.spec import positive, whole
from sltprob.theory import learning_coefficients

__all__ = ["GaussianMixture"]

# Distance between the true means; r = 2 is ½ N(-1, 1) + ½ N(1, 1).
_GAP = 2.0


class _Mixture(Potential):
    """A likelihood by its loss against the truth, that can draw data as well."""

    def __init__(self, loss: Any, weights: Any, means: Any) -> None:
        self.weights, self.means = weights, means
        super().__init__(loss)

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Any:
        """Draw from the mixture."""
        key_component, key_noise = jax.random.split(key)
        shape = (*sample_shape, *self.batch_shape)
        chosen = jax.random.categorical(key_component, jnp.log(self.weights), shape=shape)
        return self.means[chosen] + jax.random.normal(key_noise, shape)


@dataclass(frozen=True, kw_only=True)
class GaussianMixture(Model):
    """A mixture p = Σ a_k N(b_k, 1) of K components, L = KL(q ‖ p), where q has r components.

    q has equal weights and means two apart around 0. The weights a are uniform on the simplex,
    the means b_k ~ N(0, mean_scale²). With ``anchored`` there are two components and the first
    mean is fixed at 0: the contaminated Gaussian.

    Parameters
    ----------
    components : int
        K.
    true_components : int
        r <= K.
    mean_scale : float, dimensionless
        Prior standard deviation of the means.
    anchored : bool
        Fix the first mean at 0; for 2 components and r = 1.

    References
    ----------
    .. [1] M. Aoyagi, "A Bayesian learning coefficient of generalization error and Vandermonde
       matrix-type singularities", Communications in Statistics 39 (2010) 2667-2687.
    .. [2] K. Yamazaki, S. Watanabe, "Singularities in mixture models and upper bounds of
       stochastic complexity", Neural Networks 16 (2003) 1029-1038.
    """

    components: Annotated[int, whole(1)] = 2
    true_components: Annotated[int, whole(1)] = 1
    mean_scale: Annotated[float, positive()] = 1.0
    anchored: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.true_components > self.components:
            raise ValueError(
                f"true_components={self.true_components}: the model has only {self.components} "
                f"components; it must be <= {self.components}"
            )
        if self.anchored and (self.components, self.true_components) != (2, 1):
            raise ValueError(
                f"anchored=true with components={self.components}, true_components="
                f"{self.true_components}: it is for components=2, true_components=1"
            )

    @property
    def _true_means(self) -> np.ndarray:
        return _GAP * (np.arange(self.true_components) - (self.true_components - 1) / 2)

    def _log_truth(self, x: Any) -> Any:
        terms = -0.5 * (x[:, None] - self._true_means.reshape(1, -1)) ** 2
        return jax.nn.logsumexp(terms, axis=1) - math.log(self.true_components)

    def program(self, x: Any, balance: Any = None) -> None:  # type: ignore[override]
        """Run the NumPyro program.

        The loss of a datum is log q(x) - log p(x) + balance (p(x)/q(x) - 1). The second term
        has mean zero; with it, every datum of the population has a loss >= 0, and nothing
        cancels where p is close to q. A finite data set leaves it out.
        """
        size = self.components
        if size == 1:
            a = jnp.ones(1)
        elif size == 2:
            # The same as a uniform distribution on the simplex, in its simplest coordinate.
            share = numpyro.sample("a", dist.Uniform(0.0, 1.0))
            a = jnp.stack([1 - share, share])
        else:
            a = numpyro.sample("a", dist.Dirichlet(jnp.ones(size)))
        free = size - 1 if self.anchored else size
        b = numpyro.sample("b", dist.Normal(0.0, self.mean_scale).expand((free,)).to_event(1))
        if self.anchored:
            b = jnp.concatenate([jnp.zeros(1), b])
        terms = jnp.log(a).reshape(1, -1) - 0.5 * (x[:, None] - b.reshape(1, -1)) ** 2
        log_ratio = jax.nn.logsumexp(terms, axis=1) - self._log_truth(x)
        loss = -log_ratio
        if balance is not None:
            loss = loss + balance * jnp.expm1(log_ratio)
        numpyro.sample("x", _Mixture(loss, a, b), obs=x)

    def population(self) -> Data:
        """Give equally spaced x with weights q(x), far enough for every mean of the prior."""
        # Beyond it lies one draw of all the means in 1000.
        largest = self.mean_scale * math.sqrt(2 * math.log(1000 * self.components))
        reach = max(largest, float(np.abs(self._true_means).max())) + 8.5
        # A ratio of densities whose means are D apart is analytic in a strip of width π/D.
        spacing = min(0.2, 0.6 / (2 * largest))
        x, weights = self._nodes(reach, spacing)
        fine, fine_weights = self._nodes(reach, spacing / 2)
        errors = []
        for mean in (largest / 3, largest):
            coarse_loss = self._divergence(x, weights, mean)
            fine_loss = self._divergence(fine, fine_weights, mean)
            errors.append(abs(coarse_loss / fine_loss - 1))
        return Data({"x": x, "balance": np.ones_like(x)}, weights, max(errors))

    def _nodes(self, reach: float, spacing: float) -> tuple[np.ndarray, np.ndarray]:
        x = np.arange(-math.ceil(reach / spacing), math.ceil(reach / spacing) + 1) * spacing
        terms = -0.5 * (x[:, None] - self._true_means) ** 2
        weights = np.exp(special.logsumexp(terms, axis=1))
        return x, weights / weights.sum()

    def _divergence(self, x: np.ndarray, weights: np.ndarray, mean: float) -> float:
        """Evaluate KL(q ‖ ½ N(-mean, 1) + ½ N(mean, 1)) on given nodes, by the balanced loss."""
        log_p = np.logaddexp(-0.5 * (x - mean) ** 2, -0.5 * (x + mean) ** 2) - math.log(2)
        terms = -0.5 * (x[:, None] - self._true_means) ** 2
        log_q = special.logsumexp(terms, axis=1) - math.log(self.true_components)
        return float(weights @ (np.expm1(log_p - log_q) - (log_p - log_q)))

    def draw_data(self, generator: np.random.Generator, n: int) -> dict[str, Any]:
        """Draw x from the truth q."""
        means = generator.choice(self._true_means, n)
        return {"x": means + generator.standard_normal(n)}

    def optimum(self) -> dict[str, Any]:
        """Give a true point: the surplus components share the last true mean."""
        size, r = self.components, self.true_components
        surplus = size - r + 1
        b = np.concatenate([self._true_means[:-1], np.full(surplus, self._true_means[-1])])
        a = np.concatenate([np.full(r - 1, 1 / r), np.full(surplus, 1 / (r * surplus))])
        values: dict[str, Any] = {"b": b[1:] if self.anchored else b}
        if size == 2:
            values["a"] = a[1]
        elif size > 2:
            values["a"] = a
        return values

    def truth(self) -> Truth:
        """State λ = (K + 3r - 2)/4, m = 1; ½ with m = 2 for the contaminated Gaussian."""
        if self.anchored:
            return Truth(Fraction(1, 2), 2, "L ≍ a² b², a normal crossing; Watanabe 2009")
        found = learning_coefficients.gaussian_mixture(
            components=self.components, true_components=self.true_components
        )
        # One component for each of the truth's is a regular model, r - 1 weights and r means.
        certain = self.components == self.true_components
        status = "proved" if certain else found.status
        return Truth(found.value, found.multiplicity, found.source, status)

    def _exact(self, beta: float, tolerance: float) -> Exact | None:
        """Compute λ̂ and F by quadrature over all parameters, for at most three of them."""
        if self.n is not None or self.components > 2 or self.true_components > 1:
            return None
        if self.components == 1:
            t = beta * self.mean_scale**2
            integral = Integral(-0.5 * math.log1p(t), 0.5 * t / (1 + t), 1e-15, 1e-15)
            return as_exact(beta, integral, "closed form of a Gaussian integral")
        grid = self._contaminated(beta) if self.anchored else self._two_components(beta)
        integral = _grid_integral(beta, self.mean_scale, grid)
        dimension = "two" if self.anchored else "three"
        return as_exact(beta, integral, f"{dimension}-dimensional quadrature")

    def _contaminated(self, beta: float) -> Iterator[_Block]:
        """Cut (a, b) into blocks: a = expit(s), b = ±exp(u); both signs are alike."""
        step = 0.2
        reach = 0.5 * max(0.0, math.log(beta))
        s = np.arange(-math.ceil((reach + 32) / step), math.ceil(32 / step) + 1) * step
        u = np.arange(-math.ceil((reach + 32) / step), math.ceil(2.4 / step) + 1) * step
        b = self.mean_scale * np.exp(u)
        log_b = u + 0.5 * math.log(2 / math.pi) - np.exp(2 * u) / 2 + 2 * math.log(step)
        for index, one in enumerate(s):
            log_a = special.log_expit(one) + special.log_expit(-one)
            zero = np.zeros_like(b)
            yield _Block(
                index % 2 == 0, log_a + log_b, special.log_expit(-one), zero, b, (u.size,), 4.0
            )

    def _two_components(self, beta: float) -> Iterator[_Block]:
        """Cut (a, μ, Δ) into blocks: mean μ and distance Δ of the two components.

        Near the truth L is μ²/2 + (a (1 - a) Δ²)²/4, so μ is on the scale of 1/√β, Δ and a are
        on logarithmic ones. The reflections x → -x and the exchange of the components leave one
        quarter of the domain.
        """
        step, scale = 0.25, self.mean_scale
        log_beta = max(0.0, math.log(beta))
        width = 1 / math.sqrt(1 / scale**2 + beta)
        last = math.ceil(math.asinh(8.5 * scale / width) / step)
        t = np.arange(-last, last + 1) * step
        u = np.arange(-math.ceil((log_beta / 4 + 16) / step), math.ceil(2.6 / step) + 1) * step
        s = np.arange(-math.ceil((log_beta / 2 + 18) / step), 1) * step
        mu, log_mu = width * np.sinh(t)[:, None], np.log(width * np.cosh(t))[:, None]
        delta = scale * np.exp(u)[None, :]
        steps = 3 * math.log(step) + math.log(4) - math.log(2 * math.pi * scale**2)
        for index, one in enumerate(s[::-1]):
            a, rest = special.expit(one), special.expit(-one)
            b1, b2 = mu + rest * delta, mu - a * delta
            log_density = (
                special.log_expit(one)
                + special.log_expit(-one)
                - (math.log(2) if index == 0 else 0.0)
                + log_mu
                + np.log(delta)
                + steps
                - (b1**2 + b2**2) / (2 * scale**2)
            )
            yield _Block(
                index % 2 == 0,
                log_density.ravel(),
                special.log_expit(-one),
                b2.ravel(),
                b1.ravel(),
                (t.size, u.size),
                8.0,
            )


@dataclass(frozen=True)
class _Block:
    """One weight a with a grid of means: Σ exp(log_density) of it is a part of the prior."""

    coarse: bool
    log_density: np.ndarray
    log_rest: float
    first: np.ndarray
    second: np.ndarray
    shape: tuple[int, ...]
    coarse_factor: float


def _grid_integral(beta: float, scale: float, blocks: Iterator[_Block]) -> Integral:
    """Sum over the blocks; the error is the difference to the grid of twice the spacing."""
    spacing = 0.25 / max(1.0, scale)
    last = math.ceil((8 + 5 * scale) / spacing)
    x = np.arange(-last, last + 1) * spacing
    weights = np.exp(-0.5 * x**2)
    weights /= weights.sum()
    sums = np.zeros((2, 2))
    for block in blocks:
        log_share = math.log(-math.expm1(block.log_rest))
        energy = np.zeros(block.log_density.shape)
        # Far out in the prior the weight is nothing, and exp would overflow.
        inside = block.log_density > -200
        for chunk in np.array_split(np.flatnonzero(inside), 1 + inside.sum() // 20_000):
            b1, b2 = block.first[chunk, None], block.second[chunk, None]
            log_ratio = np.logaddexp(
                block.log_rest + b1 * x - b1**2 / 2, log_share + b2 * x - b2**2 / 2
            )
            energy[chunk] = beta * ((np.expm1(log_ratio) - log_ratio) @ weights)
        terms = np.where(inside, np.exp(block.log_density - energy), 0.0)
        values = np.stack([terms, terms * energy])
        sums[0] += values.sum(axis=1)
        if block.coarse:
            thinned = (slice(None), *(slice(None, None, 2) for _ in block.shape))
            kept = values.reshape(2, *block.shape)[thinned].reshape(2, -1)
            sums[1] += block.coarse_factor * kept.sum(axis=1)
    (z, top), (other_z, other_top) = sums
    return Integral(
        math.log(z), top / z, abs(math.log(z / other_z)), abs(top / z - other_top / other_z)
    )
