"""Stochastic gradient Nosé-Hoover thermostat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import blackjax.sgmcmc.sgnht as sgnht
import jax
import jax.numpy as jnp
from blackjax.util import generate_gaussian_noise

from sltprob.posterior import TemperedPosterior
from sltprob.samplers._blocks import by_leaf, normal_like
from sltprob.samplers._friction import FrictionSampler
from sltprob.samplers._options import Friction
from sltprob.samplers._stochastic import Judged, squared_norm
from sltprob.samplers.base import Evaluation

__all__ = ["SGNHT"]

# Weight of the latest gradient in the running mean of |ĝ|².
_MEMORY = 1e-3
# κ/α²: the friction forgets the start in some hundred steps, and swings little.
_COUPLING = 0.1


class Thermostat(NamedTuple):
    """What a chain carries beside its position."""

    momentum: Any
    excess_friction: Any
    squared_gradient: Any


@dataclass(frozen=True, kw_only=True)
class SGNHT(FrictionSampler):
    """Stochastic gradient Nosé-Hoover thermostat: SGHMC whose friction ξ holds the temperature.

    θ' = θ + ε p, p' = (1 - ξε) p + ε ĝ + sqrt(2αε) N and ξ' = ξ + εκ(|p'|²/d - 1): the mean
    kinetic energy is right by construction, even when ĝ has noise, as long as that is the same
    in all directions. Where it is not, directions with much noise stay too hot and the others
    become too cold.

    The friction follows the kinetic energy at the rate κ/α. With κ = 1, as published, that is
    slower the colder the posterior, and what the friction took from a hot start stays in a run: a
    Gaussian read 13 % too little at β = 1000. With κ = α²/10 it is α/10 at every temperature,
    and ξ fluctuates by α/sqrt(10 d).

    There is no Metropolis step, so the answer is biased by O(ε): a Gaussian mode of curvature c
    gets about 1 + ε(c - c̄)/α - εα/2 times its variance, c̄ the mean curvature. The rule for ε
    and for α, where ξ starts, is that of `sghmc`, for the same reason.

    References
    ----------
    .. [1] N. Ding et al., "Bayesian sampling using stochastic gradient thermostats", NIPS 2014.
    """

    friction: Friction = None

    def _start(self, rng_key: Any, evaluation: Evaluation) -> Any:
        momentum = generate_gaussian_noise(rng_key, evaluation.position)
        zero = jnp.zeros_like(evaluation.logdensity)
        return Thermostat(momentum, zero, squared_norm(evaluation.logdensity_grad))

    def _tune(self, rng_key: Any, posterior: TemperedPosterior, chains: Any) -> dict[str, Any]:
        # E|∇U|² = E ΔU, so it tells the mean curvature.
        mean_curvature = jnp.mean(chains.memory.squared_gradient) / posterior.dimension
        tuned = super()._tune(rng_key, posterior, chains)
        return {**tuned, "mean_curvature": mean_curvature}

    def _advance(
        self, rng_key: Any, position: Any, memory: Any, gradient: Any, parameters: dict[str, Any]
    ) -> tuple[Any, Any]:
        friction = parameters["friction"]
        kernel = sgnht.build_kernel(friction)
        state = sgnht.SGNHTState(position, memory.momentum, friction + memory.excess_friction)
        position, momentum, friction_now = kernel(
            rng_key, state, lambda *_: gradient, None, parameters["step_size"]
        )
        # BlackJAX's kernel has κ = 1.
        heat = (friction_now - state.xi) * _COUPLING * friction**2
        old = memory.squared_gradient
        squared_gradient = old + _MEMORY * (squared_norm(gradient) - old)
        return position, Thermostat(momentum, memory.excess_friction + heat, squared_gradient)

    def local_start(self, rng_key: Any, displacement: Any) -> Any:
        """Draw a momentum, leaf by leaf."""
        zero = jnp.zeros((), jax.tree.leaves(displacement)[0].dtype)
        return Thermostat(normal_like(rng_key, displacement), zero, zero)

    def local_advance(
        self,
        rng_key: Any,
        displacement: Any,
        memory: Any,
        gradient: Any,
        parameters: dict[str, Any],
    ) -> tuple[Any, Any]:
        """Make one step, leaf by leaf; the thermostat takes the mean over all coordinates."""
        friction, step_size = parameters["friction"], parameters["step_size"]
        excess = memory.excess_friction
        kernel = sgnht.build_kernel(friction)

        def move(key: Any, place: Any, momentum: Any, slope: Any) -> tuple[Any, Any]:
            state = sgnht.SGNHTState(place, momentum, friction + excess)
            return kernel(key, state, lambda *_: slope, None, step_size)[:2]

        displacement, momentum = by_leaf(
            move, rng_key, (displacement, memory.momentum), (gradient,)
        )
        sizes = sum(leaf.size for leaf in jax.tree.leaves(momentum))
        warmer = squared_norm(momentum) / sizes - 1
        excess += _COUPLING * friction**2 * step_size * warmer
        return displacement, Thermostat(momentum, excess, memory.squared_gradient)

    def local_motion(self, memory: Any, parameters: dict[str, Any]) -> tuple[Any, Any] | None:
        """Give momentum and friction."""
        return memory.momentum, parameters["friction"] + memory.excess_friction

    def _judge(
        self, rng_key: Any, posterior: TemperedPosterior, point: Judged, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        tilt = super()._judge(rng_key, posterior, point, parameters)
        step_size, friction = parameters["step_size"], parameters["friction"]
        # The thermostat takes the mean of the excess heat out of all directions alike, and what
        # p' has since its noise came last: by the next step friction has taken half of that.
        mean_excess = step_size * (parameters["mean_curvature"] / friction + friction / 2)
        return {**tilt, "log_tilt": tilt["log_tilt"] + mean_excess * point.evaluation.logdensity}
