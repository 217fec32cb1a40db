"""What the microcanonical samplers share: where they exist, and their warm-up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from blackjax.adaptation.mclmc_adaptation import MCLMCAdaptationState

from sltprob.posterior import TemperedPosterior
from sltprob.samplers._tuning import largest_curvature_of_chains, tune_step_size
from sltprob.samplers.base import Sampler, Warmup

__all__ = ["GRADIENTS_PER_STEP", "reason_against", "warm_up_by_tuner"]

#: Of BlackJAX's default integrator, McLachlan's minimal-norm scheme.
GRADIENTS_PER_STEP = 2


def reason_against(posterior: TemperedPosterior) -> str | None:
    """Say why microcanonical dynamics does not exist here, if it does not."""
    if posterior.dimension < 2:
        return "it has one dimension, and a velocity of fixed length can only turn in two"
    return None


def warm_up_by_tuner(
    sampler: Sampler,
    rng_key: Any,
    posterior: TemperedPosterior,
    positions: Any,
    num_steps: int,
    *,
    tune: Callable[[Any, Any, MCLMCAdaptationState, int], tuple[Any, MCLMCAdaptationState, Any]],
    parameters_at: Callable[[Any, MCLMCAdaptationState], dict[str, Any]],
    step_size: float | None,
    target_acceptance_rate: float | None,
) -> Warmup:
    """Tune every chain by BlackJAX's tuner in two thirds of the draws, pool, and run the rest."""
    key_guess, key_tuner, key_run = jax.random.split(rng_key, 3)
    guess = _first_guess(key_guess, posterior, positions)
    draws = 2 * num_steps // 3
    keys = jax.random.split(key_tuner, len(jax.tree.leaves(positions)[0]))
    # One chain after the other: vectorised, the tuners take twice as long to compile.
    states, tuned, counts = jax.lax.map(
        lambda chain: tune(chain[0], chain[1], guess, draws), (keys, positions)
    )
    # One set of parameters for all chains: geometric means.
    pooled = jax.tree.map(lambda leaf: jnp.exp(jnp.mean(jnp.log(leaf), axis=0)), tuned)
    warm = tune_step_size(
        sampler,
        key_run,
        posterior,
        states,
        lambda step_size: parameters_at(step_size, pooled),
        pooled.step_size if step_size is None else step_size,
        num_steps - draws,
        target_acceptance_rate if step_size is None else None,
    )
    gradients = warm.num_gradients + GRADIENTS_PER_STEP * jnp.mean(counts)
    return warm._replace(num_gradients=gradients)


def _first_guess(
    rng_key: Any, posterior: TemperedPosterior, positions: Any
) -> MCLMCAdaptationState:
    """Guess L and the step size from the largest curvature over the chains.

    The speed is 1 in total and 1/sqrt(d) in a coordinate, so that a step of a quarter of the
    smallest standard deviation has the length sqrt(d)/(4 sqrt(curvature)).
    """
    curvature = largest_curvature_of_chains(rng_key, posterior.logdensity, positions)
    length = jnp.sqrt(1.0 * posterior.dimension)
    return MCLMCAdaptationState(
        L=length,
        step_size=length / (4 * jnp.sqrt(curvature)),
        inverse_mass_matrix=jnp.ones(posterior.dimension),
    )
