"""The moves of a ladder on its coldest rung alone, from where a scout stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from sltprob.chance import keys_of
from sltprob.posterior import TemperedPosterior
from sltprob.samplers._point import Point, move
from sltprob.samplers.base import Evaluation, Sampler, Warmup

__all__ = ["ColdestRung"]

# Step sizes, as parts of that of the rung: a basin that the ladder has missed may be narrow.
_SHARES = (1.0, 1 / 4, 1 / 16, 1 / 64)


@dataclass(frozen=True, kw_only=True)
class ColdestRung(Sampler):
    """HMC at the target, as the ladder has tuned it, with steps of every size up to its own."""

    vectorised = False

    def warmup(
        self, rng_key: Any, posterior: TemperedPosterior, positions: Any, num_steps: int
    ) -> Warmup:
        """Refuse: the ladder has warmed up."""
        raise NotImplementedError("a ladder warms its coldest rung up")

    def step(
        self, rng_key: Any, posterior: TemperedPosterior, state: Any, parameters: dict[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        """Make one trajectory with each step size."""
        num_steps = parameters["num_steps"]

        def body(point: Point, inputs: Any) -> tuple[Point, Any]:
            key, share = inputs
            return move(
                key,
                posterior,
                point,
                posterior.beta,
                share * parameters["ladder_step_size"][-1],
                parameters["ladder_inverse_mass_matrix"][-1],
                num_steps,
            )

        keys = keys_of(rng_key, len(_SHARES))
        point, _ = jax.lax.scan(body, state, (keys, jnp.asarray(_SHARES)))
        return point, {"num_gradients": len(_SHARES) * num_steps}

    def evaluate(self, posterior: TemperedPosterior, state: Any) -> Evaluation:
        """Give the point."""
        evaluation: Evaluation = state.evaluation(posterior.beta)
        return evaluation

    def placed(self, posterior: TemperedPosterior, state: Any, position: Any) -> Any:
        """Give another point."""
        return Point.at(posterior, position)
