"""Barker's proposal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import blackjax.mcmc.barker as barker
import jax.numpy as jnp

from sltprob.posterior import TemperedPosterior
from sltprob.samplers._local import LocalSampler
from sltprob.samplers._options import AcceptanceRate

__all__ = ["Barker"]


@dataclass(frozen=True, kw_only=True)
class Barker(LocalSampler):
    """Barker's proposal: Gaussian moves whose signs the gradient biases, then accept or reject.

    It is as local as MALA, and its acceptance falls slower when the step is too large.
    The step size is the standard deviation of the Gaussian.

    References
    ----------
    .. [1] S. Livingstone, G. Zanella, "The Barker proposal: combining robustness and efficiency
       in gradient-based MCMC", JRSS B 84 (2022) 496-523.
    .. [2] J. Vogrinc, S. Livingstone, G. Zanella, "Optimal design of the Barker proposal and
       other locally balanced Metropolis-Hastings algorithms", Biometrika 110 (2023) 579-595.
    """

    target_acceptance_rate: AcceptanceRate = 0.4  # optimal in high dimension

    def _init(self, posterior: TemperedPosterior, position: Any) -> Any:
        return barker.init(position, posterior.logdensity)

    def _initial_step_size(self, width: Any, dimension: int) -> Any:
        return width

    def _kernel_step(
        self, rng_key: Any, posterior: TemperedPosterior, state: Any, step_size: Any
    ) -> tuple[Any, Any]:
        state, info = barker.build_kernel()(rng_key, state, posterior.logdensity, step_size)
        # Where the proposal densities of both directions underflow, BlackJAX's ratio is NaN and
        # the move is rejected. The condition is symmetric, so detailed balance holds.
        return state, jnp.nan_to_num(info.acceptance_rate)
