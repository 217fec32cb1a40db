"""A population that comes down from the prior to the target, in as few rungs as it needs."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from sltprob.posterior import TemperedPosterior
from sltprob.samplers._point import Point
from sltprob.samplers._population import move_all, resample, variances

__all__ = ["Keys", "Population", "come_down"]

# Share of a population that the weights of the next temperature leave.
_EFFECTIVE_SHARE = 0.5
_MOST_RUNGS = 100
# Bisections by which the next temperature is found, over so many factors e.
_HALVINGS, _SPAN = 40, 80.0
# Trajectories on every rung, in units of its own standard deviations, and steps in one.
_MOVES, _LENGTH, _MOST_STEPS = 3, 1.5, 8
_ACCEPTANCE, _GAIN = 0.8, 1.5


class Population(NamedTuple):
    """Points that have come down."""

    position: Any  # leading axis point; siblings are neighbours
    loss: Any  # shape (point,)
    rungs: Any  # shape (): how many there were
    log_evidence: Any  # shape (): log of the mean of exp(-βL) over the prior


class _Held(NamedTuple):
    points: Point
    beta: Any
    log_step_size: Any
    rungs: Any
    log_evidence: Any


class Keys(NamedTuple):
    """Keys of a population, or their shapes. They are arguments, as to split keys compiles long."""

    resampling: Any
    moves: Any

    @classmethod
    def shapes(cls, size: int) -> Keys:
        """Say how many there are for so many points."""
        return cls((_MOST_RUNGS,), (_MOST_RUNGS, _MOVES, size))


def come_down(posterior: TemperedPosterior, start: Point, keys: Keys) -> Population:
    """Lead draws of the prior to the target, weighed and resampled as the temperature falls.

    Every next temperature is chosen so that its weights leave half of the population.

    References
    ----------
    .. [1] A. Jasra, D. A. Stephens, A. Doucet, T. Tsagaris, "Inference for Lévy-driven stochastic
       volatility models via adaptive sequential Monte Carlo", Scand. J. Stat. 38 (2011) 1-22.
    """
    target, size = posterior.beta, len(start.loss)

    def rung(held: _Held) -> _Held:
        losses = jnp.where(jnp.isfinite(held.points.loss), held.points.loss, jnp.inf)
        step = _largest_step(losses, target - held.beta)
        beta = held.beta + step
        # The target's own value, without rounding.
        beta = jnp.where(beta >= target * (1 - 1e-6), target, beta)
        gained = logsumexp(-step * losses) - math.log(size)
        points = resample(keys.resampling[held.rungs], -step * losses, held.points)
        metric = variances(points)

        def move(carry: Any, own: Any) -> Any:
            points, log_step_size = carry
            step_size = jnp.exp(log_step_size)
            num_steps = jnp.clip(jnp.ceil(_LENGTH / step_size), 1, _MOST_STEPS).astype(int)
            points, rates = move_all(own, posterior, points, beta, step_size, metric, num_steps)
            return (points, log_step_size + _GAIN * (jnp.mean(rates) - _ACCEPTANCE)), None

        (points, log_step_size), _ = jax.lax.scan(
            move, (points, held.log_step_size), keys.moves[held.rungs]
        )
        log_evidence = held.log_evidence + gained
        return _Held(points, beta, log_step_size, held.rungs + 1, log_evidence)

    zero = jnp.zeros_like(target)
    end = jax.lax.while_loop(
        lambda held: (held.beta < target) & (held.rungs < _MOST_RUNGS),
        rung,
        _Held(start, zero, zero, jnp.asarray(0), zero),
    )
    return Population(end.points.position, end.points.loss, end.rungs, end.log_evidence)


def _largest_step(losses: Any, left: Any) -> Any:
    """Find by how much β can grow, at most by what is left."""

    def fits(step: Any) -> Any:
        weights = jax.nn.softmax(-step * (losses - jnp.min(losses)))
        return 1 / jnp.sum(weights**2) >= _EFFECTIVE_SHARE * len(losses)

    def halve(_: Any, ends: Any) -> Any:
        low, high = ends
        middle = 0.5 * (low + high)
        found = fits(jnp.exp(middle))
        return jnp.where(found, middle, low), jnp.where(found, high, middle)

    top = jnp.log(left)
    low, _ = jax.lax.fori_loop(0, _HALVINGS, halve, (top - _SPAN, top))
    return jnp.where(fits(left), left, jnp.exp(low))
