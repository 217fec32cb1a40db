"""Microcanonical Hamiltonian Monte Carlo with a Metropolis test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import blackjax.mcmc.adjusted_mclmc_dynamic as adjusted_mclmc_dynamic
import jax.numpy as jnp
from blackjax.adaptation.adjusted_mclmc_adaptation import adjusted_mclmc_find_L_and_step_size

from sltprob.posterior import TemperedPosterior
from sltprob.samplers._hamiltonian import jittered_num_steps
from sltprob.samplers._microcanonical import GRADIENTS_PER_STEP, Microcanonical
from sltprob.samplers._options import AcceptanceRate, StepSize
from sltprob.spec import at_least

__all__ = ["AdjustedMCLMC"]

# How many times the wanted number of steps a trajectory of the tuner may have.
_MOST_STEPS = 16


@dataclass(frozen=True, kw_only=True)
class AdjustedMCLMC(Microcanonical):
    """Microcanonical trajectories of jittered length, then accept or reject.

    The velocity has a fixed length and only turns; it is drawn anew before every trajectory. The
    lengths follow a Halton sequence that is the same for all chains: vectorised chains then never
    wait for each other.

    Parameters
    ----------
    mean_num_steps : float
        Mean number of integration steps of a trajectory, of two gradients each.

    References
    ----------
    .. [1] J. Robnik, G. B. De Luca, E. Silverstein, U. Seljak, "Microcanonical Hamiltonian Monte
       Carlo", JMLR 24 (2023) 311.
    .. [2] J. Robnik, R. Cohn-Gordon, U. Seljak, "Metropolis adjusted microcanonical Hamiltonian
       Monte Carlo", arXiv 2503.01707.
    """

    mean_num_steps: Annotated[float, at_least(1.2)] = 8.0
    step_size: StepSize = None
    target_acceptance_rate: AcceptanceRate = 0.8

    def _aim(self) -> float:
        return self.target_acceptance_rate

    def _tune(
        self, rng_key: Any, posterior: TemperedPosterior, position: Any, guess: Any, num_draws: int
    ) -> Any:
        # Where the density jumps the tuner shrinks the step at a fixed length, a thousandfold.
        most = _MOST_STEPS * self.mean_num_steps
        return adjusted_mclmc_find_L_and_step_size(
            self._kernel(lambda count, mean: jittered_num_steps(count, jnp.minimum(mean, most))),
            posterior.logdensity,
            num_draws,
            adjusted_mclmc_dynamic.init(position, posterior.logdensity, jnp.asarray(0)),
            rng_key,
            self.target_acceptance_rate,
            # The first part runs twice: before and after the metric is learned.
            frac_tune1=0.25,
            frac_tune2=0.5,
            params=guess,
            target_num_integration_steps=self.mean_num_steps,
        )

    def _kernel(self, steps: Callable[[Any, Any], Any] = jittered_num_steps) -> Any:
        return adjusted_mclmc_dynamic.build_kernel(
            integration_steps_fn=steps,
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
