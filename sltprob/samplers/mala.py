"""Metropolis-adjusted Langevin algorithm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import blackjax.mcmc.mala as mala
import jax
import jax.numpy as jnp

from sltprob.posterior import TemperedPosterior
from sltprob.samplers._tuning import adapt_step_size, largest_curvature
from sltprob.samplers.base import Sampler, Warmup

__all__ = ["MALA"]


@dataclass(frozen=True, kw_only=True)
class MALA(Sampler):
    """Metropolis-adjusted Langevin: θ' = θ + ε ∇log p + sqrt(2ε) N, then accept or reject.

    The step size is BlackJAX's ε (half of the ε of Welling and Teh). Warm-up adapts it over all
    chains to the target acceptance.

    Parameters
    ----------
    step_size : float or None
        ε; None to adapt it.
    steps_per_draw : int
        Kernel steps between two draws that are kept.
    target_acceptance_rate : float
        0.574 is optimal in high dimension.

    References
    ----------
    .. [1] G. O. Roberts, J. S. Rosenthal, "Optimal scaling of discrete approximations to
       Langevin diffusions", JRSS B 60 (1998) 255-268.
    """

    step_size: float | None = None
    steps_per_draw: int = 50
    target_acceptance_rate: float = 0.574

    def __post_init__(self) -> None:
        check_langevin_options(self.step_size, self.steps_per_draw)
        if not 0 < self.target_acceptance_rate < 1:
            raise ValueError(
                f"target_acceptance_rate={self.target_acceptance_rate}: it must lie between 0 "
                "and 1, such as 0.574"
            )

    def warmup(
        self, rng_key: Any, posterior: TemperedPosterior, positions: Any, num_steps: int
    ) -> Warmup:
        """Adapt the step size by dual averaging, `steps_per_draw` kernel steps a draw.

        Parameters
        ----------
        rng_key : PRNG key
        posterior : TemperedPosterior
        positions : pytree, leading axis chain
        num_steps : int

        Returns
        -------
        Warmup
        """
        states = jax.vmap(lambda position: mala.init(position, posterior.logdensity))(positions)
        key_curvature, key_adapt = jax.random.split(rng_key)

        def step(key: Any, states: Any, step_size: Any) -> Any:
            keys = jax.random.split(key, len(states.logdensity))
            states, info = jax.vmap(self.step, in_axes=(0, None, 0, None))(
                keys, posterior, states, {"step_size": step_size}
            )
            loss = jax.vmap(posterior.loss_from_logdensity)(states.position, states.logdensity)
            return states, info["acceptance_rate"], {"loss": loss, **info}

        if self.step_size is None:
            first = jax.tree.map(lambda leaf: leaf[0], positions)
            initial = 1 / largest_curvature(key_curvature, posterior.logdensity, first)
            states, step_size, trace = adapt_step_size(
                key_adapt, step, states, initial, num_steps, self.target_acceptance_rate
            )
        else:
            step_size = jnp.asarray(self.step_size)

            def body(states: Any, key: Any) -> Any:
                states, _, trace = step(key, states, step_size)
                return states, trace

            states, trace = jax.lax.scan(body, states, jax.random.split(key_adapt, num_steps))
        gradients = jnp.asarray(num_steps * self.steps_per_draw)
        return Warmup(states, {"step_size": step_size}, trace, gradients)

    def step(
        self, rng_key: Any, posterior: TemperedPosterior, state: Any, parameters: dict[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        """Make `steps_per_draw` kernel steps.

        Parameters
        ----------
        rng_key : PRNG key
        posterior : TemperedPosterior
        state : blackjax.mcmc.mala.MALAState
        parameters : dict of str to array

        Returns
        -------
        state : blackjax.mcmc.mala.MALAState
        info : dict of str to array
        """
        kernel = mala.build_kernel()

        def body(state: Any, key: Any) -> Any:
            state, info = kernel(key, state, posterior.logdensity, parameters["step_size"])
            return state, info.acceptance_rate

        keys = jax.random.split(rng_key, self.steps_per_draw)
        state, acceptance_rates = jax.lax.scan(body, state, keys)
        return state, {
            "acceptance_rate": jnp.mean(acceptance_rates),
            "num_gradients": jnp.asarray(self.steps_per_draw),
        }


def check_langevin_options(step_size: float | None, steps_per_draw: int) -> None:
    """Refuse options that no Langevin sampler can use.

    Parameters
    ----------
    step_size : float or None
    steps_per_draw : int

    Raises
    ------
    ValueError
        If one is out of range.
    """
    if step_size is not None and not 0 < step_size < float("inf"):
        raise ValueError(
            f"step_size={step_size}: it must be positive, such as 1e-3, or none to adapt it"
        )
    if steps_per_draw < 1:
        raise ValueError(f"steps_per_draw={steps_per_draw}: it must be >= 1, such as 50")
