"""Hamiltonian Monte Carlo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import blackjax.mcmc.hmc as hmc
import jax
import jax.numpy as jnp
from blackjax.mcmc.metrics import default_metric

from sltprob.posterior import TemperedPosterior
from sltprob.samplers._metric import check_metric, metric_of
from sltprob.samplers._tuning import STIFF_ACCEPTANCE, check_step_size, check_target_acceptance_rate
from sltprob.samplers._windows import warm_up_in_windows
from sltprob.samplers.base import Evaluation, Sampler, Warmup

__all__ = ["HMC"]

# One trajectory in so many is long enough for the flat directions. The others together cost about
# as much at low temperature, and have at least so many steps: the stiffest directions, which move
# the loss, need no more.
_LONG_EVERY = 16
_SHORT_STEPS = 64


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
    """Hamiltonian Monte Carlo with one metric and step size for all chains.

    Warm-up cools the chains to the target temperature, hands metric and step size down, and ends
    when they and the loss have settled; what it measured is stored with the run. The number of
    leapfrog steps follows from the step: a trajectory has a fixed length in units of the metric's
    standard deviations.

    Flat directions need such a trajectory, and within a warm-up the metric does not even learn
    how wide they are. The spread between the chains does know it, when they start from the prior:
    the ratio of that spread to the metric lengthens the trajectory. Stiff directions, and with
    them the loss, decorrelate sooner: only every 16th draw has the whole length, the others
    a 16th of it, but not less than 64 steps.

    Every draw takes a step size within 10 % of the tuned one, since a fixed one can be in
    resonance with a Gaussian mode.

    Parameters
    ----------
    num_steps : int or None
        Leapfrog steps of every draw; None for the rule above.
    trajectory_length : float
        Length of a whole trajectory, in units of the posterior's standard deviations; a quarter
        of a period is π/2.
    max_num_steps : int
        Upper bound on the steps that follow from the rule.
    metric : str
        ``diagonal``; ``dense``, for correlations that do not depend on the place; or
        ``low_rank``, diagonal but for the ten directions that differ most from it.
    step_size : float or None
        Of the integrator, in the metric; None to adapt it.
    target_acceptance_rate : float
        Higher than the usual 0.8: a singular posterior is many times stiffer in its arms than
        in its bulk, and chains whose step fits the bulk stay out of them.

    References
    ----------
    .. [1] R. M. Neal, "MCMC using Hamiltonian dynamics", Handbook of Markov Chain Monte Carlo
       (2011), section 3.2 on the random step size.
    """

    num_steps: int | None = None
    trajectory_length: float = 0.6
    max_num_steps: int = 262144
    metric: str = "diagonal"
    step_size: float | None = None
    target_acceptance_rate: float = STIFF_ACCEPTANCE

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
        check_metric(self.metric)
        check_step_size(self.step_size)
        check_target_acceptance_rate(self.target_acceptance_rate, STIFF_ACCEPTANCE)

    def _parameters(
        self, step_size: Any, metric: dict[str, Any], stretch: Any, cold: Any
    ) -> dict[str, Any]:
        if self.num_steps is not None:
            short = long = jnp.asarray(self.num_steps)
        else:
            steps = jnp.ceil(self.trajectory_length * stretch / step_size)
            long = jnp.clip(steps, 1, self.max_num_steps).astype(int)
            long = jnp.where(cold, long, _SHORT_STEPS)
            short = jnp.minimum(long, jnp.maximum(long // _LONG_EVERY, _SHORT_STEPS))
        return {"step_size": step_size, "num_steps": short, "num_steps_long": long, **metric}

    def warmup(
        self, rng_key: Any, posterior: TemperedPosterior, positions: Any, num_steps: int
    ) -> Warmup:
        """Cool the chains, and learn a metric and a step size for all of them.

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
        settled = warm_up_in_windows(
            rng_key,
            posterior,
            positions,
            num_steps,
            metric=self.metric,
            init=lambda posterior, position: HMCChain(
                hmc.init(position, posterior.logdensity), jnp.asarray(0)
            ),
            step=self.step,
            position_of=lambda chain: (chain.state.position, chain.state.logdensity),
            parameters_at=self._parameters,
            step_size=self.step_size,
            target_acceptance_rate=self.target_acceptance_rate,
        )
        return Warmup(*settled)

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
        metric = metric_of(parameters)
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
