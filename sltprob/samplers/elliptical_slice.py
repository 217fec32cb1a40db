"""Elliptical slice sampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import blackjax.mcmc.elliptical_slice as elliptical_slice
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from sltprob.chance import keys_of
from sltprob.posterior import TemperedPosterior
from sltprob.samplers._options import StepsPerDraw
from sltprob.samplers._tuning import tune_step_size
from sltprob.samplers.base import Evaluation, Sampler, Warmup, evaluate_position

__all__ = ["EllipticalSlice"]

# Draws of the prior at which it is compared with a Gaussian.
_PROBES = 8


@dataclass(frozen=True, kw_only=True)
class EllipticalSlice(Sampler):
    """Elliptical slice sampling: slices of the likelihood along ellipses of prior draws.

    It needs a prior with Gaussian, independent unconstrained coordinates, and says so where
    that is not what it finds. It has no gradient, no step size and no rejection, so there is
    nothing to tune; ``num_gradients`` counts its evaluations of the likelihood. At low
    temperature the slice is a small part of every ellipse, and it moves slowly. Chains run one
    after the other, since the number of evaluations differs from step to step.

    References
    ----------
    .. [1] I. Murray, R. P. Adams, D. J. C. MacKay, "Elliptical slice sampling", AISTATS 2010.
    """

    vectorised: ClassVar[bool] = False

    steps_per_draw: StepsPerDraw = 10

    def applies_to(self, posterior: TemperedPosterior) -> str | None:
        """Compare the prior with the Gaussian that has its derivatives at 0."""
        found, expected = _compare_prior(posterior)
        tolerance = 1e3 * float(jnp.finfo(found.dtype).eps)
        if np.allclose(found, expected, rtol=tolerance, atol=tolerance):
            return None
        return (
            "its prior is not a product of Gaussians in unconstrained coordinates, which "
            "elliptical slice sampling needs"
        )

    def warmup(
        self, rng_key: Any, posterior: TemperedPosterior, positions: Any, num_steps: int
    ) -> Warmup:
        """Run; there is nothing to tune."""
        mean, variance = _gaussian_prior(posterior)
        states = jax.vmap(
            lambda position: elliptical_slice.init(position, _log_likelihood(posterior))
        )(positions)
        parameters = {"prior_mean": mean, "prior_variance": variance}
        return tune_step_size(
            self, rng_key, posterior, states, lambda _: parameters, 0.0, num_steps, None
        )

    def step(
        self, rng_key: Any, posterior: TemperedPosterior, state: Any, parameters: dict[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        """Make `steps_per_draw` kernel steps."""
        kernel = elliptical_slice.build_kernel(
            parameters["prior_variance"], parameters["prior_mean"]
        )

        def body(state: Any, key: Any) -> Any:
            # From a point of no likelihood the kernel would search for ever; from NaN it takes
            # the first point of the ellipse.
            known = jnp.isfinite(state.logdensity)
            state = state._replace(logdensity=jnp.where(known, state.logdensity, jnp.nan))
            state, info = kernel(key, state, _log_likelihood(posterior))
            return state, info.subiter

        keys = keys_of(rng_key, self.steps_per_draw)
        state, evaluations = jax.lax.scan(body, state, keys)
        return state, {"num_gradients": jnp.sum(evaluations)}

    def evaluate(self, posterior: TemperedPosterior, state: Any) -> Evaluation:
        """Compute the density and the gradient that the kernel does without."""
        return evaluate_position(posterior, state.position)

    def placed(self, posterior: TemperedPosterior, state: Any, position: Any) -> Any:
        """Give the state at another position: what the kernel calls density is the likelihood."""
        return elliptical_slice.init(position, _log_likelihood(posterior))


@jax.jit
def _compare_prior(posterior: TemperedPosterior) -> tuple[Any, Any]:
    """Give the gradient of the log prior at draws of it, and what a Gaussian's would be.

    Compiled once for all temperatures and seeds.
    """
    mean, variance = _gaussian_prior(posterior)

    def compare(key: Any) -> tuple[Any, Any]:
        position = posterior.draw_prior(key)
        flat, _ = ravel_pytree(position)
        gradient, _ = ravel_pytree(jax.grad(posterior.log_prior)(position))
        return gradient * jnp.sqrt(variance), (mean - flat) / jnp.sqrt(variance)

    return jax.vmap(compare)(jax.random.split(jax.random.key(0), _PROBES))


def _log_likelihood(posterior: TemperedPosterior) -> Any:
    def evaluate(position: Any) -> Any:
        value = -posterior.beta * posterior.loss(position)
        # The kernel would accept NaN.
        return jnp.where(jnp.isnan(value), -jnp.inf, value)

    return evaluate


def _gaussian_prior(posterior: TemperedPosterior) -> tuple[Any, Any]:
    """Read mean and variance off the derivatives of the log prior at 0, if it is Gaussian."""
    zero = {name: jnp.zeros(shape) for name, shape in posterior.structure.shapes}
    flat, unravel = ravel_pytree(zero)

    def gradient(flat: Any) -> Any:
        return ravel_pytree(jax.grad(posterior.log_prior)(unravel(flat)))[0]

    slope, pullback = jax.vjp(gradient, flat)
    (curvature,) = pullback(jnp.ones_like(flat))
    return -slope / curvature, -1 / curvature
