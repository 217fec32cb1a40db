"""Likelihoods and priors for models that are given by a loss function rather than by data."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import constraints

from sltprob.data import Data

__all__ = [
    "Flat",
    "FlatHalfLine",
    "HalfSquaredError",
    "Potential",
    "PowerLaw",
    "SquaredError",
    "no_data",
]


def no_data() -> Data:
    """Give the population of a model whose loss is a function of the parameters alone."""
    return Data({"y": np.zeros(1)}, np.ones(1))


class Potential(dist.Distribution):
    """A likelihood with -log p = loss, shape () or (n,), whatever the datum.

    Write ``numpyro.sample("y", Potential(loss), obs=y)``; for a loss of the parameters alone
    ``y = zeros(1)``, as `no_data` gives it: the batch dimension of length one is what `temper`
    weighs.
    """

    arg_constraints = {"loss": constraints.real}  # noqa: RUF012 - NumPyro's own convention
    support = constraints.real

    def __init__(self, loss: Any) -> None:
        self.loss = jnp.atleast_1d(loss)
        super().__init__(batch_shape=self.loss.shape, event_shape=(), validate_args=False)

    def log_prob(self, value: Any) -> Any:
        """Evaluate -loss."""
        return -self.loss

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Any:
        """Give zeros: there are no data."""
        return jnp.zeros((*sample_shape, *self.batch_shape))


class SquaredError(dist.Normal):
    """Normal(loc, sqrt(1/2)) without its normalising constant, so that -log p = (y - loc)².

    A constant does not change a tempered posterior, but it costs digits: at beta = 1e12 the loss
    is 1e-12, and beside a constant of order one it would keep four of them.
    """

    def __init__(self, loc: Any) -> None:
        super().__init__(loc, jnp.sqrt(0.5))

    def log_prob(self, value: Any) -> Any:
        """Evaluate -(value - loc)²."""
        return -jnp.square(value - self.loc)


class HalfSquaredError(dist.Normal):
    """Normal(loc, 1) without its normalising constant, so that -log p = ½ (y - loc)²."""

    def __init__(self, loc: Any) -> None:
        super().__init__(loc, 1.0)

    def log_prob(self, value: Any) -> Any:
        """Evaluate -½ (value - loc)²."""
        return -0.5 * jnp.square(value - self.loc)


class Flat(dist.Distribution):
    """The improper flat prior on R^d; its `sample` gives starting points, not draws.

    No draw from it exists. A sampler still has to start somewhere, and a program has to be
    traced, so `sample` gives a wide normal start; its width does not enter the density.
    """

    support = constraints.independent(constraints.real, 1)

    def __init__(self, dimension: int) -> None:
        super().__init__(batch_shape=(), event_shape=(dimension,), validate_args=False)

    def log_prob(self, value: Any) -> Any:
        """Evaluate 0: the density is constant."""
        return jnp.zeros(jnp.shape(value)[:-1])

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Any:
        """Give starting points from N(0, 2²)."""
        return 2.0 * jax.random.normal(key, (*sample_shape, *self.event_shape))


class FlatHalfLine(Flat):
    """The improper flat prior on w > 0, in each of d coordinates; see `Flat`."""

    support = constraints.independent(constraints.positive, 1)

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Any:
        """Give half-normal starting points."""
        return jnp.abs(super().sample(key, sample_shape))


class PowerLaw(dist.Distribution):
    """Independent coordinates with density ∝ |w|^h on [-1, 1], or ∝ |w|^h N(w; 0, 1)."""

    pytree_aux_fields = ("powers", "family")

    def __init__(self, powers: tuple[int, ...], family: str) -> None:
        self.powers = powers
        self.family = family
        super().__init__(batch_shape=(), event_shape=(len(powers),), validate_args=False)

    @property
    def support(self) -> Any:
        """The interval (-1, 1), or the line."""
        if self.family == "uniform":
            return constraints.independent(constraints.interval(-1.0, 1.0), 1)
        return constraints.independent(constraints.real, 1)

    def log_prob(self, value: Any) -> Any:
        """Evaluate the log density."""
        total = jnp.zeros(jnp.shape(value)[:-1])
        for index, power in enumerate(self.powers):
            w = value[..., index]
            if power:
                # Left out at power 0, where 0 * log 0 would be NaN.
                total += power * jnp.log(jnp.abs(w))
            if self.family == "uniform":
                total += jnp.log((power + 1) / 2)
            else:
                half = (power + 1) / 2
                total += -0.5 * w**2 - half * jnp.log(2.0) - jax.scipy.special.gammaln(half)
        return total

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Any:
        """Draw."""
        key_sign, key_size = jax.random.split(key)
        shape = (*sample_shape, *self.event_shape)
        signs = jax.random.rademacher(key_sign, shape, dtype=float)
        powers = np.asarray(self.powers)
        if self.family == "uniform":
            # 1 - U is never 0, where a density with h > 0 vanishes.
            exponents = jnp.broadcast_to(1 / (powers + 1.0), shape)
            return signs * (1 - jax.random.uniform(key_size, shape)) ** exponents
        # |w|^h N(w; 0, 1) is the law of the length of h + 1 standard normals.
        counted = np.arange(powers.max() + 1) <= powers[:, None]
        normals = jax.random.normal(key_size, (*shape, counted.shape[1]))
        squares = jnp.where(jnp.broadcast_to(counted, normals.shape), normals**2, 0.0)
        return signs * jnp.sqrt(jnp.sum(squares, axis=-1))
