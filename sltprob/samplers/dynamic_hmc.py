"""Hamiltonian Monte Carlo with trajectories of random length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import blackjax.mcmc.dynamic_hmc as dynamic_hmc
import jax.numpy as jnp

from sltprob.posterior import TemperedPosterior
from sltprob.samplers._hamiltonian import TaughtByHMC, jittered_num_steps
from sltprob.samplers._metric import energy_of_draw, metric_of
from sltprob.samplers._options import (
    STIFF_ACCEPTANCE,
    AcceptanceRate,
    MaxNumSteps,
    Metric,
    StepSize,
    TrajectoryLength,
)
from sltprob.samplers.base import Evaluation

__all__ = ["DynamicHMC"]


@dataclass(frozen=True, kw_only=True)
class DynamicHMC(TaughtByHMC):
    """Jittered Hamiltonian Monte Carlo: the number of leapfrog steps differs from draw to draw.

    The lengths spread evenly between nothing and twice the mean, so that no mode is in
    resonance with all of them, and short and long modes are both served. They follow a Halton
    sequence that is the same for all chains: vectorised chains then never wait for each other.
    The metric is learned by HMC, the step size is one for all chains. The length of a trajectory
    and the bound on its steps are those of the mean.

    References
    ----------
    .. [1] M. D. Hoffman, A. Radul, P. Sountsov, "An adaptive-MCMC scheme for setting trajectory
       lengths in Hamiltonian Monte Carlo", AISTATS 2021 (Halton-jittered trajectories).
    .. [2] R. M. Neal, "MCMC using Hamiltonian dynamics", Handbook of Markov Chain Monte Carlo
       (2011), section 5.4.3.2.
    """

    trajectory_length: TrajectoryLength = 1.5
    max_num_steps: MaxNumSteps = 1024
    metric: Metric = "auto"
    step_size: StepSize = None
    target_acceptance_rate: AcceptanceRate = STIFF_ACCEPTANCE

    def _init(self, evaluation: Evaluation) -> Any:
        return dynamic_hmc.DynamicHMCState(*evaluation, jnp.asarray(0))

    def _parameters(self, step_size: Any, metric: dict[str, Any]) -> dict[str, Any]:
        mean = jnp.clip(self.trajectory_length / step_size, 1.0, self.max_num_steps)
        return {"step_size": step_size, "mean_num_steps": mean, **metric}

    def step(
        self, rng_key: Any, posterior: TemperedPosterior, state: Any, parameters: dict[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        """Make one trajectory."""
        kernel = dynamic_hmc.build_kernel(
            next_random_arg_fn=lambda count: count + 1,
            integration_steps_fn=jittered_num_steps,
        )
        metric = metric_of(parameters)
        before = state.logdensity
        state, info = kernel(
            rng_key,
            state,
            posterior.logdensity,
            parameters["step_size"],
            metric,
            (parameters["mean_num_steps"],),
        )
        return state, {
            "acceptance_rate": info.acceptance_rate,
            "diverging": info.is_divergent,
            "energy": energy_of_draw(info, before, metric),
            "num_gradients": info.num_integration_steps,
        }
