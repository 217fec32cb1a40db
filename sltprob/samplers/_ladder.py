"""What samplers of a whole ladder of temperatures share: its rungs, and a kernel for each.

A ladder leads from the prior, β = 0, to the posterior that was asked for. Only the posterior knows
β: a rung is the same posterior with another one.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import blackjax.mcmc.hmc as hmc
import jax
import jax.numpy as jnp
from blackjax.smc.base import map_kernel
from blackjax.smc.resampling import systematic
from jax.flatten_util import ravel_pytree

from sltprob.posterior import TemperedPosterior
from sltprob.samplers._tuning import check_target_acceptance_rate
from sltprob.samplers.base import Evaluation, Sampler

__all__ = [
    "LadderSampler",
    "Learned",
    "Point",
    "log_weights",
    "move",
    "move_all",
    "resample",
    "together",
]

# Particles that share a vectorised call times dimension: what stays in the cache.
_BATCH_COORDINATES = 2048
# Each pass through the ladder places the rungs for the next one.
_PASSES = 2
_MOVES = 4
# Gain of the step size's adaptation to the mean acceptance of all particles.
_GAIN = 1.5
# Barrier for each factor e of beta that every ladder has at least: that of lambda-hat 0.2.
_LEAST_BARRIER = 0.25
_DEFAULT_RUNGS = 17
_FEWEST_RUNGS = 4
_MOST_RUNGS = 257
_PILOT_RUNGS = 25
_PILOT_PARTICLES = 64


class Point(NamedTuple):
    """A position on a ladder. Prior and loss are apart, so that a change of rung costs nothing.

    Parameters
    ----------
    position : dict of str to array
    log_prior : array, shape ()
    loss : array, shape ()
    prior_grad, loss_grad : dict of str to array
    """

    position: Any
    log_prior: Any
    loss: Any
    prior_grad: Any
    loss_grad: Any

    @classmethod
    def at(cls, posterior: TemperedPosterior, position: Any) -> Point:
        """Evaluate a position.

        Parameters
        ----------
        posterior : TemperedPosterior
        position : dict of str to array

        Returns
        -------
        Point
        """
        log_prior, prior_grad = jax.value_and_grad(posterior.log_prior)(position)
        loss, loss_grad = jax.value_and_grad(posterior.loss)(position)
        return cls(position, log_prior, loss, prior_grad, loss_grad)

    def evaluation(self, beta: Any) -> Evaluation:
        """Give log density and gradient on a rung.

        Parameters
        ----------
        beta : array, shape ()

        Returns
        -------
        Evaluation
        """
        gradient = jax.tree.map(
            lambda prior, loss: prior - beta * loss, self.prior_grad, self.loss_grad
        )
        return Evaluation(self.position, self.log_prior - beta * self.loss, gradient)


class Learned(NamedTuple):
    """What a population learned on its way down the ladder.

    Parameters
    ----------
    parameters : dict of str to array
        ``beta``, ``ladder_step_size``, ``ladder_inverse_mass_matrix`` by rung, and ``num_steps``.
    points : Point, leading axis particle
        The population at the last rung.
    losses : array, shape (rung, particle)
    num_gradients : array, shape ()
        Of the whole population.
    """

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

    Parameters
    ----------
    num_rungs : int or None
        Rungs, the prior and the target included; None to find out by a pilot run.
    trajectory_length : float
        Length of a trajectory, in units of the standard deviations of the rung.
    max_num_steps : int
        Upper bound on the leapfrog steps of a trajectory.
    target_acceptance_rate : float

    References
    ----------
    .. [1] S. Syed, A. Bouchard-Côté, G. Deligiannidis, A. Doucet, "Non-reversible parallel
       tempering: a scalable highly parallel MCMC scheme", JRSS B 84 (2022) 321-350.
    .. [2] N. Chopin, O. Papaspiliopoulos, "An Introduction to Sequential Monte Carlo" (2020),
       chapter 17 (kernels tuned from the particles).
    """

    num_rungs: int | None = None
    trajectory_length: float = 1.5
    max_num_steps: int = 16
    target_acceptance_rate: float = 0.8

    def __post_init__(self) -> None:
        if self.num_rungs is not None and self.num_rungs < _FEWEST_RUNGS:
            raise ValueError(
                f"num_rungs={self.num_rungs}: it must be >= {_FEWEST_RUNGS}, such as 16, or none "
                "to find out by a pilot run"
            )
        if not 0 < self.trajectory_length < float("inf"):
            raise ValueError(
                f"trajectory_length={self.trajectory_length}: it must be positive, such as 1.5"
            )
        if self.max_num_steps < 1:
            raise ValueError(f"max_num_steps={self.max_num_steps}: it must be >= 1, such as 16")
        check_target_acceptance_rate(self.target_acceptance_rate, 0.8)

    def applies_to(self, posterior: TemperedPosterior) -> str | None:
        """Refuse what does not start from the prior of the program.

        Parameters
        ----------
        posterior : TemperedPosterior

        Returns
        -------
        str or None
        """
        if float(posterior.localization) > 0:
            return (
                "it is localised, and a ladder of temperatures starts from draws of the prior alone"
            )
        if posterior.structure.readout is not None:
            return (
                "its coordinates depend on beta (reparameterise), and a ladder needs the same on "
                "all rungs"
            )
        return None

    def prepared(self, rng_key: Any, posterior: TemperedPosterior) -> tuple[Sampler, float]:
        """Choose the number of rungs by a pilot run, if it was not given.

        Twice the barrier makes half of the swaps succeed, which is the best that a ladder can do
        for its cost.

        Parameters
        ----------
        rng_key : PRNG key
        posterior : TemperedPosterior

        Returns
        -------
        sampler : Sampler
        num_gradients : float
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

    @property
    def _rungs(self) -> int:
        return self.num_rungs or _DEFAULT_RUNGS

    def _num_steps(self, step_size: Any) -> Any:
        steps = jnp.ceil(self.trajectory_length / step_size)
        return jnp.clip(steps, 1, self.max_num_steps).astype(int)

    def _learn(self, rng_key: Any, posterior: TemperedPosterior, num_particles: int) -> Learned:
        """Go down the ladder, place the rungs anew, and go again."""
        key_prior, key_passes = jax.random.split(rng_key)
        keys = jax.random.split(key_prior, num_particles)
        start = jax.vmap(lambda key: Point.at(posterior, posterior.draw_prior(key)))(keys)
        first = _first_rungs(posterior.beta, start.loss, self._rungs)

        def go(betas: Any, key: Any) -> tuple[Any, Learned]:
            learned = self._descend(key, posterior, betas, start)
            return _equalised(betas, _barriers(betas, learned.losses)), learned

        _, passes = jax.lax.scan(go, first, jax.random.split(key_passes, _PASSES))
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
            key_resample, key_moves = jax.random.split(key)
            weights = log_weights(beta - hotter, points.loss)
            points = resample(key_resample, weights, points)
            metric = _variances(points.position)

            def move(carry: Any, key: Any) -> Any:
                points, log_step_size = carry
                step_size = jnp.exp(log_step_size)
                num_steps = self._num_steps(step_size)
                points, rates = move_all(key, posterior, points, beta, step_size, metric, num_steps)
                error = jnp.mean(rates) - self.target_acceptance_rate
                return (points, log_step_size + _GAIN * error), num_steps

            keys = jax.random.split(key_moves, _MOVES)
            carry, counts = jax.lax.scan(move, (points, log_step_size), keys)
            points, log_step_size = carry
            return carry, (points.loss, jnp.exp(log_step_size), metric, jnp.sum(counts))

        keys = jax.random.split(rng_key, len(betas) - 1)
        (points, _), (losses, step_sizes, metrics, counts) = jax.lax.scan(
            rung, (start, jnp.zeros(())), (keys, betas[:-1], betas[1:])
        )
        parameters = {
            "beta": betas,
            # The prior is drawn from, not stepped through.
            "ladder_step_size": jnp.concatenate([jnp.zeros(1), step_sizes]),
            "ladder_inverse_mass_matrix": jnp.concatenate(
                [_variances(start.position)[None], metrics]
            ),
            "num_steps": self._num_steps(jnp.min(step_sizes)),
        }
        losses = jnp.concatenate([start.loss[None], losses])
        return Learned(parameters, points, losses, num_particles * jnp.sum(counts))


def move(
    rng_key: Any,
    posterior: TemperedPosterior,
    point: Point,
    beta: Any,
    step_size: Any,
    inverse_mass_matrix: Any,
    num_steps: Any,
) -> tuple[Point, Any]:
    """Make one HMC trajectory on a rung, with a step size within 20 % of the given one.

    A fixed step can be in resonance with a Gaussian mode.

    Parameters
    ----------
    rng_key : PRNG key
    posterior : TemperedPosterior
    point : Point
    beta : array, shape ()
        Of the rung, positive.
    step_size : array, shape ()
    inverse_mass_matrix : array, shape (dim,)
    num_steps : array, shape (), integer

    Returns
    -------
    point : Point
    acceptance_rate : array, shape ()
    """
    key_step, key_jitter = jax.random.split(rng_key)
    jitter = jax.random.uniform(key_jitter, minval=0.8, maxval=1.2)
    here = dataclasses.replace(posterior, beta=beta)
    start = hmc.HMCState(*point.evaluation(beta))
    end, info = hmc.build_kernel()(
        key_step, start, here.logdensity, step_size * jitter, inverse_mass_matrix, num_steps
    )
    log_prior, prior_grad = jax.value_and_grad(posterior.log_prior)(end.position)
    loss_grad = jax.tree.map(
        lambda prior, total: (prior - total) / beta, prior_grad, end.logdensity_grad
    )
    loss = (log_prior - end.logdensity) / beta
    moved = Point(end.position, log_prior, loss, prior_grad, loss_grad)
    # A trajectory that left the range of floating point was rejected.
    return moved, jnp.nan_to_num(info.acceptance_rate)


def move_all(
    rng_key: Any,
    posterior: TemperedPosterior,
    points: Point,
    beta: Any,
    step_size: Any,
    inverse_mass_matrix: Any,
    num_steps: Any,
) -> tuple[Point, Any]:
    """Make one trajectory of every particle of a population.

    Parameters
    ----------
    rng_key : PRNG key
    posterior : TemperedPosterior
    points : Point, leading axis particle
    beta : array, shape ()
    step_size : array, shape ()
    inverse_mass_matrix : array, shape (dim,)
    num_steps : array, shape (), integer

    Returns
    -------
    points : Point, leading axis particle
    acceptance_rate : array, shape (particle,)
    """
    count = len(points.loss)

    def one(key: Any, point: Point) -> tuple[Point, Any]:
        return move(key, posterior, point, beta, step_size, inverse_mass_matrix, num_steps)

    points, rates = together(one, posterior, count)(jax.random.split(rng_key, count), points)
    return points, rates


def together(
    function: Callable[..., Any], posterior: TemperedPosterior, count: int
) -> Callable[..., Any]:
    """Apply a function to many points, as many in one vectorised call as stay in the cache.

    Parameters
    ----------
    function : callable
    posterior : TemperedPosterior
    count : int
        Number of points.

    Returns
    -------
    callable
        The same function of a leading axis more.
    """
    most = min(max(1, _BATCH_COORDINATES // posterior.dimension), count)
    # A batch that leaves no remainder, which would be compiled a second time.
    size = max(size for size in range(1, most + 1) if count % size == 0)
    return map_kernel(function, size if size < count else 0)


def log_weights(beta_step: Any, losses: Any) -> Any:
    """Give the log weights that lead from one rung to the next.

    Parameters
    ----------
    beta_step : array, shape ()
        Difference of the inverse temperatures.
    losses : array, shape (particle,)

    Returns
    -------
    array, shape (particle,)
        Minus infinity where the loss is not a number.
    """
    values = -beta_step * losses
    return jnp.where(jnp.isnan(values), -jnp.inf, values)


def resample(rng_key: Any, log_weights: Any, particles: Any) -> Any:
    """Resample a population by its weights; siblings stay side by side.

    Parameters
    ----------
    rng_key : PRNG key
    log_weights : array, shape (particle,)
    particles : pytree, leading axis particle

    Returns
    -------
    pytree, leading axis particle
    """
    chosen = systematic(rng_key, jax.nn.softmax(log_weights), len(log_weights))
    return jax.tree.map(lambda leaf: leaf[chosen], particles)


def _variances(positions: Any) -> Any:
    """Give the variance of every coordinate over a population."""
    flat = jax.vmap(lambda position: ravel_pytree(position)[0])(positions)
    return jnp.maximum(jnp.var(flat, axis=0), jnp.finfo(flat.dtype).tiny)


def _first_rungs(beta: Any, losses: Any, num_rungs: int) -> Any:
    """Place the rungs for the first pass: zero, then evenly in the logarithm."""
    ordered = jnp.sort(losses)
    spread = jnp.maximum(ordered[len(losses) // 2] - ordered[0], jnp.finfo(losses.dtype).tiny)
    hottest = jnp.minimum(1 / spread, beta / 2)
    exponents = jnp.linspace(0.0, 1.0, num_rungs - 1)
    betas = hottest * (beta / hottest) ** exponents
    # The target's own value, without rounding.
    return jnp.concatenate([jnp.zeros(1), betas[:-1], beta[None]])


def _barriers(betas: Any, losses: Any) -> Any:
    """Measure how far apart neighbouring rungs are, by the rejection rate of their swaps.

    A rejection rate saturates at one; on Gaussian energies it is erf(√π/2 times the barrier),
    which is inverted here. A population that has lost a phase sees no barrier where there is one,
    so a least one is assumed.
    """

    def between(step: Any, hot: Any, cold: Any) -> Any:
        odds = step * (cold[:, None] - hot[None, :])
        accepted = jnp.exp(jnp.minimum(odds, 0.0))
        return 1 - jnp.mean(jnp.nan_to_num(accepted))

    rejections = jax.vmap(between)(jnp.diff(betas), losses[:-1], losses[1:])
    measured = 2 / jnp.sqrt(jnp.pi) * jax.scipy.special.erfinv(jnp.clip(rejections, 0.0, 0.999))
    return jnp.maximum(measured, _LEAST_BARRIER * jnp.diff(jnp.log1p(betas / betas[1])))


def _equalised(betas: Any, barriers: Any) -> Any:
    """Place the rungs so that all neighbours are equally far apart."""
    total = jnp.concatenate([jnp.zeros(1), jnp.cumsum(barriers)])
    # Linear near the prior, logarithmic beyond.
    scale = jnp.log1p(betas / betas[1])
    wanted = jnp.linspace(0.0, total[-1], len(betas))
    placed = betas[1] * jnp.expm1(jnp.interp(wanted, total, scale))
    return placed.at[0].set(0.0).at[-1].set(betas[-1])


@functools.partial(jax.jit, static_argnames="sampler")
def _pilot(
    posterior: TemperedPosterior, rng_key: Any, *, sampler: LadderSampler
) -> tuple[Any, Any]:
    """Measure the barrier from the prior to the target, and count gradients."""
    learned = sampler._learn(rng_key, posterior, _PILOT_PARTICLES)
    betas = learned.parameters["beta"]
    return jnp.sum(_barriers(betas, learned.losses)), learned.num_gradients
