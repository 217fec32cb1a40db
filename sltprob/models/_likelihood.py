"""The likelihood of a squared-error loss."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpyro.distributions as dist

__all__ = ["SquaredError"]


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
