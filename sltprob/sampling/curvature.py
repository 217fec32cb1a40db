"""What the loss does in the direction of its own gradient: the makings of a second λ̂."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from sltprob.posterior import TemperedPosterior
from sltprob.samplers.base import random_signs

__all__ = ["loss_curvature"]

# A step along the probe, as a part of the distance at which -log p changes by one.
_STEP = 0.1


def loss_curvature(
    rng_key: Any,
    posterior: TemperedPosterior,
    position: Any,
    slopes: Any,
    gradient: Any,
    typical_squared_gradient: Any,
) -> dict[str, Any]:
    """Estimate first and second derivatives of βL along its gradient, without bias.

    One random direction stands for all (Hutchinson), and a central difference of two gradients
    for the second derivative: it asks no more of a program than that it has a gradient, and sees
    the mean curvature of kinks such as those of relu.

    References
    ----------
    .. [1] M. F. Hutchinson, "A stochastic estimator of the trace of the influence matrix for
       Laplacian smoothing splines", Commun. Statist. Simula. 19 (1990) 433-450.
    """
    direction = random_signs(rng_key, position)
    step = _STEP * jax.lax.rsqrt(typical_squared_gradient + _dot(gradient, gradient))
    loss_gradient = jax.grad(posterior.loss)

    def ahead(distance: Any) -> Any:
        return loss_gradient(jax.tree.map(lambda p, v: p + distance * v, position, direction))

    # Both in one call: the gradient is compiled once.
    ends = jax.vmap(ahead)(jnp.stack([step, -step]))
    change = jax.tree.map(lambda end: posterior.beta * (end[0] - end[1]) / (2 * step), ends)
    return {
        "squared_loss_gradient": _dot(slopes, slopes),
        "loss_generator": _dot(direction, change) + _dot(slopes, gradient),
        "loss_gradient_curvature": _dot(direction, slopes) * _dot(slopes, change),
    }


def _dot(left: Any, right: Any) -> Any:
    products = jax.tree.map(lambda a, b: jnp.sum(a * b), left, right)
    return sum(jax.tree.leaves(products), jnp.zeros(()))
