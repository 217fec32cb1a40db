"""What samplers of a whole ladder of temperatures share: their options, and how they learn it.

The rungs of a ladder are inverse temperatures, from the prior at β = 0 to the β that was asked for.
What is far apart, or wide, on the last rung is crossed on the first ones.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp

from sltprob.chance import keys_of
from sltprob.posterior import TemperedPosterior
from sltprob.samplers._coldest import ColdestRung
from sltprob.samplers._options import AcceptanceRate, MaxNumSteps, TrajectoryLength
from sltprob.samplers._point import Point, carry_gradients
from sltprob.samplers._population import carry_all, draw_prior, move_all, resample, variances
from sltprob.samplers._rungs import barriers, equalised, first_rungs
from sltprob.samplers.base import Sampler
from sltprob.spec import whole

__all__ = ["LadderSampler", "Learned"]

# Each pass through the ladder places the rungs for the next one.
_PASSES = 2
_MOVES = 4
# Gain of the step size's adaptation to the mean acceptance of all particles.
_GAIN = 1.5
_DEFAULT_RUNGS = 17
_FEWEST_RUNGS = 4
_MOST_RUNGS = 257
_PILOT_RUNGS = 25
_PILOT_PARTICLES = 64


class Learned(NamedTuple):
    """What a population learned on its way down the ladder."""

    parameters: dict[str, Any]
    points: Point
    losses: Any
    num_gradients: Any


@dataclass(frozen=True, kw_only=True)
class LadderSampler(Sampler):
    """A sampler that draws from every rung of a ladder, and learns the ladder in its warm-up.

    The rungs are placed so that neighbours overlap equally. A population of particles goes down
    the ladder from draws of the prior; on every rung it learns the standard deviations of all
    coordinates and a step size.

    References
    ----------
    .. [1] S. Syed, A. Bouchard-Côté, G. Deligiannidis, A. Doucet, "Non-reversible parallel
       tempering: a scalable highly parallel MCMC scheme", JRSS B 84 (2022) 321-350.
    .. [2] N. Chopin, O. Papaspiliopoulos, "An Introduction to Sequential Monte Carlo" (2020),
       chapter 17 (kernels tuned from the particles).
    """

    # Rungs, the prior and the target included
    num_rungs: Annotated[
        int | None, whole(_FEWEST_RUNGS, example=16, none="to find out by a pilot run")
    ] = None
    trajectory_length: TrajectoryLength = 1.5  # in units of the rung's own standard deviations
    max_num_steps: MaxNumSteps = 16
    target_acceptance_rate: AcceptanceRate = 0.8

    def applies_to(self, posterior: TemperedPosterior) -> str | None:
        """Refuse what does not start from the prior of the program."""
        if posterior.structure.improper:
            sites = ", ".join(map(repr, posterior.structure.improper))
            return f"the prior of {sites} is improper, and a ladder starts from draws of the prior"
        if float(posterior.localization) > 0:
            return (
                "it is localised, and a ladder of temperatures starts from draws of the prior alone"
            )
        return None

    def prepared(self, rng_key: Any, posterior: TemperedPosterior) -> tuple[Sampler, float]:
        """Choose the number of rungs by a pilot run, if it was not given.

        Twice the barrier makes half of the swaps succeed, which is the best that a ladder can do
        for its cost.
        """
        if self.num_rungs is not None:
            return self, 0.0
        pilot = dataclasses.replace(self, num_rungs=_PILOT_RUNGS)
        barrier, gradients = map(float, _pilot(posterior, rng_key, sampler=pilot))
        if not barrier < _MOST_RUNGS / 2:
            return dataclasses.replace(self, num_rungs=_MOST_RUNGS), gradients
        # In steps of four, so that neighbouring β share a compilation.
        rungs = 1 + 4 * math.ceil(max(barrier / 2, 1))
        return dataclasses.replace(self, num_rungs=rungs), gradients

    def scout(self) -> Sampler:
        """Give the moves on the coldest rung alone."""
        return ColdestRung()

    def scout_states(self, posterior: TemperedPosterior, states: Any) -> Any:
        """Give the point at the target of every chain."""
        return jax.lax.map(
            lambda state: Point.known(posterior, self.evaluate(posterior, state)), states
        )

    @property
    def _rungs(self) -> int:
        return self.num_rungs or _DEFAULT_RUNGS

    def _num_steps(self, step_size: Any) -> Any:
        steps = jnp.ceil(self.trajectory_length / step_size)
        return jnp.clip(steps, 1, self.max_num_steps).astype(int)

    def _learn(self, rng_key: Any, posterior: TemperedPosterior, num_particles: int) -> Learned:
        """Go down the ladder, place the rungs anew, and go again."""
        key_prior, key_passes = keys_of(rng_key, 2)
        keys = keys_of(key_prior, num_particles)
        start = jax.vmap(lambda key: draw_prior(key, posterior))(keys)
        first = first_rungs(posterior.beta, start.loss, self._rungs)

        def go(betas: Any, key: Any) -> tuple[Any, Learned]:
            learned = self._descend(key, posterior, betas, start)
            return equalised(betas, barriers(betas, learned.losses)), learned

        _, passes = jax.lax.scan(go, first, keys_of(key_passes, _PASSES))
        learned: Learned = jax.tree.map(lambda leaf: leaf[-1], passes)
        return learned._replace(num_gradients=num_particles + jnp.sum(passes.num_gradients))

    def _descend(
        self, rng_key: Any, posterior: TemperedPosterior, betas: Any, start: Point
    ) -> Learned:
        """Lead a population from the prior to the target, and tune a kernel on every rung."""
        num_particles = len(start.loss)

        def rung(carry: Any, inputs: Any) -> Any:
            points, log_step_size = carry
            key, hotter, beta = inputs
            key_resample, key_moves = keys_of(key, 2)
            points, log_weights = carry_all(posterior, points, hotter, beta)
            points = resample(key_resample, log_weights, points)
            metric = variances(points)

            def move(carry: Any, key: Any) -> Any:
                points, log_step_size = carry
                step_size = jnp.exp(log_step_size)
                num_steps = self._num_steps(step_size)
                keys = keys_of(key, num_particles)
                points, rates = move_all(
                    keys, posterior, points, beta, step_size, metric, num_steps
                )
                error = jnp.mean(rates) - self.target_acceptance_rate
                return (points, log_step_size + _GAIN * error), num_steps

            keys = keys_of(key_moves, _MOVES)
            carry, counts = jax.lax.scan(move, (points, log_step_size), keys)
            points, log_step_size = carry
            spent = carry_gradients(posterior) + jnp.sum(counts)
            return carry, (points.loss, jnp.exp(log_step_size), metric, spent)

        keys = keys_of(rng_key, len(betas) - 1)
        (points, _), (losses, step_sizes, metrics, counts) = jax.lax.scan(
            rung, (start, jnp.zeros(())), (keys, betas[:-1], betas[1:])
        )
        parameters = {
            "beta": betas,
            # The prior is drawn from, not stepped through.
            "ladder_step_size": jnp.concatenate([jnp.zeros(1), step_sizes]),
            "ladder_inverse_mass_matrix": jnp.concatenate([variances(start)[None], metrics]),
            "num_steps": self._num_steps(jnp.min(step_sizes)),
        }
        losses = jnp.concatenate([start.loss[None], losses])
        return Learned(parameters, points, losses, num_particles * jnp.sum(counts))


@functools.partial(jax.jit, static_argnames="sampler")
def _pilot(
    posterior: TemperedPosterior, rng_key: Any, *, sampler: LadderSampler
) -> tuple[Any, Any]:
    """Measure the barrier from the prior to the target, and count gradients."""
    learned = sampler._learn(rng_key, posterior, _PILOT_PARTICLES)
    betas = learned.parameters["beta"]
    return jnp.sum(barriers(betas, learned.losses)), learned.num_gradients
