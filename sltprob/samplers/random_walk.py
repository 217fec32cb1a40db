"""Random-walk Metropolis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import blackjax.mcmc.random_walk as random_walk
import jax.numpy as jnp

from sltprob.posterior import TemperedPosterior
from sltprob.samplers._local import LocalSampler
from sltprob.samplers._options import AcceptanceRate
from sltprob.samplers.base import Evaluation, evaluate_position

__all__ = ["RandomWalk"]


@dataclass(frozen=True, kw_only=True)
class RandomWalk(LocalSampler):
    """Random-walk Metropolis: an isotropic Gaussian move, then accept or reject.

    The step size is the standard deviation of the move. There is no gradient; ``num_gradients``
    counts evaluations of the density. It is the baseline that every sampler with gradients should
    beat.

    References
    ----------
    .. [1] A. Gelman, W. R. Gilks, G. O. Roberts, "Weak convergence and optimal scaling of random
       walk Metropolis algorithms", Annals of Applied Probability 7 (1997) 110-120.
    """

    target_acceptance_rate: AcceptanceRate = 0.234  # optimal in high dimension

    def _init(self, posterior: TemperedPosterior, position: Any) -> Any:
        return random_walk.init(position, posterior.logdensity)

    def _initial_step_size(self, width: Any, dimension: int) -> Any:
        return width / jnp.sqrt(dimension)

    def _kernel_step(
        self, rng_key: Any, posterior: TemperedPosterior, state: Any, step_size: Any
    ) -> tuple[Any, Any]:
        move = random_walk.normal(step_size)
        kernel = random_walk.build_additive_step()
        state, info = kernel(rng_key, state, posterior.logdensity, move)
        return state, info.acceptance_rate

    def evaluate(self, posterior: TemperedPosterior, state: Any) -> Evaluation:
        """Compute the gradient that the kernel does without."""
        return evaluate_position(posterior, state.position)
