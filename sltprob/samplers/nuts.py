"""The No-U-Turn sampler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import blackjax.mcmc.hmc as hmc
import blackjax.mcmc.nuts as nuts

from sltprob.posterior import TemperedPosterior
from sltprob.samplers._hamiltonian import TaughtByHMC
from sltprob.samplers._metric import metric_of
from sltprob.samplers._options import STIFF_ACCEPTANCE, AcceptanceRate, Metric, StepSize
from sltprob.samplers.base import Evaluation
from sltprob.spec import whole

__all__ = ["NUTS"]


@dataclass(frozen=True, kw_only=True)
class NUTS(TaughtByHMC):
    """No-U-Turn sampler, multinomial over the trajectory.

    HMC learns the metric in the first three quarters of warm-up, or sooner; the rest adapts one
    step size for all chains with the acceptance of NUTS itself. Chains run one after the other,
    since trajectories differ in length: vectorised, every chain would pay for the longest.

    Parameters
    ----------
    max_tree_depth : int
        A trajectory has at most 2 to this power steps.

    References
    ----------
    .. [1] M. D. Hoffman, A. Gelman, "The No-U-Turn Sampler", JMLR 15 (2014) 1593-1623.
    .. [2] M. Betancourt, "A conceptual introduction to Hamiltonian Monte Carlo",
       arXiv 1701.02434.
    """

    vectorised: ClassVar[bool] = False

    max_tree_depth: Annotated[int, whole(1)] = 10
    metric: Metric = "auto"
    step_size: StepSize = None
    target_acceptance_rate: AcceptanceRate = STIFF_ACCEPTANCE

    def _init(self, evaluation: Evaluation) -> Any:
        return hmc.HMCState(*evaluation)

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
