"""Forces in single precision beside energies in double: a trajectory needs fewer digits on its way.

Any force that depends on the position alone makes leapfrog steps that are reversible and keep
volume, so that Metropolis's test with exact energies at both ends leaves the posterior as it is.
Coarse forces cost acceptance, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from blackjax.mcmc.metrics import Metric, default_metric

from sltprob.posterior import TemperedPosterior

__all__ = ["pays", "single_force", "with_potential"]

# Dimension times data from which single precision is quicker than it takes longer to compile: half
# the time of a gradient with 128 units and 30 nodes, three quarters with 16 and 45.
_LARGE = 1500
# A unit that is a product costs as much in either precision.
_CHEAP = ("square",)
# Up to this β of a network whose values are about one, the tuned step is that of exact forces; at
# ten times as much it is a quarter smaller, and acceptance falls from 0.94 to 0.90.
_LARGEST_BETA = 1e7


def pays(posterior: TemperedPosterior) -> bool:
    """Say whether trajectories are quicker, and no worse, with forces in single precision.

    Asked of networks of this package alone: a program of a user's own may have values that single
    precision does not reach, and no trajectory would come to where it overflows.
    """
    structure = posterior.structure
    model = structure.model
    return (
        posterior.beta.dtype == jnp.float64
        and structure.readout is None
        and model is not None
        and model.readout() is not None
        and getattr(model, "activation", "") not in _CHEAP
        and posterior.dimension * len(posterior.weights) >= _LARGE
        and float(posterior.beta) <= _LARGEST_BETA
    )


def single_force(posterior: TemperedPosterior) -> Callable[[Any], Any]:
    """Give a function of the position that is zero, and has the force as its gradient."""
    coarse = _single(posterior)

    @jax.custom_vjp
    def zero(position: Any) -> Any:
        return jnp.zeros_like(posterior.beta)

    def forward(position: Any) -> tuple[Any, Any]:
        return zero(position), position

    def backward(position: Any, _: Any) -> tuple[Any]:
        force = jax.grad(coarse.logdensity)(_single(position))
        return (jax.tree.map(lambda slope, at: slope.astype(at.dtype), force, position),)

    zero.defvjp(forward, backward)
    return zero


def with_potential(metric: Any, posterior: TemperedPosterior) -> Metric:
    """Count the potential, in double precision, as kinetic energy, where a position is given.

    BlackJAX's kernels give it for the energies of both ends of a trajectory, and not for its steps.
    """
    plain = default_metric(metric)

    def energy(momentum: Any, position: Any = None) -> Any:
        kinetic = plain.kinetic_energy(momentum)
        return kinetic if position is None else kinetic - posterior.logdensity(position)

    return plain._replace(kinetic_energy=energy)


def _single(tree: Any) -> Any:
    return jax.tree.map(
        lambda leaf: leaf.astype(jnp.float32) if leaf.dtype == jnp.float64 else leaf, tree
    )
