"""What samplers share whose velocity has a fixed length: where they exist, and their warm-up."""

from __future__ import annotations

import abc
from typing import Any

import jax
import jax.numpy as jnp
from blackjax.adaptation.mclmc_adaptation import MCLMCAdaptationState

from sltprob.posterior import TemperedPosterior
from sltprob.samplers._tuning import largest_curvature_of_chains, tune_step_size
from sltprob.samplers.base import Sampler, Warmup

__all__ = ["GRADIENTS_PER_STEP", "Microcanonical"]

#: Of BlackJAX's default integrator, McLachlan's minimal-norm scheme.
GRADIENTS_PER_STEP = 2


class Microcanonical(Sampler):
    """A sampler whose velocity has a fixed length and only turns.

    BlackJAX's tuner learns a diagonal metric and a step on every chain in the first two thirds of
    warm-up; their geometric means are taken, and the last third runs with them.
    """

    step_size: float | None  # an option of every subclass

    @abc.abstractmethod
    def _tune(
        self, rng_key: Any, posterior: TemperedPosterior, position: Any, guess: Any, num_draws: int
    ) -> tuple[Any, MCLMCAdaptationState, Any]:
        """Tune one chain; give its state, what was tuned, and the steps that it took."""

    def _parameters(self, step_size: Any, tuned: MCLMCAdaptationState) -> dict[str, Any]:
        """Give the parameters that go with a step size."""
        return {"step_size": step_size, "inverse_mass_matrix": tuned.inverse_mass_matrix}

    def _aim(self) -> float | None:
        """Give the acceptance rate that the last third adapts the step size to, if any."""
        return None

    def applies_to(self, posterior: TemperedPosterior) -> str | None:
        """Ask for two dimensions."""
        if posterior.dimension < 2:
            return "it has one dimension, and a velocity of fixed length can only turn in two"
        return None

    def warmup(
        self, rng_key: Any, posterior: TemperedPosterior, positions: Any, num_steps: int
    ) -> Warmup:
        """Tune every chain by BlackJAX's tuner, pool, and run the rest."""
        key_guess, key_tuner, key_run = jax.random.split(rng_key, 3)
        guess = _first_guess(key_guess, posterior, positions)
        draws = 2 * num_steps // 3
        keys = jax.random.split(key_tuner, len(jax.tree.leaves(positions)[0]))
        # One chain after the other: vectorised, the tuners take twice as long to compile.
        states, tuned, counts = jax.lax.map(
            lambda chain: self._tune(chain[0], posterior, chain[1], guess, draws), (keys, positions)
        )
        # One set of parameters for all chains: geometric means.
        pooled = jax.tree.map(lambda leaf: jnp.exp(jnp.mean(jnp.log(leaf), axis=0)), tuned)
        free = self.step_size is None
        warm = tune_step_size(
            self,
            key_run,
            posterior,
            states,
            lambda step_size: self._parameters(step_size, pooled),
            pooled.step_size if free else self.step_size,
            num_steps - draws,
            self._aim() if free else None,
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
