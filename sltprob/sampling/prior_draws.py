"""Draws from the prior, where chains, populations and descents start: one program for all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from sltprob.chance import key_of, scattered_vector
from sltprob.posterior import TemperedPosterior
from sltprob.samplers._point import Point
from sltprob.sampling.batches import batch_size, scouting_effort
from sltprob.sampling.compilation import Clock, Program, begin_compiling
from sltprob.sampling.rows import in_calls

__all__ = ["PriorDraws", "draw_points"]


def draw_points(posterior: TemperedPosterior, keys: Any, count: Any) -> Point:
    """Make the best of `count` draws from the prior for each key, leading axis key.

    Where none of them has a density the point is near zero, as NumPyro starts its chains, and its
    loss is infinite.
    """
    _, unravel = ravel_pytree({n: jnp.zeros(s) for n, s in posterior.structure.shapes})

    def one(key: Any) -> Point:
        near_zero = unravel(2.0 * scattered_vector(key, jnp.zeros(posterior.dimension)))
        form = jax.eval_shape(lambda: Point.at(posterior, near_zero))
        nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), form)
        first = nothing._replace(position=near_zero, loss=jnp.full_like(nothing.loss, jnp.inf))

        def draw(number: Any, best: tuple[Point, Any]) -> tuple[Point, Any]:
            point = Point.at(posterior, posterior.draw_prior(key_of(key, number)))
            height = point.evaluation(posterior.beta).logdensity
            higher = height > best[1]
            return jax.tree.map(
                lambda this, other: jnp.where(higher, this, other), (point, height), best
            )

        return jax.lax.fori_loop(0, count, draw, (first, jnp.full_like(first.loss, -jnp.inf)))[0]

    return jax.vmap(one)(keys)


@dataclass(frozen=True)
class PriorDraws:
    """Draws from the prior of a posterior, in calls of one size."""

    posterior: TemperedPosterior
    size: int
    clock: Clock
    program: Program

    @classmethod
    def begin(cls, posterior: TemperedPosterior, clock: Clock, device: Any) -> PriorDraws:
        """Begin to compile what draws."""
        size = batch_size(posterior)
        keys = jax.ShapeDtypeStruct((size,), jax.eval_shape(jax.random.key, 0).dtype)
        program = begin_compiling(
            draw_points,
            posterior,
            keys,
            np.asarray(1),
            clock=clock,
            device=device,
            effort=scouting_effort(posterior),
        )
        return cls(posterior, size, clock, program)

    def forms(self, count: int) -> Point:
        """Give the forms of so many points."""
        return jax.tree.map(
            lambda form: jax.ShapeDtypeStruct((count, *form.shape[1:]), form.dtype),
            self.program.out_info,
        )

    def make(self, keys: Any, count: int = 1) -> Point:
        """Make the best of `count` draws for each key, leading axis key, on the host."""
        draw, number = self.program.ready(self.clock), np.asarray(count)
        return in_calls(lambda some: draw(self.posterior, some, number), keys, self.size)
