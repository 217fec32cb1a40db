"""Microcanonical Hamiltonian Monte Carlo with a Metropolis test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import blackjax.mcmc.adjusted_mclmc_dynamic as adjusted_mclmc_dynamic
import jax
import jax.numpy as jnp
from blackjax.adaptation.adjusted_mclmc_adaptation import adjusted_mclmc_find_L_and_step_size

from sltprob.posterior import TemperedPosterior
from sltprob.samplers._hamiltonian import jittered_num_steps
from sltprob.samplers._microcanonical import (
    GRADIENTS_PER_STEP,
    first_guess,
    pool,
    reason_against,
)
from sltprob.samplers._tuning import check_target_acceptance_rate, tune_step_size
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
    target_acceptance_rate : float

    References
    ----------
    .. [1] J. Robnik, G. B. De Luca, E. Silverstein, U. Seljak, "Microcanonical Hamiltonian Monte
       Carlo", JMLR 24 (2023) 311.
    .. [2] J. Robnik, R. Cohn-Gordon, U. Seljak, "Metropolis adjusted microcanonical Hamiltonian
       Monte Carlo", arXiv 2503.01707.
    """

    mean_num_steps: float = 8.0
    target_acceptance_rate: float = 0.8

    def __post_init__(self) -> None:
        check_target_acceptance_rate(self.target_acceptance_rate, 0.8)
        if not 1.2 <= self.mean_num_steps < float("inf"):
            raise ValueError(f"mean_num_steps={self.mean_num_steps}: it must be >= 1.2, such as 8")

    def applies_to(self, posterior: TemperedPosterior) -> str | None:
        """Ask for two dimensions.

        Parameters
        ----------
        posterior : TemperedPosterior

        Returns
        -------
        str or None
        """
        return reason_against(posterior)

    def warmup(
        self, rng_key: Any, posterior: TemperedPosterior, positions: Any, num_steps: int
    ) -> Warmup:
        """Tune every chain by BlackJAX's tuner, pool, and adapt one step size.

        Parameters
        ----------
        rng_key : PRNG key
        posterior : TemperedPosterior
        positions : pytree, leading axis chain
        num_steps : int

        Returns
        -------
        Warmup
            The trace has the last third of the draws.
        """
        num_chains = len(jax.tree.leaves(positions)[0])
        key_guess, key_tuner, key_step = jax.random.split(rng_key, 3)
        guess = first_guess(key_guess, posterior, positions)
        steps = 2 * num_steps // 3
        kernel = self._kernel()

        def tune(chain: Any) -> Any:
            key, position = chain
            state = adjusted_mclmc_dynamic.init(position, posterior.logdensity, jnp.asarray(0))
            return adjusted_mclmc_find_L_and_step_size(
                kernel,
                posterior.logdensity,
                steps,
                state,
                key,
                self.target_acceptance_rate,
                # The first part runs twice: before and after the metric is learned.
                frac_tune1=0.25,
                frac_tune2=0.5,
                params=guess,
                target_num_integration_steps=self.mean_num_steps,
            )

        # One chain after the other: vectorised, the tuner takes twice as long to compile.
        keys = jax.random.split(key_tuner, num_chains)
        states, tuned, counts = jax.lax.map(tune, (keys, positions))
        pooled = pool(tuned)
        warm = tune_step_size(
            self,
            key_step,
            posterior,
            states,
            lambda step_size: {
                "step_size": step_size,
                "inverse_mass_matrix": pooled.inverse_mass_matrix,
            },
            pooled.step_size,
            num_steps - steps,
            self.target_acceptance_rate,
        )
        gradients = warm.num_gradients + GRADIENTS_PER_STEP * counts.mean()
        return warm._replace(num_gradients=gradients)

    def _kernel(self) -> Any:
        return adjusted_mclmc_dynamic.build_kernel(
            integration_steps_fn=jittered_num_steps,
            next_random_arg_fn=lambda count: count + 1,
        )

    def step(
        self, rng_key: Any, posterior: TemperedPosterior, state: Any, parameters: dict[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        """Make one trajectory.

        Parameters
        ----------
        rng_key : PRNG key
        posterior : TemperedPosterior
        state : blackjax.mcmc.dynamic_hmc.DynamicHMCState
        parameters : dict of str to array

        Returns
        -------
        state : blackjax.mcmc.dynamic_hmc.DynamicHMCState
        info : dict of str to array
            Without ``energy``, which BlackJAX leaves without its kinetic part.
        """
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
        """Give what the kernel's state knows already.

        Parameters
        ----------
        posterior : TemperedPosterior
        state : blackjax.mcmc.dynamic_hmc.DynamicHMCState

        Returns
        -------
        Evaluation
        """
        return Evaluation(state.position, state.logdensity, state.logdensity_grad)
