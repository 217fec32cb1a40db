"""Descents to the bottom of the basins of a posterior, and how much weight a basin has."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from sltprob.posterior import TemperedPosterior

__all__ = ["Basins", "descend"]

_ITERATIONS, _MEMORY = 100, 5
# Evaluations of a line search before it goes along the slope itself, and of a descent in all.
_TRIES, _EVALUATIONS = 12, 240
# A step lowers -log p by so much of what the slope promises, and leaves no more of the slope.
_LOWERED, _SLOPE_LEFT = 1e-4, 0.9
# A descent has ended when two iterations gain less each, in units of the log density; a single one
# can be a line search that found nothing.
_NO_GAIN = 1e-3
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


def descend(posterior: TemperedPosterior, positions: Any) -> Basins:
    """Go down -log p from positions, leading axis descent.

    References
    ----------
    .. [1] D. C. Liu, J. Nocedal, "On the limited memory BFGS method for large scale
       optimization", Mathematical Programming 45 (1989) 503-528.
    .. [2] L. Tierney, J. B. Kadane, "Accurate approximations for posterior moments and marginal
       densities", J. Amer. Statist. Assoc. 81 (1986) 82-86 (Laplace's approximation).
    """
    _, unravel = ravel_pytree({n: jnp.zeros(s) for n, s in posterior.structure.shapes})

    def potential(flat: Any) -> Any:
        return -posterior.logdensity(unravel(flat))

    def one(position: Any) -> Basins:
        end, value = _minimise(potential, ravel_pytree(position)[0])
        log_volume, doubt = _shape(potential, end)
        position = unravel(end)
        loss = posterior.loss_from_logdensity(position, -value)
        return Basins(position, value, loss, -value + log_volume, doubt)

    return jax.vmap(one)(positions)


class _Held(NamedTuple):
    position: Any  # the lowest so far, and what is known of it
    value: Any
    gradient: Any
    memory: Any
    direction: Any
    low: Any  # steps that are too short and too long
    high: Any
    step: Any
    gain: Any
    gain_before: Any
    iterations: Any
    tries: Any
    evaluations: Any


def _minimise(potential: Any, start: Any) -> tuple[Any, Any]:
    """Descend by L-BFGS, with one evaluation in every turn of one loop.

    Many descents are one vectorised call. Were the line search a loop of its own, all would wait
    for the longest of each iteration. It halves and doubles the step, which kinks do not confuse.

    References
    ----------
    .. [1] A. S. Lewis, M. L. Overton, "Nonsmooth optimization via quasi-Newton methods",
       Mathematical Programming 141 (2013) 135-163, algorithm 4.6.
    """
    quasi_newton = optax.scale_by_lbfgs(memory_size=_MEMORY)

    def goes_on(held: _Held) -> Any:
        gains = jnp.maximum(held.gain, held.gain_before) > _NO_GAIN
        enough = (held.iterations >= _ITERATIONS) | (held.evaluations >= _EVALUATIONS)
        return gains & ~enough

    def turn(held: _Held) -> _Held:
        there = held.position + held.step * held.direction
        value, gradient = jax.value_and_grad(potential)(there)
        slope = held.gradient @ held.direction
        lower = value <= held.value + _LOWERED * held.step * slope
        flatter = gradient @ held.direction >= _SLOPE_LEFT * slope
        low = jnp.where(lower, held.step, held.low)
        high = jnp.where(lower, held.high, held.step)
        within = jnp.where(jnp.isfinite(high), 0.5 * (low + high), 2 * low)
        tries = held.tries + 1
        searching = held._replace(
            low=low, high=high, step=within, tries=tries, evaluations=held.evaluations + 1
        )
        tired = tries >= _TRIES
        # A search that found no such step takes what is lower, or begins again along the slope.
        taken = lower & (flatter | tired)
        position, value, gradient = _chosen(
            taken, (there, value, gradient), (held.position, held.value, held.gradient)
        )
        ahead, memory = quasi_newton.update(gradient, held.memory, position)
        unit = 1 / jnp.maximum(jnp.linalg.norm(gradient), 1.0)
        downhill = taken & (ahead @ gradient > 0)
        begun = searching._replace(
            position=position,
            value=value,
            gradient=gradient,
            memory=_chosen(taken, memory, held.memory),
            direction=-jnp.where(downhill, ahead, unit * gradient),
            low=jnp.zeros_like(low),
            high=jnp.full_like(high, jnp.inf),
            step=jnp.ones_like(within),
            # Of the start nothing is known before it is evaluated.
            gain=held.value - value,
            gain_before=held.gain,
            iterations=held.iterations + 1,
            tries=jnp.zeros_like(tries),
        )
        return _chosen(taken | tired, begun, searching)

    zero = jnp.zeros_like(start)
    infinite, none = jnp.full((), jnp.inf, start.dtype), jnp.zeros((), start.dtype)
    count = jnp.asarray(0)
    end = jax.lax.while_loop(
        goes_on,
        turn,
        _Held(
            position=start,
            value=infinite,
            gradient=zero,
            memory=quasi_newton.init(start),
            direction=zero,
            low=none,
            high=infinite,
            step=none + 1,
            gain=infinite,
            gain_before=infinite,
            iterations=count,
            tries=count,
            evaluations=count,
        ),
    )
    return end.position, end.value


def _chosen(first: Any, these: Any, others: Any) -> Any:
    return jax.tree.map(lambda this, other: jnp.where(first, this, other), these, others)


def _shape(potential: Any, flat: Any) -> tuple[Any, Any]:
    """Give the logarithm of the volume of a basin, that of a Gaussian of the same curvature.

    The second value is by how much the position may lie above the bottom: where a slope is left, as
    at the bottom of a sum of absolute values, a descent does not tell how far it has come.
    """
    if flat.size > _LARGEST_HESSIAN:
        return jnp.zeros(()), jnp.zeros(())

    def slope(at: Any) -> tuple[Any, Any]:
        found = jax.grad(potential)(at)
        return found, found

    # Reverse over reverse: losses with a gradient of their own have no forward mode.
    hessian, gradient = jax.jacrev(slope, has_aux=True)(flat)
    curvatures, axes = jnp.linalg.eigh(jnp.nan_to_num(hessian))
    # What is flat or bends down is no wider than the coordinates are meant to be; and a bottom with
    # a slope, as that of a sum of absolute values, is as wide as its slope says.
    slopes = (gradient @ axes) ** 2
    curvatures = jnp.maximum(jnp.maximum(curvatures, slopes), 1e-2)
    log_volume = 0.5 * jnp.sum(math.log(2 * math.pi) - jnp.log(curvatures))
    return log_volume, _LEFT * jnp.sum(slopes / curvatures)
