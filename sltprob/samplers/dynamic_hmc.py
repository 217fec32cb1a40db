"""Hamiltonian Monte Carlo with trajectories of random length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import blackjax.mcmc.dynamic_hmc as dynamic_hmc
import jax.numpy as jnp

from sltprob.posterior import TemperedPosterior
from sltprob.samplers._hamiltonian import jittered_num_steps, warm_up_by_hmc
from sltprob.samplers._metric import check_metric, energy_of_draw, metric_of
from sltprob.samplers._tuning import STIFF_ACCEPTANCE, check_step_size, check_target_acceptance_rate
from sltprob.samplers.base import Evaluation, Sampler, Warmup

__all__ = ["DynamicHMC"]


@dataclass(frozen=True, kw_only=True)
class DynamicHMC(Sampler):
    """Jittered Hamiltonian Monte Carlo: the number of leapfrog steps differs from draw to draw.

    The lengths spread evenly between nothing and twice the mean, so that no mode is in
    resonance with all of them, and short and long modes are both served. They follow a Halton
    sequence that is the same for all chains: vectorised chains then never wait for each other.
    The metric is learned by HMC, the step size is one for all chains.

    Parameters
    ----------
    trajectory_length : float
        Mean length of a trajectory, in units of the posterior's standard deviations; a quarter
        of a period is π/2.
    max_num_steps : int
        Upper bound on the mean number of steps.
    metric : str
        ``diagonal``, ``dense`` or ``low_rank``, as for `HMC`.
    step_size : float or None
        Of the integrator, in the metric; None to adapt it.
    target_acceptance_rate : float
        Higher than the usual 0.8: a singular posterior is many times stiffer in its arms than
        in its bulk, and chains whose step fits the bulk stay out of them.

    References
    ----------
    .. [1] M. D. Hoffman, A. Radul, P. Sountsov, "An adaptive-MCMC scheme for setting trajectory
       lengths in Hamiltonian Monte Carlo", AISTATS 2021 (Halton-jittered trajectories).
    .. [2] R. M. Neal, "MCMC using Hamiltonian dynamics", Handbook of Markov Chain Monte Carlo
       (2011), section 5.4.3.2.
    """

    trajectory_length: float = 1.5
    max_num_steps: int = 1024
    metric: str = "diagonal"
    step_size: float | None = None
    target_acceptance_rate: float = STIFF_ACCEPTANCE

    def __post_init__(self) -> None:
        check_metric(self.metric)
        check_step_size(self.step_size)
        check_target_acceptance_rate(self.target_acceptance_rate, STIFF_ACCEPTANCE)
        if not 0 < self.trajectory_length < float("inf"):
            raise ValueError(
                f"trajectory_length={self.trajectory_length}: it must be positive, such as 1.5"
            )
        if self.max_num_steps < 1:
            raise ValueError(f"max_num_steps={self.max_num_steps}: it must be >= 1, such as 1024")

    def _parameters(self, step_size: Any, metric: dict[str, Any]) -> dict[str, Any]:
        mean = jnp.clip(self.trajectory_length / step_size, 1.0, self.max_num_steps)
        return {
            "step_size": step_size,
            "mean_num_steps": mean,
            **metric,
        }

    def warmup(
        self, rng_key: Any, posterior: TemperedPosterior, positions: Any, num_steps: int
    ) -> Warmup:
        """Learn the metric by HMC, then adapt the step size."""
        return warm_up_by_hmc(
            self,
            rng_key,
            posterior,
            positions,
            num_steps,
            init=lambda evaluation: dynamic_hmc.DynamicHMCState(*evaluation, jnp.asarray(0)),
            parameters_at=self._parameters,
            metric=self.metric,
            step_size=self.step_size,
            target_acceptance_rate=self.target_acceptance_rate,
        )

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

    def evaluate(self, posterior: TemperedPosterior, state: Any) -> Evaluation:
        """Give what the kernel's state knows already."""
        return Evaluation(state.position, state.logdensity, state.logdensity_grad)
