"""A position on a rung of a ladder of temperatures: its density, moves from it, and other rungs.

Only the posterior knows β: a rung is the same posterior with another one.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import blackjax.mcmc.hmc as hmc
import jax
import jax.numpy as jnp

from sltprob.chance import scattered_uniform
from sltprob.posterior import TemperedPosterior
from sltprob.samplers.base import Evaluation

__all__ = ["Point", "carry", "carry_gradients", "move", "on_rung"]


class Point(NamedTuple):
    """A position on a rung. Prior and loss are apart, so that a change of rung costs nothing.

    Where the coordinates depend on beta (`reparameterise`) they cannot be told apart, and the
    gradient of the whole density stands for that of the prior.
    """

    position: Any
    log_prior: Any
    loss: Any
    prior_grad: Any
    loss_grad: Any

    @classmethod
    def at(cls, posterior: TemperedPosterior, position: Any) -> Point:
        """Evaluate a position."""
        if _moves_with_beta(posterior):
            total, gradient = jax.value_and_grad(posterior.logdensity)(position)
            return cls._whole(posterior, position, total, gradient)
        log_prior, prior_grad = jax.value_and_grad(posterior.log_prior)(position)
        loss, loss_grad = jax.value_and_grad(posterior.loss)(position)
        return cls(position, log_prior, loss, prior_grad, loss_grad)

    @classmethod
    def known(cls, posterior: TemperedPosterior, evaluation: Evaluation) -> Point:
        """Split an evaluation on a rung into prior and loss."""
        position, total, gradient = evaluation
        if _moves_with_beta(posterior):
            return cls._whole(posterior, position, total, gradient)
        log_prior, prior_grad = jax.value_and_grad(posterior.log_prior)(position)
        loss_grad = jax.tree.map(
            lambda prior, whole: (prior - whole) / posterior.beta, prior_grad, gradient
        )
        loss = (log_prior - total) / posterior.beta
        return cls(position, log_prior, loss, prior_grad, loss_grad)

    @classmethod
    def _whole(
        cls, posterior: TemperedPosterior, position: Any, total: Any, gradient: Any
    ) -> Point:
        loss = posterior.loss(position)
        nothing = jax.tree.map(jnp.zeros_like, gradient)
        return cls(position, total + posterior.beta * loss, loss, gradient, nothing)

    def evaluation(self, beta: Any) -> Evaluation:
        """Give log density and gradient on the rung."""
        gradient = jax.tree.map(
            lambda prior, loss: prior - beta * loss, self.prior_grad, self.loss_grad
        )
        return Evaluation(self.position, self.log_prior - beta * self.loss, gradient)


def on_rung(posterior: TemperedPosterior, beta: Any) -> TemperedPosterior:
    """Give the posterior on a rung, in traced code and at the prior too."""
    return dataclasses.replace(posterior, beta=jnp.asarray(beta, posterior.beta.dtype))


def _moves_with_beta(posterior: TemperedPosterior) -> bool:
    """Say whether a position means something else on every rung."""
    return posterior.structure.readout is not None


def carry_gradients(posterior: TemperedPosterior) -> int:
    """Count the gradients on all data that it costs to take a position to another rung."""
    return int(_moves_with_beta(posterior))


def carry(posterior: TemperedPosterior, point: Point, beta: Any, other: Any) -> tuple[Point, Any]:
    """Take a position to another rung, and compare its density there with that here.

    The coordinates stay as they are. Where they depend on beta, what was whitened here is
    whitened there, so that only the density of the other coordinates changes: the ratio varies
    less, and costs a gradient.

    References
    ----------
    .. [1] C. Jarzynski, "Targeted free energy perturbation", Physical Review E 65 (2002) 046122
       (a map between the rungs).
    """
    if not _moves_with_beta(posterior):
        return point, -(other - beta) * point.loss
    there = Point.at(on_rung(posterior, other), point.position)
    return there, there.evaluation(other).logdensity - point.evaluation(beta).logdensity


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
    """
    jitter = scattered_uniform(rng_key, 0.8, 1.2)
    here = on_rung(posterior, beta)
    start = hmc.HMCState(*point.evaluation(beta))
    end, info = hmc.build_kernel()(
        rng_key, start, here.logdensity, step_size * jitter, inverse_mass_matrix, num_steps
    )
    # A trajectory that left the range of floating point was rejected.
    return Point.known(here, Evaluation(*end)), jnp.nan_to_num(info.acceptance_rate)
