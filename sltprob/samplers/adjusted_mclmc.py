"""Microcanonical Hamiltonian Monte Carlo with a Metropolis test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import blackjax.mcmc.adjusted_mclmc_dynamic as adjusted_mclmc_dynamic
import jax.numpy as jnp
from blackjax.adaptation.adjusted_mclmc_adaptation import adjusted_mclmc_find_L_and_step_size

from sltprob.posterior import TemperedPosterior
from sltprob.samplers._hamiltonian import jittered_num_steps
from sltprob.samplers._microcanonical import (
    GRADIENTS_PER_STEP,
    reason_against,
    warm_up_by_tuner,
)
from sltprob.samplers._tuning import check_step_size, check_target_acceptance_rate
from sltprob.samplers.base import Evaluation, Sampler, Warmup

__all__ = ["AdjustedMCLMC"]


@dataclass(frozen=True, kw_only=True)
class AdjustedMCLMC(Sampler):
    """Microcanonical trajectories of jittered length, then accept or reject.

    The velocity has a fixed length and only turns; it is drawn anew before every trajectory. The
    lengths follow a Halton sequence that is the same for all chains: vectorised chains then never
    wait for each other.

    BlackJAX's tuner learns a diagonal metric and a step on every chain in the first two thirds
    of warm-up; their geometric means are taken, and the last third adapts one step size for all
    chains.

    Parameters
    ----------
    mean_num_steps : float
        Mean number of integration steps of a trajectory, of two gradients each.
    step_size : float or None
        Length of a step, in the metric that was learned; None to adapt it.
    target_acceptance_rate : float

    References
    ----------
    .. [1] J. Robnik, G. B. De Luca, E. Silverstein, U. Seljak, "Microcanonical Hamiltonian Monte
       Carlo", JMLR 24 (2023) 311.
    .. [2] J. Robnik, R. Cohn-Gordon, U. Seljak, "Metropolis adjusted microcanonical Hamiltonian
       Monte Carlo", arXiv 2503.01707.
    """

    mean_num_steps: float = 8.0
    step_size: float | None = None
    target_acceptance_rate: float = 0.8

    def __post_init__(self) -> None:
        check_step_size(self.step_size)
        check_target_acceptance_rate(self.target_acceptance_rate, 0.8)
        if not 1.2 <= self.mean_num_steps < float("inf"):
            raise ValueError(f"mean_num_steps={self.mean_num_steps}: it must be >= 1.2, such as 8")

    def applies_to(self, posterior: TemperedPosterior) -> str | None:
        """Ask for two dimensions."""
        return reason_against(posterior)

    def warmup(
        self, rng_key: Any, posterior: TemperedPosterior, positions: Any, num_steps: int
    ) -> Warmup:
        """Tune every chain by BlackJAX's tuner, pool, and adapt one step size."""

        def tune(key: Any, position: Any, guess: Any, draws: int) -> Any:
            return adjusted_mclmc_find_L_and_step_size(
                self._kernel(),
                posterior.logdensity,
                draws,
                adjusted_mclmc_dynamic.init(position, posterior.logdensity, jnp.asarray(0)),
                key,
                self.target_acceptance_rate,
                # The first part runs twice: before and after the metric is learned.
                frac_tune1=0.25,
                frac_tune2=0.5,
                params=guess,
                target_num_integration_steps=self.mean_num_steps,
            )

        return warm_up_by_tuner(
            self,
            rng_key,
            posterior,
            positions,
            num_steps,
            tune=tune,
            parameters_at=lambda step_size, pooled: {
                "step_size": step_size,
                "inverse_mass_matrix": pooled.inverse_mass_matrix,
            },
            step_size=self.step_size,
            target_acceptance_rate=self.target_acceptance_rate,
        )

    def _kernel(self) -> Any:
        return adjusted_mclmc_dynamic.build_kernel(
            integration_steps_fn=jittered_num_steps,
            next_random_arg_fn=lambda count: count + 1,
        )

    def step(
        self, rng_key: Any, posterior: TemperedPosterior, state: Any, parameters: dict[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        """Make one trajectory."""
        state, info = self._kernel()(
            rng_key,
            state,
            posterior.logdensity,
            parameters["step_size"],
            inverse_mass_matrix=parameters["inverse_mass_matrix"],
            integration_steps_params=(self.mean_num_steps,),
        )
        return state, {
            "acceptance_rate": info.acceptance_rate,
            "diverging": info.is_divergent,
            "num_gradients": GRADIENTS_PER_STEP * info.num_integration_steps,
        }

    def evaluate(self, posterior: TemperedPosterior, state: Any) -> Evaluation:
        """Give what the kernel's state knows already."""
        return Evaluation(state.position, state.logdensity, state.logdensity_grad)
