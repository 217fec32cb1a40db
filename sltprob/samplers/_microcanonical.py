"""What the microcanonical samplers share: the guess their tuners start from, and pooling."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from blackjax.adaptation.mclmc_adaptation import MCLMCAdaptationState

from sltprob.posterior import TemperedPosterior
from sltprob.samplers._tuning import largest_curvature_of_chains

__all__ = ["GRADIENTS_PER_STEP", "first_guess", "pool", "reason_against"]

#: Of BlackJAX's default integrator, McLachlan's minimal-norm scheme.
GRADIENTS_PER_STEP = 2


def reason_against(posterior: TemperedPosterior) -> str | None:
    """Say why microcanonical dynamics does not exist here, if it does not.

    Parameters
    ----------
    posterior : TemperedPosterior

    Returns
    -------
    str or None
    """
    if posterior.dimension < 2:
        return "it has one dimension, and a velocity of fixed length can only turn in two"
    return None


def first_guess(rng_key: Any, posterior: TemperedPosterior, positions: Any) -> MCLMCAdaptationState:
    """Guess L and the step size from the largest curvature over the chains.

    The speed is 1 in total and 1/sqrt(d) in a coordinate, so that a step of a quarter of the
    smallest standard deviation has the length sqrt(d)/(4 sqrt(curvature)).

    Parameters
    ----------
    rng_key : PRNG key
    posterior : TemperedPosterior
    positions : pytree, leading axis chain

    Returns
    -------
    blackjax.adaptation.mclmc_adaptation.MCLMCAdaptationState
    """
    curvature = largest_curvature_of_chains(rng_key, posterior.logdensity, positions)
    length = jnp.sqrt(1.0 * posterior.dimension)
    return MCLMCAdaptationState(
        L=length,
        step_size=length / (4 * jnp.sqrt(curvature)),
        inverse_mass_matrix=jnp.ones(posterior.dimension),
    )


def pool(tuned: MCLMCAdaptationState) -> MCLMCAdaptationState:
    """Take one set of parameters for all chains: geometric means.

    Parameters
    ----------
    tuned : blackjax.adaptation.mclmc_adaptation.MCLMCAdaptationState, leading axis chain

    Returns
    -------
    blackjax.adaptation.mclmc_adaptation.MCLMCAdaptationState
    """
    return jax.tree.map(lambda leaf: jnp.exp(jnp.mean(jnp.log(leaf), axis=0)), tuned)
