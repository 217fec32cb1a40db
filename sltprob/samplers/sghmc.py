"""Stochastic gradient Hamiltonian Monte Carlo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import blackjax.sgmcmc.diffusions as diffusions
from blackjax.util import generate_gaussian_noise

from sltprob.samplers._blocks import by_leaf, normal_like
from sltprob.samplers._friction import FrictionSampler
from sltprob.samplers._options import Friction
from sltprob.samplers.base import Evaluation

__all__ = ["SGHMC"]


@dataclass(frozen=True, kw_only=True)
class SGHMC(FrictionSampler):
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

    References
    ----------
    .. [1] T. Chen, E. B. Fox, C. Guestrin, "Stochastic gradient Hamiltonian Monte Carlo",
       ICML 2014.
    .. [2] B. Leimkuhler, C. Matthews, M. Tretyakov, "On the long-time integration of stochastic
       gradient systems", Proceedings of the Royal Society A 470 (2014) 20140120 (how to derive
       the invariant law to first order).
    """

    friction: Friction = None

    def _start(self, rng_key: Any, evaluation: Evaluation) -> Any:
        return generate_gaussian_noise(rng_key, evaluation.position)

    def _advance(
        self, rng_key: Any, position: Any, memory: Any, gradient: Any, parameters: dict[str, Any]
    ) -> tuple[Any, Any]:
        one_step = diffusions.sghmc(parameters["friction"])
        position, momentum = one_step(rng_key, position, memory, gradient, parameters["step_size"])
        return position, momentum

    def local_start(self, rng_key: Any, displacement: Any) -> Any:
        """Draw a momentum, leaf by leaf."""
        return normal_like(rng_key, displacement)

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
            (displacement, memory),
            (gradient,),
        )
        return displacement, momentum

    def local_motion(self, memory: Any, parameters: dict[str, Any]) -> tuple[Any, Any] | None:
        """Give momentum and friction."""
        return memory, parameters["friction"]
