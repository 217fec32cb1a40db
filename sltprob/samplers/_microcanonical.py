"""What samplers share whose velocity has a fixed length: where they exist, and HMC's metric."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from sltprob.posterior import TemperedPosterior
from sltprob.samplers._hamiltonian import TaughtByHMC

__all__ = ["GRADIENTS_PER_STEP", "Microcanonical", "speed"]

#: Of BlackJAX's default integrator, McLachlan's minimal-norm scheme.
GRADIENTS_PER_STEP = 2


class Microcanonical(TaughtByHMC):
    """A sampler whose velocity has a fixed length and only turns, in HMC's diagonal metric."""

    metric = "diagonal"

    def applies_to(self, posterior: TemperedPosterior) -> str | None:
        """Ask for two dimensions."""
        if posterior.dimension < 2:
            return "it has one dimension, and a velocity of fixed length can only turn in two"
        return None

    def _first_step(self, step_size: Any, metric: dict[str, Any]) -> Any:
        return step_size * speed(metric)


def speed(metric: dict[str, Any]) -> Any:
    """Give how many times as far as in a coordinate the velocity comes in all of them together.

    It is 1 in total: a step of HMC, whose velocities are 1 in each coordinate, is so many times
    longer.
    """
    return jnp.sqrt(1.0 * metric["inverse_mass_matrix"].size)
