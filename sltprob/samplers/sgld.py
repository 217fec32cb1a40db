"""Stochastic gradient Langevin dynamics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import blackjax.mcmc.mala as mala
import blackjax.sgmcmc.sgld as sgld
import jax.numpy as jnp

from sltprob.posterior import TemperedPosterior
from sltprob.samplers._stochastic import (
    Judged,
    StochasticGradientSampler,
    langevin_by_leaf,
    squared_norm,
    trace_of_hessian,
)
from sltprob.samplers._tuning import largest_curvature_of_chains
from sltprob.samplers.base import Evaluation

__all__ = ["SGLD"]

# A mode of curvature c gets 1/(1 - εc/2) times its variance: 2.5 % more on the stiffest mode,
# less on all others.
STEP_TIMES_CURVATURE = 0.05


@dataclass(frozen=True, kw_only=True)
class SGLD(StochasticGradientSampler):
    """Stochastic gradient Langevin: θ' = θ + ε ĝ + sqrt(2ε) N, with ĝ from a minibatch.

    The step size is BlackJAX's ε: half of the ε of Welling and Teh, and half of the ``lr`` of
    devinterp. There is no Metropolis step, so the answer is biased: on a Gaussian mode of
    curvature c, λ̂ comes out 1/(1 - εc/2) times too large, plus what the noise of the gradient
    adds.

    The rule for the step: ε = 0.05/c, c the largest curvature of the potential over the chains,
    measured by power iteration at the start of each round of warm-up. It keeps the bias of every
    mode below about 2.5 %. It is a rule for accuracy, not for speed: modes of curvature near 1
    take c/0.05 steps, and at low temperature no run is that long. The verdict says so.

    References
    ----------
    .. [1] M. Welling, Y. W. Teh, "Bayesian learning via stochastic gradient Langevin
       dynamics", ICML 2011.
    .. [2] E. Lau et al., "The local learning coefficient", arXiv 2308.12108.
    """

    def _start(self, rng_key: Any, evaluation: Evaluation) -> Any:
        return ()

    def _tune(self, rng_key: Any, posterior: TemperedPosterior, chains: Any) -> dict[str, Any]:
        if self.step_size is not None:
            return {"step_size": jnp.asarray(self.step_size)}
        positions = chains.evaluation.position
        curvature = largest_curvature_of_chains(rng_key, posterior.logdensity, positions)
        return {"step_size": STEP_TIMES_CURVATURE / curvature}

    def _advance(
        self, rng_key: Any, position: Any, memory: Any, gradient: Any, parameters: dict[str, Any]
    ) -> tuple[Any, Any]:
        kernel = sgld.build_kernel()
        step_size = parameters["step_size"]
        return kernel(rng_key, position, lambda *_: gradient, None, step_size), memory

    def local_advance(
        self,
        rng_key: Any,
        displacement: Any,
        memory: Any,
        gradient: Any,
        parameters: dict[str, Any],
    ) -> tuple[Any, Any]:
        """Make one step, leaf by leaf."""
        return langevin_by_leaf(rng_key, displacement, gradient, parameters["step_size"]), memory

    def _judge(
        self, rng_key: Any, posterior: TemperedPosterior, point: Judged, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        return langevin_bias(
            (rng_key, rng_key), posterior.logdensity, point, parameters["step_size"]
        )


def langevin_bias(keys: Any, logdensity_fn: Any, point: Judged, step_size: Any) -> dict[str, Any]:
    """Estimate by what the step size and the noise of the gradient change the invariant law."""
    evaluation, noise = point
    trace = trace_of_hessian(keys[0], logdensity_fn, evaluation.position)
    state = mala.MALAState(*evaluation)
    _, would_be = mala.build_kernel()(keys[1], state, logdensity_fn, step_size)
    return {
        # What a Metropolis test would have accepted of a step of this size on all data.
        "acceptance_rate": would_be.acceptance_rate,
        "log_tilt": step_size * (squared_norm(evaluation.logdensity_grad) / 4 - trace / 2),
        "noise_bias": step_size / 4 * squared_norm(noise),
    }
