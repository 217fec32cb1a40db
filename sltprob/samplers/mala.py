"""Metropolis-adjusted Langevin algorithm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import blackjax.mcmc.mala as mala

from sltprob.posterior import TemperedPosterior
from sltprob.samplers._local import LocalSampler
from sltprob.samplers._options import AcceptanceRate

__all__ = ["MALA"]


@dataclass(frozen=True, kw_only=True)
class MALA(LocalSampler):
    """Metropolis-adjusted Langevin: θ' = θ + ε ∇log p + sqrt(2ε) N, then accept or reject.

    The step size is BlackJAX's ε (half of the ε of Welling and Teh).

    References
    ----------
    .. [1] G. O. Roberts, J. S. Rosenthal, "Optimal scaling of discrete approximations to
       Langevin diffusions", JRSS B 60 (1998) 255-268.
    """

    target_acceptance_rate: AcceptanceRate = 0.574  # optimal in high dimension

    def _init(self, posterior: TemperedPosterior, position: Any) -> Any:
        return mala.init(position, posterior.logdensity)

    def _initial_step_size(self, width: Any, dimension: int) -> Any:
        return width**2

    def _kernel_step(
        self, rng_key: Any, posterior: TemperedPosterior, state: Any, step_size: Any
    ) -> tuple[Any, Any]:
        state, info = mala.build_kernel()(rng_key, state, posterior.logdensity, step_size)
        return state, info.acceptance_rate
