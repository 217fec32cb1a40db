"""A sampler whose step size and metric come from an earlier run: it tunes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sltprob.chance import keys_of
from sltprob.posterior import TemperedPosterior
from sltprob.samplers._wrapped import Wrapped
from sltprob.samplers.base import Warmup

__all__ = ["Frozen", "Tuned"]

# Warm-up draws of the sampler's own, for the state of a chain that only it can make.
_START_DRAWS = 20


class Tuned:
    """Tuned parameters that a static option can hold: hashable by what they contain."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self.parameters = {name: np.asarray(value) for name, value in parameters.items()}
        self._content = tuple(
            (name, value.dtype.str, value.shape, value.tobytes())
            for name, value in sorted(self.parameters.items())
        )

    def __hash__(self) -> int:
        return hash(self._content)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tuned) and self._content == other._content


@dataclass(frozen=True, kw_only=True)
class Frozen(Wrapped):
    """A sampler whose parameters are given instead of tuned.

    Its warm-up starts the chains by a few warm-up draws of the sampler's own, throws away what
    those have tuned, and runs with the given parameters from there.
    """

    tuned: Tuned
    repeats: int = 1  # Draws of `base` that make one draw

    def warmup(
        self, rng_key: Any, posterior: TemperedPosterior, positions: Any, num_steps: int
    ) -> Warmup:
        """Start the chains, and run with the given parameters."""
        key_start, key_run = keys_of(rng_key, 2)
        started = self.base.warmup(key_start, posterior, positions, _START_DRAWS)
        parameters = {name: jnp.asarray(v) for name, v in self.tuned.parameters.items()}
        num_chains = len(jax.tree.leaves(positions)[0])

        def draw(key: Any, state: Any) -> Any:
            state, info = self.step(key, posterior, state, parameters)
            position, logdensity, _ = self.evaluate(posterior, state)
            loss = posterior.loss_from_logdensity(position, logdensity)
            return state, (loss, info["num_gradients"])

        def body(states: Any, key: Any) -> Any:
            return self.over_chains(draw, keys_of(key, num_chains), states)

        keys = keys_of(key_run, num_steps)
        states, (loss, gradients) = jax.lax.scan(body, started.states, keys)
        count = started.num_gradients + jnp.sum(jnp.mean(gradients, axis=1))
        return Warmup(states, parameters, {"loss": loss}, count)

    def step(
        self, rng_key: Any, posterior: TemperedPosterior, state: Any, parameters: dict[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        """Make `repeats` draws of the sampler, and keep the last."""

        def body(state: Any, key: Any) -> Any:
            return self.base.step(key, posterior, state, parameters)

        state, infos = jax.lax.scan(body, state, keys_of(rng_key, self.repeats))
        info = jax.tree.map(lambda leaf: leaf[-1], infos)
        return state, {**info, "num_gradients": jnp.sum(infos["num_gradients"])}
