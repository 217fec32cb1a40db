"""Descents to the bottom of the basins of a posterior, and how much weight a basin has."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from sltprob.optimum import near_zero
from sltprob.posterior import TemperedPosterior

__all__ = ["Basins", "descend"]

_ITERATIONS, _MEMORY = 60, 5
# A descent has ended when two iterations gain less each, in units of the log density; a single one
# can be a line search that found nothing.
_NO_GAIN = 1e-3
# Every other descent starts from the best of so many draws: a narrow hole is seldom hit by one.
_DRAWS_FOR_A_START = 32
# What a descent may have left for each direction that still slopes.
_LEFT = 4.0
# A larger Hessian takes too long: basins are compared by their depth alone.
_LARGEST_HESSIAN = 64


class Basins(NamedTuple):
    """Where descents have ended, leading axis descent."""

    position: Any
    potential: Any  # -log p, up to the same constant
    loss: Any
    log_weight: Any  # by Laplace's approximation, up to the same constant
    doubt: Any  # by how much -log p may be above the bottom


def descend(posterior: TemperedPosterior, keys: Any, positions: Any, given: Any) -> Basins:
    """Go down -log p from the positions where `given`, otherwise from draws of the prior.

    References
    ----------
    .. [1] D. C. Liu, J. Nocedal, "On the limited memory BFGS method for large scale
       optimization", Mathematical Programming 45 (1989) 503-528.
    .. [2] L. Tierney, J. B. Kadane, "Accurate approximations for posterior moments and marginal
       densities", J. Amer. Statist. Assoc. 81 (1986) 82-86 (Laplace's approximation).
    """

    def potential(position: Any) -> Any:
        return -posterior.logdensity(position)

    optimiser = optax.lbfgs(memory_size=_MEMORY)
    evaluate = optax.value_and_grad_from_state(potential)

    def one(key: Any, position: Any) -> Basins:
        start = jax.lax.cond(given, lambda: position, lambda: _start(posterior, key, potential))

        def step(held: _Held) -> _Held:
            value, gradient = evaluate(held.position, state=held.state)
            update, state = optimiser.update(
                gradient, held.state, held.position, value=value, grad=gradient, value_fn=potential
            )
            gain = jnp.where(held.count > 0, held.value - value, jnp.inf)
            end = optax.apply_updates(held.position, update)
            return _Held(end, state, value, gain, held.gain, held.count + 1)

        infinite = jnp.full((), jnp.inf)
        end = jax.lax.while_loop(
            lambda held: (
                (jnp.maximum(held.gain, held.gain_before) > _NO_GAIN) & (held.count < _ITERATIONS)
            ),
            step,
            _Held(start, optimiser.init(start), infinite, infinite, infinite, jnp.asarray(0)),
        ).position
        value = potential(end)
        log_volume, doubt = _shape(potential, end)
        return Basins(end, value, posterior.loss(end), -value + log_volume, doubt)

    return jax.vmap(one)(keys, positions)


class _Held(NamedTuple):
    position: Any
    state: Any
    value: Any
    gain: Any
    gain_before: Any
    count: Any


def _start(posterior: TemperedPosterior, rng_key: Any, potential: Any) -> Any:
    """Draw from the prior, one or the best of many; near zero where no draw has a density."""
    zero = near_zero({n: jnp.zeros(s) for n, s in posterior.structure.shapes}, rng_key, 2.0)
    # A key is as good as a coin.
    count = jnp.where(jax.random.key_data(rng_key)[..., -1] % 2, _DRAWS_FOR_A_START, 1)

    def draw(number: Any, best: Any) -> Any:
        position = posterior.draw_prior(jax.random.fold_in(rng_key, number))
        value = potential(position)
        better = value < best[1]
        return jax.tree.map(lambda new, old: jnp.where(better, new, old), (position, value), best)

    return jax.lax.fori_loop(0, count, draw, (zero, jnp.full((), jnp.inf)))[0]


def _shape(potential: Any, position: Any) -> tuple[Any, Any]:
    """Give the logarithm of the volume of a basin, that of a Gaussian of the same curvature.

    The second value is by how much the position may lie above the bottom: where a slope is left, as
    at the bottom of a sum of absolute values, a descent does not tell how far it has come.
    """
    flat, unravel = ravel_pytree(position)
    if flat.size > _LARGEST_HESSIAN:
        return jnp.zeros(()), jnp.zeros(())
    # Reverse over reverse: losses with a gradient of their own have no forward mode.
    slope = jax.grad(lambda at: potential(unravel(at)))
    hessian = jax.jacrev(slope)(flat)
    curvatures, axes = jnp.linalg.eigh(jnp.nan_to_num(hessian))
    # What is flat or bends down is no wider than the coordinates are meant to be; and a bottom with
    # a slope, as that of a sum of absolute values, is as wide as its slope says.
    slopes = (slope(flat) @ axes) ** 2
    curvatures = jnp.maximum(jnp.maximum(curvatures, slopes), 1e-2)
    log_volume = 0.5 * jnp.sum(math.log(2 * math.pi) - jnp.log(curvatures))
    return log_volume, _LEFT * jnp.sum(slopes / curvatures)
