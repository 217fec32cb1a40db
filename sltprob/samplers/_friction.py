"""What samplers share that follow a minibatch gradient with a momentum and a friction."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from sltprob.posterior import TemperedPosterior
from sltprob.samplers._stochastic import (
    Judged,
    StochasticGradientSampler,
    squared_norm,
    trace_of_hessian,
)
from sltprob.samplers._tuning import largest_curvature_of_chains

__all__ = ["FrictionSampler"]

# A mode of curvature c gets about 1 + εc/α times its variance.
_STEP_TIMES_FREQUENCY = 0.025
# αε around trained parameters: a momentum lasts for ten steps, which averages their gradients.
_LOCAL_DAMPING = 0.1


class FrictionSampler(StochasticGradientSampler):
    """A sampler with a friction α, which the stiffest direction sets."""

    friction: float | None  # an option of every subclass

    def _tune(self, rng_key: Any, posterior: TemperedPosterior, chains: Any) -> dict[str, Any]:
        positions = chains.evaluation.position
        curvature = largest_curvature_of_chains(rng_key, posterior.logdensity, positions)
        step_size, friction, frequency = self.step_size, self.friction, jnp.sqrt(curvature)
        return {
            "step_size": jnp.asarray(
                _STEP_TIMES_FREQUENCY / frequency if step_size is None else step_size
            ),
            "friction": jnp.asarray(frequency if friction is None else friction),
        }

    def local_parameters(self, langevin_step: Any) -> dict[str, Any]:
        """Give ε and α such that ε/α is the Langevin step, by default with αε = 0.1."""
        if self.friction is not None:
            friction = jnp.full_like(langevin_step, self.friction)
            return {"step_size": friction * langevin_step, "friction": friction}
        # A step of 0, which leaves a chain where it is, has a finite friction too.
        least = jnp.finfo(jnp.result_type(langevin_step)).tiny
        return {
            "step_size": jnp.sqrt(_LOCAL_DAMPING * langevin_step),
            "friction": jnp.sqrt(_LOCAL_DAMPING / jnp.maximum(langevin_step, least)),
        }

    def local_langevin_step(self, step_size: float) -> float:
        """Give ε/α: what slow directions move by."""
        if self.friction is not None:
            return step_size / self.friction
        return step_size**2 / _LOCAL_DAMPING

    def _judge(
        self, rng_key: Any, posterior: TemperedPosterior, point: Judged, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        # To first order in ε the density of θ is tilted by exp((ε/2α)(|∇U|² - 2ΔU)): exact on a
        # Gaussian for every friction, and in general where friction is strong.
        ratio = parameters["step_size"] / parameters["friction"]
        trace = trace_of_hessian(rng_key, posterior.logdensity, point.evaluation.position)
        gradient = point.evaluation.logdensity_grad
        return {
            "log_tilt": ratio * (squared_norm(gradient) / 2 - trace),
            "noise_bias": ratio / 4 * squared_norm(point.noise),
        }
