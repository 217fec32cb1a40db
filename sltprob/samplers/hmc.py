"""Hamiltonian Monte Carlo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import blackjax
import blackjax.mcmc.hmc as hmc
import jax
import jax.numpy as jnp
from blackjax.mcmc.metrics import default_metric
from jax.flatten_util import ravel_pytree

from sltprob.posterior import TemperedPosterior
from sltprob.samplers._tuning import adapt_step_size, largest_curvature
from sltprob.samplers.base import Evaluation, Sampler, Warmup

__all__ = ["HMC"]

# Steps of the first phase of warm-up, in which the metric is learned.
_FIRST_PHASE_STEPS = 32
# One trajectory in so many is long enough for the flat directions.
_LONG_EVERY = 8


class HMCChain(NamedTuple):
    """State of a chain.

    Parameters
    ----------
    state : blackjax.mcmc.hmc.HMCState
    count : array, shape ()
        Draws so far.
    """

    state: hmc.HMCState
    count: Any


@dataclass(frozen=True, kw_only=True)
class HMC(Sampler):
    """Hamiltonian Monte Carlo with a diagonal metric, tuned over all chains.

    Warm-up runs BlackJAX's window adaptation on every chain, takes the mean of the metrics, and
    then adapts one step size for all chains. The number of leapfrog steps follows from the
    step: a trajectory has a fixed length in units of the metric's standard deviations.

    Stiff directions decorrelate on short trajectories, and most draws should be of that kind;
    flat ones need long ones, and within a warm-up the metric does not even learn how wide they
    are. The spread between the chains does know it, when they start from the prior: the ratio
    of that spread to the metric lengthens every eighth trajectory.

    Every draw takes a step size within 10 % of the tuned one, since a fixed one can be in
    resonance with a Gaussian mode.

    Parameters
    ----------
    num_steps : int or None
        Leapfrog steps of every draw; None for the rule above.
    trajectory_length : float
        Length of a trajectory, in units of the posterior's standard deviations.
    max_num_steps : int
        Upper bound on the steps that follow from the rule.
    target_acceptance_rate : float

    References
    ----------
    .. [1] R. M. Neal, "MCMC using Hamiltonian dynamics", Handbook of Markov Chain Monte Carlo
       (2011), section 3.2 on the random step size.
    """

    num_steps: int | None = None
    trajectory_length: float = 0.6
    max_num_steps: int = 1024
    target_acceptance_rate: float = 0.8

    def __post_init__(self) -> None:
        if self.num_steps is not None and self.num_steps < 1:
            raise ValueError(
                f"num_steps={self.num_steps}: it must be >= 1, such as 64, or none to follow "
                "from trajectory_length"
            )
        if not 0 < self.trajectory_length < float("inf"):
            raise ValueError(
                f"trajectory_length={self.trajectory_length}: it must be positive, such as 0.6"
            )
        if self.max_num_steps < 1:
            raise ValueError(f"max_num_steps={self.max_num_steps}: it must be >= 1, such as 1024")
        if not 0 < self.target_acceptance_rate < 1:
            raise ValueError(
                f"target_acceptance_rate={self.target_acceptance_rate}: it must lie between 0 "
                "and 1, such as 0.8"
            )

    def _num_steps(self, step_size: Any, stretch: Any = 1.0) -> Any:
        if self.num_steps is not None:
            return jnp.asarray(self.num_steps)
        steps = jnp.ceil(self.trajectory_length * stretch / step_size)
        return jnp.clip(steps, 1, self.max_num_steps).astype(int)

    def _parameters(self, step_size: Any, metric: Any, stretch: Any) -> dict[str, Any]:
        return {
            "step_size": step_size,
            "inverse_mass_matrix": metric,
            "num_steps": self._num_steps(step_size),
            "num_steps_long": self._num_steps(step_size, stretch),
        }

    def warmup(
        self, rng_key: Any, posterior: TemperedPosterior, positions: Any, num_steps: int
    ) -> Warmup:
        """Learn the metric in the first two thirds, the step size in the last.

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
        num_chains = len(jax.tree.leaves(positions)[0])
        key_curvature, key_metric, key_step = jax.random.split(rng_key, 3)
        first = jax.tree.map(lambda leaf: leaf[0], positions)
        curvature = largest_curvature(key_curvature, posterior.logdensity, first)

        def record(state: Any, info: Any, adaptation: Any) -> Any:
            return {
                "loss": posterior.loss_from_logdensity(state.position, state.logdensity),
                "acceptance_rate": info.acceptance_rate,
                "step_size": adaptation.step_size,
            }

        adaptation = blackjax.window_adaptation(
            blackjax.hmc,
            posterior.logdensity,
            initial_step_size=1 / jnp.sqrt(curvature),
            target_acceptance_rate=self.target_acceptance_rate,
            adaptation_info_fn=record,
            num_integration_steps=_FIRST_PHASE_STEPS,
        )
        steps_metric = 2 * num_steps // 3
        keys = jax.random.split(key_metric, num_chains)
        (states, tuned), trace_metric = jax.vmap(
            lambda key, position: adaptation.run(key, position, steps_metric)
        )(keys, positions)
        metric = jnp.mean(tuned["inverse_mass_matrix"], axis=0)
        stretch = _stretch(states.position, metric)

        def step(key: Any, chains: Any, step_size: Any) -> Any:
            parameters = self._parameters(step_size, metric, stretch)
            keys = jax.random.split(key, num_chains)
            chains, info = jax.vmap(self.step, in_axes=(0, None, 0, None))(
                keys, posterior, chains, parameters
            )
            states = chains.state
            trace = {
                "loss": jax.vmap(posterior.loss_from_logdensity)(
                    states.position, states.logdensity
                ),
                "acceptance_rate": info["acceptance_rate"],
                "step_size": jnp.full(num_chains, step_size),
            }
            return chains, info["acceptance_rate"], (trace, info["num_gradients"][0])

        chains, step_size, (trace_step, counts) = adapt_step_size(
            key_step,
            step,
            HMCChain(states, jnp.zeros(num_chains, int)),
            jnp.min(tuned["step_size"]),
            num_steps - steps_metric,
            self.target_acceptance_rate,
        )
        trace = jax.tree.map(
            lambda early, late: jnp.concatenate([jnp.swapaxes(early, 0, 1), late]),
            trace_metric,
            trace_step,
        )
        gradients = steps_metric * _FIRST_PHASE_STEPS + jnp.sum(counts)
        return Warmup(chains, self._parameters(step_size, metric, stretch), trace, gradients)

    def step(
        self, rng_key: Any, posterior: TemperedPosterior, state: Any, parameters: dict[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        """Make one trajectory.

        Parameters
        ----------
        rng_key : PRNG key
        posterior : TemperedPosterior
        state : HMCChain
        parameters : dict of str to array

        Returns
        -------
        state : HMCChain
        info : dict of str to array
        """
        key_step, key_jitter = jax.random.split(rng_key)
        jitter = jax.random.uniform(key_jitter, minval=0.9, maxval=1.1)
        metric = parameters["inverse_mass_matrix"]
        long = state.count % _LONG_EVERY == _LONG_EVERY - 1
        num_steps = jnp.where(long, parameters["num_steps_long"], parameters["num_steps"])
        before = state.state.logdensity
        after, info = hmc.build_kernel()(
            key_step,
            state.state,
            posterior.logdensity,
            parameters["step_size"] * jitter,
            metric,
            num_steps,
        )
        # BlackJAX reports the energy of the proposal even when it was rejected.
        stayed = default_metric(metric).kinetic_energy(info.momentum) - before
        return HMCChain(after, state.count + 1), {
            "acceptance_rate": info.acceptance_rate,
            "diverging": info.is_divergent,
            "energy": jnp.where(info.is_accepted, info.energy, stayed),
            "num_gradients": num_steps,
        }

    def evaluate(self, posterior: TemperedPosterior, state: Any) -> Evaluation:
        """Give what the kernel's state knows already.

        Parameters
        ----------
        posterior : TemperedPosterior
        state : HMCChain

        Returns
        -------
        Evaluation
        """
        return Evaluation(*state.state)


def _stretch(positions: Any, metric: Any) -> Any:
    """Compare the spread between chains with the metric, as a ratio of lengths >= 1."""
    flat = jax.vmap(lambda position: ravel_pytree(position)[0])(positions)
    if flat.shape[0] == 1:
        return jnp.ones(())
    return jnp.sqrt(jnp.maximum(jnp.mean(jnp.var(flat, axis=0, ddof=1) / metric), 1.0))
