"""Hamiltonian Monte Carlo."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple

import blackjax.mcmc.hmc as hmc
import jax
import jax.numpy as jnp
from blackjax.mcmc.metrics import default_metric

from sltprob.chance import key_of, scattered_uniform
from sltprob.posterior import TemperedPosterior
from sltprob.samplers._forces import pays, single_force, with_potential
from sltprob.samplers._metric import energy_of_draw, metric_of
from sltprob.samplers._options import (
    STIFF_ACCEPTANCE,
    AcceptanceRate,
    MaxNumSteps,
    Metric,
    StepSize,
    TrajectoryLength,
)
from sltprob.samplers._windows import WindowedSampler, warm_up_in_windows
from sltprob.samplers.base import Evaluation, Sampler, Warmup, same_in_all_chains
from sltprob.spec import whole

__all__ = ["HMC"]

# Each level of trajectories is so many times longer than the next one, and so many times rarer.
_RATIO = 4
_LEVELS = 4
# Steps of the lowest level at least, unless the highest has fewer: what a draw costs besides.
_SHORT_STEPS = 64
# Dimension times data from which a gradient takes longer than all else, a tenth of a millisecond.
_COSTLY = 100_000
# The last of the trajectories that follow has at least so many steps.
_LEAST_STEPS = 4
# Its multiples, but for the whole part, are as evenly spread as can be.
_GOLDEN = (math.sqrt(5) - 1) / 2
# What is left of the starting points in the slower directions goes with longer and longer
# trajectories: they double from window to window, once the chains are cold.
_LONGEST_AT_FIRST = 1024


class HMCChain(NamedTuple):
    """State of a chain."""

    state: hmc.HMCState
    count: Any


@dataclass(frozen=True, kw_only=True)
class HMC(WindowedSampler):
    """Hamiltonian Monte Carlo with one metric and step size for all chains.

    Warm-up cools the chains to the target temperature, hands metric and step size down, and ends
    when they and the loss have settled; what it measured is stored with the run. The number of
    leapfrog steps follows from the step: the longest trajectory has a fixed length in units of
    the metric's standard deviations, which crosses the flat directions.

    A singular posterior has widths on many scales, one about as frequent as another, and each
    wants trajectories of its own length: a shorter one does not cross it, and a longer one is
    paid for in vain. So one draw in 64 has the whole length, one in 16 a quarter, one in four a
    16th, and all the others a 64th: every level costs about the same. None is shorter than 64
    steps, or than the whole length where that is less.

    A trajectory conserves the energy of every stiff direction, of which it holds half in its
    momentum, so that the loss before and after it has a correlation of one half, however long it
    is. Every draw therefore ends with shorter trajectories, each a quarter of the one before
    down to four steps, with fresh momenta: a third more gradients, and a loss that is almost
    independent from draw to draw in these directions.

    A direction that has half a period in a fixed length comes back to where it was. So all
    lengths of a draw have a factor from 1/2 to 3/2, evenly spread over the draws and the same in
    all chains, and every trajectory has a step size within 10 % of the tuned one. The acceptance
    rate is that of the longest trajectory in a draw.

    Parameters
    ----------
    num_steps : int or None
        Leapfrog steps of every draw, which is one trajectory then; None for the rule above.
    trajectory_length : float
        Mean length of the longest trajectories.

    References
    ----------
    .. [1] R. M. Neal, "MCMC using Hamiltonian dynamics", Handbook of Markov Chain Monte Carlo
       (2011), section 3.2 on the random step size.
    """

    num_steps: Annotated[
        int | None, whole(1, example=64, none="to follow from trajectory_length")
    ] = None
    trajectory_length: TrajectoryLength = 1.25
    max_num_steps: MaxNumSteps = 262144
    metric: Metric = "auto"
    step_size: StepSize = None
    target_acceptance_rate: AcceptanceRate = STIFF_ACCEPTANCE
    #: Not an option: whether the steps of a trajectory have forces in single precision.
    single_forces: bool = field(default=False, init=False, repr=False)
    #: Not an option: whether trajectories of a warm-up are no longer than they must be.
    frugal: bool = field(default=False, init=False, repr=False)

    def prepared(self, rng_key: Any, posterior: TemperedPosterior) -> tuple[Sampler, float]:
        """Let the steps of trajectories have forces in single precision, where that pays.

        Where data are many, a warm-up of longer trajectories than the metric asks for would take
        ten times as long as the draws.
        """
        made = copy.copy(self)
        object.__setattr__(made, "single_forces", pays(posterior))
        work = posterior.dimension * len(posterior.weights)
        object.__setattr__(made, "frugal", work >= _COSTLY)
        return made, 0.0

    def _parameters(self, step_size: Any, metric: dict[str, Any], long: Any) -> dict[str, Any]:
        if self.num_steps is not None:
            short = long = jnp.asarray(self.num_steps)
            following = jnp.asarray(0)
        else:
            shortest = jnp.minimum(long, _SHORT_STEPS)
            short = jnp.maximum(long // _RATIO ** (_LEVELS - 1), shortest)
            shares = jnp.maximum(short / _LEAST_STEPS, 1.0)
            following = jnp.floor(jnp.log(shares) / jnp.log(_RATIO) + 1e-6).astype(int)
        return {
            "step_size": step_size,
            "num_steps": short,
            "num_steps_long": long,
            "num_following": following,
            **metric,
        }

    def _whole(self, step_size: Any, stretch: Any) -> Any:
        steps = jnp.ceil(self.trajectory_length * stretch / step_size)
        return jnp.clip(steps, 1, self.max_num_steps).astype(int)

    def _spread(self, num_steps: Any, index: Any) -> Any:
        """Multiply by a factor from 1/2 to 3/2, evenly spread over draws."""
        if self.num_steps is not None:
            return num_steps
        factor = 0.5 + (_GOLDEN * (index + 1)) % 1.0
        return jnp.maximum(jnp.round(factor * num_steps), 1).astype(num_steps.dtype)

    def _init(self, posterior: TemperedPosterior, position: Any) -> HMCChain:
        begun = hmc.init(position, posterior.logdensity)
        if self.single_forces:
            force = jax.grad(single_force(posterior))(position)
            begun = begun._replace(logdensity_grad=force)
        return HMCChain(begun, jnp.asarray(0))

    def _parameters_at(
        self, step_size: Any, metric: dict[str, Any], stretch: Any
    ) -> dict[str, Any]:
        return self._parameters(step_size, metric, self._whole(step_size, stretch))

    def _warming_parameters_at(
        self, step_size: Any, metric: dict[str, Any], window: Any
    ) -> dict[str, Any]:
        first = _SHORT_STEPS if self.frugal else _LONGEST_AT_FIRST
        whole = jnp.minimum(self._whole(step_size, 1.0), first * 2 ** jnp.maximum(window, 0))
        hot = whole if self.frugal else _SHORT_STEPS
        return self._parameters(step_size, metric, jnp.where(window < 0, hot, whole))

    def warmup(
        self, rng_key: Any, posterior: TemperedPosterior, positions: Any, num_steps: int
    ) -> Warmup:
        """Cool the chains, and learn a metric and a step size for all of them."""
        settled = warm_up_in_windows(self, rng_key, posterior, positions, num_steps)
        # The first draw has the whole length, so that the shortest run has one of them.
        states = settled.states._replace(count=jnp.zeros_like(settled.states.count))
        return settled._replace(states=states)

    def step(
        self, rng_key: Any, posterior: TemperedPosterior, state: Any, parameters: dict[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        """Make one trajectory of the draw's level, and shorter ones after it."""
        metric = metric_of(parameters)
        kernel = hmc.build_kernel()
        force, whole_energy = single_force(posterior), with_potential(metric, posterior)
        short = parameters["num_steps"]
        index = same_in_all_chains(state.count)
        rarer = sum(index % _RATIO**level == 0 for level in range(1, _LEVELS))
        long = jnp.maximum(parameters["num_steps_long"] // _RATIO ** (_LEVELS - 1 - rarer), short)

        def trajectory(number: Any, carry: Any) -> Any:
            state, info = carry
            num_steps = self._spread(jnp.where(number == 0, long, short // _RATIO**number), index)
            key = key_of(rng_key, number)
            step_size = parameters["step_size"] * scattered_uniform(key, 0.9, 1.1)
            before = state.logdensity
            if self.single_forces:
                begun = state._replace(logdensity=jnp.zeros_like(before))
                state, made = kernel(key, begun, force, step_size, whole_energy, num_steps)
                arrived = default_metric(metric).kinetic_energy(made.proposal.momentum)
                known = jnp.where(made.is_accepted, arrived - made.energy, before)
                state = state._replace(logdensity=known)
            else:
                state, made = kernel(key, state, posterior.logdensity, step_size, metric, num_steps)
            rate = jnp.where(number == 0, made.acceptance_rate, info["acceptance_rate"])
            return state, {
                "acceptance_rate": rate,
                "diverging": info["diverging"] | made.is_divergent,
                "energy": energy_of_draw(made, before, metric),
                "num_gradients": info["num_gradients"] + num_steps,
            }

        zero = jnp.zeros_like(state.state.logdensity)
        info = {
            "acceptance_rate": zero,
            "diverging": jnp.asarray(False),
            "energy": zero,
            "num_gradients": jnp.zeros_like(long),
        }
        count = 1 + parameters["num_following"]
        after, info = jax.lax.fori_loop(0, count, trajectory, (state.state, info))
        return HMCChain(after, state.count + 1), info

    def evaluate(self, posterior: TemperedPosterior, state: Any) -> Evaluation:
        """Give what the kernel's state knows already; a gradient has all digits."""
        known = Evaluation(*state.state)
        if not self.single_forces:
            return known
        return known._replace(logdensity_grad=jax.grad(posterior.logdensity)(known.position))
