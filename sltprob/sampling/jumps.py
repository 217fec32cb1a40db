"""Whether a log density jumps: there integration by parts does not hold, and identities fail."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from sltprob.posterior import TemperedPosterior
from sltprob.samplers.base import Sampler, in_groups

__all__ = ["largest_jump"]

# Pieces of a line through two places, as far beyond them as they are apart, and bisections of the
# piece that a gradient explains least: what is left of it is as short as the digits allow.
_PIECES, _HALVINGS = 96, 40


def largest_jump(posterior: TemperedPosterior, states: Any, *, sampler: Sampler) -> Any:
    """Give the largest jump of log p that is found on lines through each chain and the next one.

    Along a line log p changes by the integral of its slope, but for jumps. The piece in which the
    trapezoidal rule errs most is halved again and again: of a smooth function, or one with kinks,
    nothing is left, and of a jump its height.
    """
    starts = in_groups(lambda state: sampler.evaluate(posterior, state).position, states)
    ends = jax.tree.map(lambda leaf: jnp.roll(leaf, 1, axis=0), starts)

    def along(start: Any, end: Any) -> Any:
        def at(time: Any) -> Any:
            return posterior.logdensity(jax.tree.map(lambda a, b: a + time * (b - a), start, end))

        def error(left: Any, right: Any) -> Any:
            width = right[0] - left[0]
            missed = right[1] - left[1] - 0.5 * width * (left[2] + right[2])
            return jnp.nan_to_num(jnp.abs(missed), nan=jnp.inf)

        def both(time: Any) -> Any:
            return time, *jax.value_and_grad(at)(time)

        grid = jax.lax.map(both, jnp.linspace(-1.0, 2.0, _PIECES + 1))
        lefts = jax.tree.map(lambda leaf: leaf[:-1], grid)
        rights = jax.tree.map(lambda leaf: leaf[1:], grid)
        worst = jnp.argmax(jax.vmap(error)(lefts, rights))

        def halve(_: Any, ends: Any) -> Any:
            left, right = ends
            middle = both(0.5 * (left[0] + right[0]))
            in_left = error(left, middle) > error(middle, right)
            pick = jax.tree.map(lambda one, two: jnp.where(in_left, one, two), left, middle)
            return pick, jax.tree.map(lambda o, t: jnp.where(in_left, o, t), middle, right)

        first = jax.tree.map(lambda leaf: leaf[worst], (lefts, rights))
        left, right = jax.lax.fori_loop(0, _HALVINGS, halve, first)
        return jnp.nan_to_num(jnp.abs(right[1] - left[1]), nan=jnp.inf)

    return jnp.max(in_groups(along, starts, ends))
