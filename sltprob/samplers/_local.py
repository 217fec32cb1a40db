"""What samplers share whose kernel makes one local proposal and accepts or rejects it."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from sltprob.posterior import TemperedPosterior
from sltprob.samplers._tuning import (
    check_target_acceptance_rate,
    largest_curvature_of_chains,
    tune_step_size,
)
from sltprob.samplers.base import Sampler, Warmup

__all__ = ["LocalSampler", "check_step_options"]


@dataclass(frozen=True, kw_only=True)
class LocalSampler(Sampler):
    """A sampler of local proposals: warm-up adapts one step size over all chains."""

    step_size: float | None = None  # None to adapt it
    steps_per_draw: int = 50  # Kernel steps between two draws that are kept
    target_acceptance_rate: float = 0.5

    def __post_init__(self) -> None:
        check_step_options(self.step_size, self.steps_per_draw)
        check_target_acceptance_rate(self.target_acceptance_rate, type(self).target_acceptance_rate)

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
        key_curvature, key_tune = jax.random.split(rng_key)
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

        keys = jax.random.split(rng_key, self.steps_per_draw)
        state, acceptance_rates = jax.lax.scan(body, state, keys)
        return state, {
            "acceptance_rate": jnp.mean(acceptance_rates),
            "num_gradients": jnp.asarray(self.steps_per_draw),
        }


def check_step_options(step_size: float | None, steps_per_draw: int) -> None:
    """Refuse options that no sampler with a step size can use."""
    if step_size is not None and not 0 < step_size < float("inf"):
        raise ValueError(
            f"step_size={step_size}: it must be positive, such as 1e-3, or none to adapt it"
        )
    if steps_per_draw < 1:
        raise ValueError(f"steps_per_draw={steps_per_draw}: it must be >= 1, such as 50")
