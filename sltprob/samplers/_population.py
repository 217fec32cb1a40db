"""A population of particles on a rung of a ladder: drawn, weighted, resampled and moved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from blackjax.smc.base import map_kernel
from blackjax.smc.resampling import systematic
from jax.flatten_util import ravel_pytree

from sltprob.posterior import TemperedPosterior
from sltprob.samplers._point import Point, carry, move, on_rung
from sltprob.samplers.base import on_accelerator

__all__ = ["carry_all", "draw_prior", "move_all", "resample", "together", "variances"]

# Particles that share a vectorised call times dimension: what stays in the cache.
_BATCH_COORDINATES = 2048


def draw_prior(rng_key: Any, posterior: TemperedPosterior) -> Point:
    """Draw a point on the hottest rung."""
    prior = on_rung(posterior, 0.0)
    return Point.at(prior, prior.draw_prior(rng_key))


def carry_all(
    posterior: TemperedPosterior, points: Point, beta: Any, colder: Any
) -> tuple[Point, Any]:
    """Take a population to the next rung, with the log weights that it has there."""

    def one(point: Point) -> tuple[Point, Any]:
        return carry(posterior, point, beta, colder)

    points, log_weights = together(one, posterior, len(points.loss))(points)
    return points, jnp.where(jnp.isnan(log_weights), -jnp.inf, log_weights)


def resample(rng_key: Any, log_weights: Any, points: Point) -> Point:
    """Resample a population by its weights; siblings stay side by side."""
    chosen = systematic(rng_key, jax.nn.softmax(log_weights), len(log_weights))
    return jax.tree.map(lambda leaf: leaf[chosen], points)


def move_all(
    keys: Any,
    posterior: TemperedPosterior,
    points: Point,
    beta: Any,
    step_size: Any,
    inverse_mass_matrix: Any,
    num_steps: Any,
) -> tuple[Point, Any]:
    """Make one trajectory of every particle of a population, each with a key of its own."""

    def one(key: Any, point: Point) -> tuple[Point, Any]:
        return move(key, posterior, point, beta, step_size, inverse_mass_matrix, num_steps)

    points, rates = together(one, posterior, len(points.loss))(keys, points)
    return points, rates


def together(
    function: Callable[..., Any], posterior: TemperedPosterior, count: int
) -> Callable[..., Any]:
    """Apply a function to many points, as many in one vectorised call as stay in the cache."""
    fitting = count if on_accelerator() else max(1, _BATCH_COORDINATES // posterior.dimension)
    most = min(fitting, count)
    # A batch that leaves no remainder, which would be compiled a second time.
    size = max(size for size in range(1, most + 1) if count % size == 0)
    return map_kernel(function, size if size < count else 0)


def variances(points: Point) -> Any:
    """Give the variance of every coordinate over a population."""
    flat = jax.vmap(lambda position: ravel_pytree(position)[0])(points.position)
    return jnp.maximum(jnp.var(flat, axis=0), jnp.finfo(flat.dtype).tiny)
