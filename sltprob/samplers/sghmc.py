"""Stochastic gradient Hamiltonian Monte Carlo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import blackjax.sgmcmc.diffusions as diffusions
import jax.numpy as jnp
from blackjax.util import generate_gaussian_noise

from sltprob.posterior import TemperedPosterior
from sltprob.samplers._stochastic import (
    StochasticGradientSampler,
    by_leaf,
    squared_norm,
    trace_of_hessian,
)
from sltprob.samplers._tuning import largest_curvature_of_chains
from sltprob.samplers.base import Evaluation

__all__ = ["SGHMC"]

# A mode of curvature c gets about 1 + εc/α times its variance.
_STEP_TIMES_FREQUENCY = 0.025
# αε around trained parameters: a momentum lasts for ten steps, which averages their gradients.
LOCAL_DAMPING = 0.1


@dataclass(frozen=True, kw_only=True)
class SGHMC(StochasticGradientSampler):
    """Stochastic gradient HMC: Langevin dynamics with momentum and friction α, by Euler's rule.

    θ' = θ + ε p and p' = (1 - αε) p + ε ĝ + sqrt(2αε) N. The step is BlackJAX's; its kernel,
    which draws the momenta anew at every call and holds the minibatch meanwhile, is not used:
    momenta persist, and every step has a minibatch of its own.

    There is no Metropolis step, so the answer is biased by O(ε). A Gaussian mode of curvature c
    has c Var = v (1 - αε/2 + ε²c/2) with 1/v = 1 - αε/2 - εc/α + 3ε²c/4 - ε³c²/(4α): about 1 +
    εc/α, and there is no stationary law at all unless α > εc, so friction must grow with the
    stiffness. The rule, c the largest curvature over the chains, measured by power iteration at
    the start of each round of warm-up: α = sqrt(c) and ε = 0.025/sqrt(c), which biases no mode by
    more than about 2.5 % and is 40 times away from the edge. With such a friction the dynamics
    is not faster than Langevin's: Euler's rule gives away what momentum could gain.

    Parameters
    ----------
    step_size : float or None
        ε; None to set it by the rule.
    batch_size : int or None
        Data in a minibatch: fresh x for a population model, rows for data; None for all data.
    steps_per_draw : int
        Kernel steps between two draws that are kept.
    friction : float or None
        α; None to set it by the rule.

    References
    ----------
    .. [1] T. Chen, E. B. Fox, C. Guestrin, "Stochastic gradient Hamiltonian Monte Carlo",
       ICML 2014.
    .. [2] B. Leimkuhler, C. Matthews, M. Tretyakov, "On the long-time integration of stochastic
       gradient systems", Proceedings of the Royal Society A 470 (2014) 20140120 (how to derive
       the invariant law to first order).
    """

    friction: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_friction(self.friction)

    def _start(self, rng_key: Any, evaluation: Evaluation) -> Any:
        return generate_gaussian_noise(rng_key, evaluation.position)

    def _tune(self, rng_key: Any, posterior: TemperedPosterior, chains: Any) -> dict[str, Any]:
        return step_and_friction(rng_key, posterior, chains, self.step_size, self.friction)

    def _advance(
        self, rng_key: Any, position: Any, memory: Any, gradient: Any, parameters: dict[str, Any]
    ) -> tuple[Any, Any]:
        one_step = diffusions.sghmc(parameters["friction"])
        position, momentum = one_step(rng_key, position, memory, gradient, parameters["step_size"])
        return position, momentum

    def local_parameters(self, langevin_step: Any) -> dict[str, Any]:
        """Give ε and α, by default with αε = 0.1."""
        return local_friction(langevin_step, self.friction)

    def local_langevin_step(self, step_size: float) -> float:
        """Give ε/α: what slow directions move by."""
        return step_size**2 / LOCAL_DAMPING if self.friction is None else step_size / self.friction

    def local_advance(
        self,
        rng_key: Any,
        displacement: Any,
        memory: Any,
        gradient: Any,
        parameters: dict[str, Any],
    ) -> tuple[Any, Any]:
        """Make one step, leaf by leaf."""
        step_size = parameters["step_size"]
        one_step = diffusions.sghmc(parameters["friction"])
        displacement, momentum = by_leaf(
            lambda key, *leaves: one_step(key, *leaves, step_size),
            rng_key,
            displacement,
            memory,
            gradient,
        )
        return displacement, momentum

    def local_motion(self, memory: Any, parameters: dict[str, Any]) -> tuple[Any, Any] | None:
        """Give momentum and friction."""
        return memory, parameters["friction"]

    def _judge(
        self,
        rng_key: Any,
        posterior: TemperedPosterior,
        evaluation: Evaluation,
        noise: Any,
        parameters: dict[str, Any],
    ) -> dict[str, Any]:
        return friction_tilt(rng_key, posterior, evaluation, noise, parameters)


def check_friction(friction: float | None) -> None:
    """Refuse a friction that is not positive."""
    if friction is not None and not 0 < friction < float("inf"):
        raise ValueError(
            f"friction={friction}: it must be positive, such as 100, or none to set it by the "
            "stiffness"
        )


def step_and_friction(
    rng_key: Any,
    posterior: TemperedPosterior,
    chains: Any,
    step_size: float | None,
    friction: float | None,
) -> dict[str, Any]:
    """Set step size and friction by the largest curvature over the chains."""
    curvature = largest_curvature_of_chains(
        rng_key, posterior.logdensity, chains.evaluation.position
    )
    frequency = jnp.sqrt(curvature)
    return {
        "step_size": _STEP_TIMES_FREQUENCY / frequency
        if step_size is None
        else jnp.asarray(step_size),
        "friction": frequency if friction is None else jnp.asarray(friction),
    }


def friction_tilt(
    rng_key: Any,
    posterior: TemperedPosterior,
    evaluation: Evaluation,
    noise: Any,
    parameters: dict[str, Any],
) -> dict[str, Any]:
    """Estimate by what Euler's rule and the noise of the gradient change the invariant law.

    To first order in ε the density of θ is tilted by exp((ε/2α)(|∇U|² - 2ΔU)): exact on a
    Gaussian for every friction, and in general where friction is strong.
    """
    ratio = parameters["step_size"] / parameters["friction"]
    trace = trace_of_hessian(rng_key, posterior.logdensity, evaluation.position)
    return {
        "log_tilt": ratio * (squared_norm(evaluation.logdensity_grad) / 2 - trace),
        "noise_bias": ratio / 4 * squared_norm(noise),
    }


def local_friction(langevin_step: Any, friction: float | None) -> dict[str, Any]:
    """Give ε and α such that ε/α is the Langevin step."""
    if friction is not None:
        alpha = jnp.full_like(langevin_step, friction)
        return {"step_size": alpha * langevin_step, "friction": alpha}
    return {
        "step_size": jnp.sqrt(LOCAL_DAMPING * langevin_step),
        "friction": jnp.sqrt(LOCAL_DAMPING / langevin_step),
    }
