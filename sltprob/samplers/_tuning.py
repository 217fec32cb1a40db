"""Building blocks of warm-ups: a first step size, and its adaptation over all chains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from blackjax.adaptation.step_size import dual_averaging_adaptation
from jax.flatten_util import ravel_pytree

__all__ = ["adapt_step_size", "largest_curvature"]


def largest_curvature(rng_key: Any, logdensity_fn: Callable[[Any], Any], position: Any) -> Any:
    """Estimate the largest absolute eigenvalue of the Hessian by 20 power iterations.

    Parameters
    ----------
    rng_key : PRNG key
    logdensity_fn : callable
    position : pytree

    Returns
    -------
    array, shape ()
    """
    flat, unravel = ravel_pytree(position)

    def gradient(vector: Any) -> Any:
        return ravel_pytree(jax.grad(logdensity_fn)(unravel(vector)))[0]

    # Reverse over reverse: losses with a gradient of their own have no forward mode.
    _, pullback = jax.vjp(gradient, flat)

    def iterate(_: int, carry: Any) -> Any:
        vector, _ = carry
        (image,) = pullback(vector)
        size = jnp.linalg.norm(image)
        return image / jnp.maximum(size, jnp.finfo(flat.dtype).tiny), size

    start = jax.random.normal(rng_key, flat.shape, flat.dtype)
    start /= jnp.linalg.norm(start)
    return jax.lax.fori_loop(0, 20, iterate, (start, jnp.zeros((), flat.dtype)))[1]


def adapt_step_size(
    rng_key: Any,
    step: Callable[[Any, Any, Any], tuple[Any, Any, Any]],
    states: Any,
    initial_step_size: Any,
    num_steps: int,
    target_acceptance_rate: float,
) -> tuple[Any, Any, Any]:
    """Adapt one step size for all chains by dual averaging of their mean acceptance.

    Parameters
    ----------
    rng_key : PRNG key
    step : callable
        ``(rng_key, states, step_size) -> (states, acceptance_rates, trace)`` over all chains.
    states : pytree, leading axis chain
    initial_step_size : array, shape ()
    num_steps : int
    target_acceptance_rate : float

    Returns
    -------
    states : pytree
    step_size : array, shape ()
    trace : pytree, leading axis draw

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

    keys = jax.random.split(rng_key, num_steps)
    (states, adaptation), trace = jax.lax.scan(body, (states, init(initial_step_size)), keys)
    return states, final(adaptation), trace
