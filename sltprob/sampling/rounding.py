"""The rounding error of the loss, measured where the chains are."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from sltprob.chance import scattered_signs
from sltprob.posterior import TemperedPosterior
from sltprob.samplers.base import Sampler, in_groups

__all__ = ["probe_groups", "probe_rounding"]

_PROBES = 8


def probe_groups(posterior: TemperedPosterior, groups: Any, *, sampler: Sampler) -> Any:
    """Do what `probe_rounding` does, for chains in groups.

    References
    ----------
    .. [1] N. J. Higham, "Accuracy and Stability of Numerical Algorithms" (SIAM, 2002), section
       1.5 (backward error).
    """
    states = jax.tree.map(lambda *parts: jnp.concatenate(parts), *groups)
    return probe_rounding(posterior, states, sampler=sampler)


def probe_rounding(posterior: TemperedPosterior, states: Any, *, sampler: Sampler) -> Any:
    """Measure the absolute rounding error of the loss at the last draws, in units of the loss.

    Changing every coordinate by one unit in the last place changes the loss by as much as
    rounding does, for any backward stable evaluation; the loss itself is rounded as well.

    References
    ----------
    .. [1] N. J. Higham, "Accuracy and Stability of Numerical Algorithms" (SIAM, 2002), section
       1.5 (backward error).
    """

    def one(state: Any) -> Any:
        position = sampler.evaluate(posterior, state).position
        epsilon = jnp.finfo(jax.tree.leaves(position)[0].dtype).eps
        loss = posterior.loss(position)

        def change(number: Any) -> Any:
            signs = scattered_signs(number, position)
            moved = jax.tree.map(lambda leaf, sign: leaf * (1 + epsilon * sign), position, signs)
            return posterior.loss(moved) - loss

        changes = jax.vmap(change)(jnp.arange(_PROBES, dtype=jnp.uint32))
        return jnp.sqrt(jnp.mean(changes**2)) + epsilon * jnp.abs(loss)

    return jnp.max(in_groups(one, states))
