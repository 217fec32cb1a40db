"""Building blocks of warm-ups: a first step size, and its adaptation over all chains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from blackjax.adaptation.step_size import dual_averaging_adaptation
from jax.flatten_util import ravel_pytree

from sltprob.chance import keys_of, scattered_vector
from sltprob.posterior import TemperedPosterior
from sltprob.samplers.base import Sampler, Warmup, in_groups

__all__ = [
    "adapt_step_size",
    "largest_curvature",
    "largest_curvature_of_chains",
    "tune_step_size",
]

# Units in the last place by which two gradients differ where nothing bends.
_ROUNDINGS = 8
_POWERS = 20


def largest_curvature(rng_key: Any, logdensity_fn: Callable[[Any], Any], position: Any) -> Any:
    """Estimate the largest absolute eigenvalue of the Hessian by power iterations.

    The Hessian is that of differences of the gradient: to differentiate once more would take as
    long to compile as a whole sampler. Where a potential bends nowhere, as a sum of absolute values
    does not, the square of its slope takes the place of the curvature: there too the density falls
    by a factor e over one part of its root.
    """
    flat, unravel = ravel_pytree(position)

    def gradient(vector: Any) -> Any:
        return ravel_pytree(jax.grad(logdensity_fn)(unravel(vector)))[0]

    distance = jnp.sqrt(jnp.finfo(flat.dtype).eps) * jnp.maximum(jnp.linalg.norm(flat), 1)

    def iterate(turn: Any, carry: Any) -> Any:
        vector, here, _ = carry
        # The first turn is at the position itself: a gradient before the loop is one more program.
        first = turn == 0
        found = gradient(flat + jnp.where(first, 0, distance) * vector)
        image = (found - here) / distance
        size = jnp.linalg.norm(image)
        following = image / jnp.maximum(size, jnp.finfo(flat.dtype).tiny)
        return jnp.where(first, vector, following), jnp.where(first, found, here), size

    start = scattered_vector(rng_key, flat)
    _, here, curvature = jax.lax.fori_loop(
        0, 1 + _POWERS, iterate, (start, jnp.zeros_like(flat), jnp.zeros((), flat.dtype))
    )
    slope = jnp.linalg.norm(here)
    rounding = _ROUNDINGS * jnp.finfo(flat.dtype).eps * slope / distance
    return jnp.where(curvature > rounding, curvature, slope**2 / flat.size)


def largest_curvature_of_chains(
    rng_key: Any, logdensity_fn: Callable[[Any], Any], positions: Any
) -> Any:
    """Estimate the largest curvature over all chains."""
    keys = keys_of(rng_key, len(jax.tree.leaves(positions)[0]))
    return jnp.max(
        in_groups(
            lambda key, position: largest_curvature(key, logdensity_fn, position), keys, positions
        )
    )


def adapt_step_size(
    rng_key: Any,
    step: Callable[[Any, Any, Any], tuple[Any, Any, Any]],
    states: Any,
    initial_step_size: Any,
    num_steps: int,
    target_acceptance_rate: float,
) -> tuple[Any, Any, Any]:
    """Adapt one step size for all chains by dual averaging of their mean acceptance.

    References
    ----------
    .. [1] M. D. Hoffman, A. Gelman, "The No-U-Turn Sampler", JMLR 15 (2014), section 3.2.
    """
    init, update, final = dual_averaging_adaptation(target_acceptance_rate)

    def body(carry: Any, key: Any) -> Any:
        states, adaptation = carry
        step_size = jnp.exp(adaptation.log_step_size)
        states, acceptance_rates, trace = step(key, states, step_size)
        # A proposal that left the range of floating point was rejected.
        acceptance_rate = jnp.mean(jnp.nan_to_num(acceptance_rates))
        return (states, update(adaptation, acceptance_rate)), trace

    keys = keys_of(rng_key, num_steps)
    (states, adaptation), trace = jax.lax.scan(body, (states, init(initial_step_size)), keys)
    return states, final(adaptation), trace


def tune_step_size(
    sampler: Sampler,
    rng_key: Any,
    posterior: TemperedPosterior,
    states: Any,
    parameters_at: Callable[[Any], dict[str, Any]],
    initial_step_size: Any,
    num_steps: int,
    target_acceptance_rate: float | None,
) -> Warmup:
    """Run a sampler's own step on all chains, and adapt its step size meanwhile."""

    def step(key: Any, states: Any, step_size: Any) -> Any:
        parameters = parameters_at(step_size)

        def one(key: Any, state: Any) -> Any:
            state, info = sampler.step(key, posterior, state, parameters)
            # The gradient that this computes is used by nobody, so XLA leaves it out.
            position, logdensity, _ = sampler.evaluate(posterior, state)
            return state, {"loss": posterior.loss_from_logdensity(position, logdensity), **info}

        num_chains = len(jax.tree.leaves(states)[0])
        states, trace = sampler.over_chains(one, keys_of(key, num_chains), states)
        return states, trace.get("acceptance_rate"), trace

    if target_acceptance_rate is None:
        step_size = jnp.asarray(initial_step_size)

        def body(states: Any, key: Any) -> Any:
            states, _, trace = step(key, states, step_size)
            return states, trace

        states, trace = jax.lax.scan(body, states, keys_of(rng_key, num_steps))
    else:
        states, step_size, trace = adapt_step_size(
            rng_key, step, states, initial_step_size, num_steps, target_acceptance_rate
        )
    gradients = jnp.sum(jnp.mean(trace["num_gradients"], axis=1))
    return Warmup(states, parameters_at(step_size), trace, gradients)
