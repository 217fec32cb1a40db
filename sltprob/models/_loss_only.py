"""Losses that are a formula in the parameters, and data that would have such a loss."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro

from sltprob.data import Data
from sltprob.models._potential import Potential, SquaredError, no_data
from sltprob.models.base import Model

__all__ = ["LossOnly"]


class _NoisyPotential(Potential):
    """A likelihood with -log p(y) = loss - 2 y root: the squared error (y - root)², less y²."""

    def __init__(self, loss: Any, root: Any) -> None:
        self.root = jnp.reshape(root, (1,))
        super().__init__(loss)

    def log_prob(self, value: Any) -> Any:
        """Evaluate 2 value root - loss."""
        return 2 * value * self.root - self.loss

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Any:
        """Draw y ~ N(root, 1/2), which the density is that of, up to y²."""
        noise = jax.random.normal(key, (*sample_shape, *self.batch_shape))
        return jnp.broadcast_to(self.root, noise.shape) + math.sqrt(0.5) * noise


@dataclass(frozen=True, kw_only=True)
class LossOnly(Model):
    """A loss L(w) that no data define.

    A data set (`n`) is n noisy observations y_i ~ N(0, 1/2) of g(w) = sqrt(L(w) - L*) at the
    truth, where g = 0; the loss of a datum is (y_i - g)² - y_i² + L*, whose mean over the truth
    is L. Where L is the square of a function g, `observe_root` takes g itself, of any sign.
    """

    def observe(self, loss: Any, y: Any) -> None:
        """Observe the data, or the one datum y = 0 of the population."""
        excess = loss - self.minimum_loss
        # The root has no derivative at 0, where the population's factor y = 0 must give 0.
        positive = excess > 0
        root = jnp.where(positive, jnp.sqrt(jnp.where(positive, excess, 1.0)), 0.0)
        numpyro.sample("y", _NoisyPotential(loss, root), obs=y)

    def observe_root(self, root: Any, y: Any) -> None:
        """Observe the data, or the one datum y = 0, where L = root²."""
        numpyro.sample("y", SquaredError(root.reshape(1)), obs=y)

    def population(self) -> Data:
        """Give the datum y = 0, on which the mean loss is L."""
        return no_data()

    def draw_data(self, generator: np.random.Generator, n: int) -> dict[str, Any]:
        """Draw y ~ N(0, 1/2)."""
        return {"y": generator.normal(0.0, math.sqrt(0.5), n)}
