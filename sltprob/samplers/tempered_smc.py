"""Tempered sequential Monte Carlo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from sltprob.chance import keys_of
from sltprob.posterior import TemperedPosterior
from sltprob.samplers._ladder import LadderSampler
from sltprob.samplers._point import Point, carry_gradients
from sltprob.samplers._population import carry_all, draw_prior, move_all, resample
from sltprob.samplers.base import Evaluation, Warmup
from sltprob.spec import whole

__all__ = ["TemperedSMC"]

_FEWEST_PARTICLES = 32
_MOST_PARTICLES = 512


class Population(NamedTuple):
    """State of a chain: a population that has come down the ladder, read one particle a draw."""

    points: Point
    acceptance_rate: Any
    losses: Any
    log_evidence: Any
    count: Any


@dataclass(frozen=True, kw_only=True)
class TemperedSMC(LadderSampler):
    """Tempered sequential Monte Carlo: populations led from the prior to the target.

    A population is drawn from the prior. On every rung it is weighted by what the next one asks
    for, resampled, and moved by HMC with the standard deviations and the step size that warm-up
    learned for that rung. The mean weights make an unbiased estimate of the evidence Z(β).

    A draw is one particle at the target, and after `num_particles` draws the next population is
    made, independent of all others. Particles are read in the order of their descent, so that
    siblings are neighbours and the effective sample size sees their correlation. A population
    of P particles has a bias of order 1/P.

    Where the readout is reparameterised, particles keep its whitened coordinates from rung to
    rung: the weights are those of the other sites alone, and vary less.

    Parameters
    ----------
    num_rungs : int or None
        Rungs, the prior and the target included; None to find out by a pilot run.
    num_particles : int
        Particles of a population.
    num_moves : int
        Trajectories of every particle on every rung.

    References
    ----------
    .. [1] P. Del Moral, A. Doucet, A. Jasra, "Sequential Monte Carlo samplers", JRSS B 68 (2006)
       411-436.
    .. [2] N. Chopin, O. Papaspiliopoulos, "An Introduction to Sequential Monte Carlo" (2020),
       chapters 10 and 17.
    """

    # A population is vectorised in itself.
    vectorised: ClassVar[bool] = False

    num_particles: Annotated[int, whole(8)] = 250
    num_moves: Annotated[int, whole(1)] = 3

    def warmup(
        self, rng_key: Any, posterior: TemperedPosterior, positions: Any, num_steps: int
    ) -> Warmup:
        """Lead populations down the ladder, to place its rungs and to tune a kernel on each.

        Where the chains start does not matter: a population starts from draws of the prior.
        """
        num_chains = len(jax.tree.leaves(positions)[0])
        particles = min(max(num_steps // 32 * 32, _FEWEST_PARTICLES), _MOST_PARTICLES)
        learned = self._learn(rng_key, posterior, particles)
        chosen = jnp.arange(self.num_particles) % particles
        # Read by nobody but for the place where it is: the first draw makes a population.
        population = Population(
            jax.tree.map(lambda leaf: leaf[chosen], learned.points),
            jnp.ones(self.num_particles),
            learned.losses[:, chosen],
            jnp.zeros(self._rungs),
            jnp.asarray(0),
        )
        states = jax.tree.map(
            lambda leaf: jnp.broadcast_to(leaf, (num_chains, *leaf.shape)), population
        )
        trace = {"loss": jnp.broadcast_to(learned.losses[-1][:, None], (particles, num_chains))}
        return Warmup(states, learned.parameters, trace, learned.num_gradients / num_chains)

    def step(
        self, rng_key: Any, posterior: TemperedPosterior, state: Any, parameters: dict[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        """Read one particle, of a new population when the last one is used up."""
        state = jax.lax.cond(
            state.count % self.num_particles == 0,
            lambda: self._populate(rng_key, posterior, state.count, parameters),
            lambda: state,
        )
        index = state.count % self.num_particles
        each = carry_gradients(posterior) + self.num_moves * parameters["num_steps"]
        return state._replace(count=state.count + 1), {
            "acceptance_rate": state.acceptance_rate[index],
            # The share of one particle.
            "num_gradients": 1 + (self._rungs - 1) * each,
            "ladder_loss": state.losses[:, index],
            "ladder_log_evidence": state.log_evidence,
        }

    def evaluate(self, posterior: TemperedPosterior, state: Any) -> Evaluation:
        """Give the particle that was read last."""
        index = (state.count - 1) % self.num_particles
        point: Point = jax.tree.map(lambda leaf: leaf[index], state.points)
        return point.evaluation(posterior.beta)

    def _populate(
        self, rng_key: Any, posterior: TemperedPosterior, count: Any, parameters: dict[str, Any]
    ) -> Population:
        """Lead a new population down the ladder."""
        key_prior, key_rungs = keys_of(rng_key, 2)
        betas, num_steps = parameters["beta"], parameters["num_steps"]
        keys = keys_of(key_prior, self.num_particles)
        start = jax.vmap(lambda key: draw_prior(key, posterior))(keys)

        def rung(points: Point, inputs: Any) -> Any:
            key, hotter, beta, step_size, metric = inputs
            key_resample, key_moves = keys_of(key, 2)
            points, log_weights = carry_all(posterior, points, hotter, beta)
            increment = jax.nn.logsumexp(log_weights) - jnp.log(self.num_particles)

            def move(points: Point, key: Any) -> tuple[Point, Any]:
                keys = keys_of(key, self.num_particles)
                return move_all(keys, posterior, points, beta, step_size, metric, num_steps)

            points, rates = jax.lax.scan(
                move,
                resample(key_resample, log_weights, points),
                keys_of(key_moves, self.num_moves),
            )
            return points, (points.loss, increment, rates[-1])

        points, (losses, increments, rates) = jax.lax.scan(
            rung,
            start,
            (
                keys_of(key_rungs, len(betas) - 1),
                betas[:-1],
                betas[1:],
                parameters["ladder_step_size"][1:],
                parameters["ladder_inverse_mass_matrix"][1:],
            ),
        )
        return Population(
            points,
            rates[-1],
            jnp.concatenate([start.loss[None], losses]),
            jnp.concatenate([jnp.zeros(1), jnp.cumsum(increments)]),
            count,
        )
