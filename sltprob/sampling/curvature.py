"""A field along the gradient of the loss: the makings of a second λ̂."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from sltprob.chance import scattered_number, scattered_signs
from sltprob.posterior import TemperedPosterior

__all__ = ["loss_field"]

# A step along the probe, as a part of the distance at which -log p changes by one.
_STEP = 0.05
# Sets the probe apart from all that a sampler makes of the key of its draw.
_PROBE = 0x5EC0D


def loss_field(
    rng_key: Any,
    posterior: TemperedPosterior,
    position: Any,
    loss: Any,
    slopes: Any,
    gradient: Any,
    typical_squares: tuple[Any, Any],
) -> dict[str, Any]:
    """Estimate what the field φ = u = g/(|g|² + c) and βL u have as their drift and divergence.

    g = ∇βL, and c is about what |g|² is. ``loss_field`` is ∇·u + u·∇log p, and
    ``loss_field_energy`` the divergence of (βL - its value here) u. One random direction stands for
    all (Hutchinson), and a central difference of the field itself for its derivative: it asks no
    more of a program than that it has a gradient, and sees what kinks such as those of relu and of
    an absolute value do, which the product rule does not.

    References
    ----------
    .. [1] M. F. Hutchinson, "A stochastic estimator of the trace of the influence matrix for
       Laplacian smoothing splines", Commun. Statist. Simula. 19 (1990) 433-450.
    """
    direction = scattered_signs(scattered_number(rng_key, _PROBE), position)
    typical, typical_of_loss = typical_squares
    step = _STEP * jax.lax.rsqrt(typical + _dot(gradient, gradient))

    def ahead(distance: Any) -> Any:
        there = jax.tree.map(lambda p, v: p + distance * v, position, direction)
        loss, slope = jax.value_and_grad(posterior.loss)(there)
        slope = jax.tree.map(lambda leaf: posterior.beta * leaf, slope)
        return loss, _dot(direction, slope) / (_dot(slope, slope) + typical_of_loss)

    # Both in one call: the gradient is compiled once.
    losses, along = jax.vmap(ahead)(jnp.stack([step, -step]))
    gains = posterior.beta * (losses - loss)
    scale = 1 / (_dot(slopes, slopes) + typical_of_loss)
    # What the probe adds to the first order by chance is known.
    chance = scale * (_dot(direction, slopes) ** 2 - _dot(slopes, slopes))
    return {
        "loss_field": (along[0] - along[1]) / (2 * step) + scale * _dot(slopes, gradient),
        "loss_field_energy": (gains[0] * along[0] - gains[1] * along[1]) / (2 * step) - chance,
    }


def _dot(left: Any, right: Any) -> Any:
    products = jax.tree.map(lambda a, b: jnp.sum(a * b), left, right)
    return sum(jax.tree.leaves(products), jnp.zeros(()))
