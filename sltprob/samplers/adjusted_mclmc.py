"""Microcanonical Hamiltonian Monte Carlo with a Metropolis test."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

import blackjax.mcmc.adjusted_mclmc_dynamic as adjusted_mclmc_dynamic
import jax.numpy as jnp

from sltprob.posterior import TemperedPosterior
from sltprob.samplers._hamiltonian import jittered_num_steps
from sltprob.samplers._microcanonical import GRADIENTS_PER_STEP, Microcanonical, speed
from sltprob.samplers._options import AcceptanceRate, StepSize
from sltprob.samplers.base import Evaluation
from sltprob.spec import at_least

__all__ = ["AdjustedMCLMC"]

# Mean length of the longest trajectories in standard deviations, as that of dynamic_hmc.
_LENGTH = 1.5
_FEWEST_STEPS, _MOST_STEPS = 1.2, 65536.0
# The shortest have so many steps at least, unless the longest has fewer, and this share of it.
_SHORT_STEPS, _RAREST = 8.0, 1 / 256
# Its multiples, but for the whole part, are as evenly spread as can be.
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True, kw_only=True)
class AdjustedMCLMC(Microcanonical):
    """Microcanonical trajectories of jittered length, then accept or reject.

    The velocity has a fixed length and only turns; it is drawn anew before every trajectory. The
    lengths follow sequences that are the same for all chains: vectorised chains then never wait
    for each other. HMC learns the metric, and a trajectory that is x times as long as a short one,
    up to that which crosses the flat directions, is x times as rare, as those of `hmc` are.

    Parameters
    ----------
    mean_num_steps : float or None
        Mean number of integration steps of a trajectory, of two gradients each; None lets it
        follow from the step.

    References
    ----------
    .. [1] J. Robnik, G. B. De Luca, E. Silverstein, U. Seljak, "Microcanonical Hamiltonian Monte
       Carlo", JMLR 24 (2023) 311.
    .. [2] J. Robnik, R. Cohn-Gordon, U. Seljak, "Metropolis adjusted microcanonical Hamiltonian
       Monte Carlo", arXiv 2503.01707.
    """

    mean_num_steps: Annotated[
        float | None, at_least(_FEWEST_STEPS, example=8, none="to follow from the step")
    ] = None
    step_size: StepSize = None
    target_acceptance_rate: AcceptanceRate = 0.8

    def _init(self, evaluation: Evaluation) -> Any:
        return adjusted_mclmc_dynamic.DynamicHMCState(*evaluation, jnp.asarray(0))

    def _parameters(self, step_size: Any, metric: dict[str, Any]) -> dict[str, Any]:
        if self.mean_num_steps is not None:
            short = long = jnp.asarray(self.mean_num_steps)
        else:
            long = jnp.clip(_LENGTH * speed(metric) / step_size, _FEWEST_STEPS, _MOST_STEPS)
            short = jnp.maximum(_RAREST * long, jnp.minimum(long, _SHORT_STEPS))
        return {"step_size": step_size, "num_steps": short, "num_steps_long": long, **metric}

    def step(
        self, rng_key: Any, posterior: TemperedPosterior, state: Any, parameters: dict[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        """Make one trajectory."""
        kernel = adjusted_mclmc_dynamic.build_kernel(
            integration_steps_fn=_num_steps,
            next_random_arg_fn=lambda count: count + 1,
        )
        state, info = kernel(
            rng_key,
            state,
            posterior.logdensity,
            parameters["step_size"],
            inverse_mass_matrix=parameters["inverse_mass_matrix"],
            integration_steps_params=(parameters["num_steps"], parameters["num_steps_long"]),
        )
        return state, {
            "acceptance_rate": info.acceptance_rate,
            "diverging": info.is_divergent,
            "num_gradients": GRADIENTS_PER_STEP * info.num_integration_steps,
        }


def _num_steps(count: Any, short: Any, long: Any) -> Any:
    """Give the steps of a draw: x times as many as the short ones for one draw in x."""
    rarity = 1 / ((_GOLDEN * (count + 1)) % 1.0)
    return jittered_num_steps(count, jnp.minimum(short * rarity, long))
