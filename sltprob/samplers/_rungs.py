"""How to space the rungs of a ladder of temperatures: all neighbours overlap equally."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

__all__ = ["barriers", "barriers_of_swaps", "equalised", "first_rungs"]

# Barrier for each factor e of beta that every ladder has at least: that of lambda-hat 0.2.
_LEAST_BARRIER = 0.25


def first_rungs(beta: Any, losses: Any, num_rungs: int) -> Any:
    """Place rungs before anything is known but the prior: zero, then evenly in the logarithm."""
    ordered = jnp.sort(losses)
    spread = jnp.maximum(ordered[len(losses) // 2] - ordered[0], jnp.finfo(losses.dtype).tiny)
    hottest = jnp.minimum(1 / spread, beta / 2)
    exponents = jnp.linspace(0.0, 1.0, num_rungs - 1)
    betas = hottest * (beta / hottest) ** exponents
    # The target's own value, without rounding.
    return jnp.concatenate([jnp.zeros(1), betas[:-1], beta[None]])


def barriers(betas: Any, losses: Any) -> Any:
    """Measure how far apart neighbouring rungs are, by the losses of independent draws there."""

    def between(step: Any, hot: Any, cold: Any) -> Any:
        odds = step * (cold[:, None] - hot[None, :])
        return jnp.mean(jnp.nan_to_num(jnp.exp(jnp.minimum(odds, 0.0))))

    return barriers_of_swaps(betas, jax.vmap(between)(jnp.diff(betas), losses[:-1], losses[1:]))


def barriers_of_swaps(betas: Any, acceptances: Any) -> Any:
    """Measure how far apart neighbouring rungs are, by the rejection rate of their swaps.

    A rejection rate saturates at one; on Gaussian energies it is erf(√π/2 times the barrier),
    which is inverted here. Draws that have lost a phase see no barrier where there is one, so a
    least one is assumed.

    References
    ----------
    .. [1] S. Syed, A. Bouchard-Côté, G. Deligiannidis, A. Doucet, "Non-reversible parallel
       tempering: a scalable highly parallel MCMC scheme", JRSS B 84 (2022) 321-350, section 4
       (the communication barrier).
    """
    rejections = jnp.clip(1 - acceptances, 0.0, 0.999)
    measured = 2 / jnp.sqrt(jnp.pi) * jax.scipy.special.erfinv(rejections)
    return jnp.maximum(measured, _LEAST_BARRIER * jnp.diff(jnp.log1p(betas / betas[1])))


def equalised(betas: Any, barriers: Any) -> Any:
    """Place the rungs so that all neighbours are equally far apart."""
    total = jnp.concatenate([jnp.zeros(1), jnp.cumsum(barriers)])
    # Linear near the prior, logarithmic beyond.
    scale = jnp.log1p(betas / betas[1])
    wanted = jnp.linspace(0.0, total[-1], len(betas))
    placed = betas[1] * jnp.expm1(jnp.interp(wanted, total, scale))
    return placed.at[0].set(0.0).at[-1].set(betas[-1])
