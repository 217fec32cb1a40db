"""The No-U-Turn sampler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import blackjax.mcmc.hmc as hmc
import blackjax.mcmc.nuts as nuts

from sltprob.posterior import TemperedPosterior
from sltprob.samplers._hamiltonian import warm_up_by_hmc
from sltprob.samplers._metric import check_metric, metric_of
from sltprob.samplers._tuning import STIFF_ACCEPTANCE, check_step_size, check_target_acceptance_rate
from sltprob.samplers.base import Sampler, Warmup

__all__ = ["NUTS"]


@dataclass(frozen=True, kw_only=True)
class NUTS(Sampler):
    """No-U-Turn sampler, multinomial over the trajectory.

    HMC learns the metric in the first three quarters of warm-up, or sooner; the rest adapts one
    step size for all chains with the acceptance of NUTS itself. Chains run one after the other,
    since trajectories differ in length: vectorised, every chain would pay for the longest.

    Parameters
    ----------
    max_tree_depth : int
        A trajectory has at most 2 to this power steps.
    metric : str
        ``diagonal``, ``dense`` or ``low_rank``, as for `HMC`.
    step_size : float or None
        Of the integrator, in the metric; None to adapt it.
    target_acceptance_rate : float
        Higher than the usual 0.8: a singular posterior is many times stiffer in its arms than
        in its bulk, and chains whose step fits the bulk stay out of them.

    References
    ----------
    .. [1] M. D. Hoffman, A. Gelman, "The No-U-Turn Sampler", JMLR 15 (2014) 1593-1623.
    .. [2] M. Betancourt, "A conceptual introduction to Hamiltonian Monte Carlo",
       arXiv 1701.02434.
    """

    vectorised: ClassVar[bool] = False

    max_tree_depth: int = 10
    metric: str = "diagonal"
    step_size: float | None = None
    target_acceptance_rate: float = STIFF_ACCEPTANCE

    def __post_init__(self) -> None:
        check_metric(self.metric)
        check_step_size(self.step_size)
        check_target_acceptance_rate(self.target_acceptance_rate, STIFF_ACCEPTANCE)
        if self.max_tree_depth < 1:
            raise ValueError(f"max_tree_depth={self.max_tree_depth}: it must be >= 1, such as 10")

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
            init=lambda evaluation: hmc.HMCState(*evaluation),
            parameters_at=lambda step_size, metric: {"step_size": step_size, **metric},
            metric=self.metric,
            step_size=self.step_size,
            target_acceptance_rate=self.target_acceptance_rate,
        )

    def step(
        self, rng_key: Any, posterior: TemperedPosterior, state: Any, parameters: dict[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        """Make one trajectory."""
        state, info = nuts.build_kernel()(
            rng_key,
            state,
            posterior.logdensity,
            parameters["step_size"],
            metric_of(parameters),
            self.max_tree_depth,
        )
        return state, {
            "acceptance_rate": info.acceptance_rate,
            "diverging": info.is_divergent,
            "energy": info.energy,
            "num_gradients": info.num_integration_steps,
            "tree_depth": info.num_trajectory_expansions,
            "reached_max_treedepth": info.num_trajectory_expansions >= self.max_tree_depth,
        }
