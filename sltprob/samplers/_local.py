"""What samplers share whose kernel makes one local proposal and accepts or rejects it."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from sltprob.chance import keys_of
from sltprob.posterior import TemperedPosterior
from sltprob.samplers._options import AcceptanceRate, StepSize, StepsPerDraw
from sltprob.samplers._tuning import largest_curvature_of_chains, tune_step_size
from sltprob.samplers.base import Sampler, Warmup

__all__ = ["LocalSampler"]


@dataclass(frozen=True, kw_only=True)
class LocalSampler(Sampler):
    """A sampler of local proposals: warm-up adapts one step size over all chains."""

    step_size: StepSize = None
    steps_per_draw: StepsPerDraw = 50
    target_acceptance_rate: AcceptanceRate = 0.5

    @abc.abstractmethod
    def _init(self, posterior: TemperedPosterior, position: Any) -> Any:
        """Make the state of one chain."""

    @abc.abstractmethod
    def _kernel_step(
        self, rng_key: Any, posterior: TemperedPosterior, state: Any, step_size: Any
    ) -> tuple[Any, Any]:
        """Make one kernel step; give the state and the acceptance probability."""

    @abc.abstractmethod
    def _initial_step_size(self, width: Any, dimension: int) -> Any:
        """Guess a step size from the posterior's smallest standard deviation."""

    def warmup(
        self, rng_key: Any, posterior: TemperedPosterior, positions: Any, num_steps: int
    ) -> Warmup:
        """Adapt the step size by dual averaging, `steps_per_draw` kernel steps a draw."""
        key_curvature, key_tune = keys_of(rng_key, 2)
        states = jax.vmap(lambda position: self._init(posterior, position))(positions)
        initial, target = self.step_size, None
        if initial is None:
            curvature = largest_curvature_of_chains(key_curvature, posterior.logdensity, positions)
            width = 1 / jnp.sqrt(curvature)
            initial = self._initial_step_size(width, posterior.dimension)
            target = self.target_acceptance_rate
        return tune_step_size(
            self,
            key_tune,
            posterior,
            states,
            lambda step_size: {"step_size": step_size},
            initial,
            num_steps,
            target,
        )

    def step(
        self, rng_key: Any, posterior: TemperedPosterior, state: Any, parameters: dict[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        """Make `steps_per_draw` kernel steps."""

        def body(state: Any, key: Any) -> Any:
            return self._kernel_step(key, posterior, state, parameters["step_size"])

        keys = keys_of(rng_key, self.steps_per_draw)
        state, acceptance_rates = jax.lax.scan(body, state, keys)
        return state, {
            "acceptance_rate": jnp.mean(acceptance_rates),
            "num_gradients": jnp.asarray(self.steps_per_draw),
        }
