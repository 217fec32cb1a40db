"""The two programs of a run: its warm-up, and a chunk of its draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from sltprob.chance import key_of
from sltprob.posterior import TemperedPosterior
from sltprob.samplers.base import Sampler, in_groups
from sltprob.sampling.contract import checked_step, checked_warmup
from sltprob.sampling.record import Typical, record_draw

__all__ = ["Warmed", "run_chunk", "run_warmup"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Warmed:
    """What a warm-up leaves behind."""

    states: Any
    parameters: dict[str, Any]
    trace: dict[str, Any]
    num_gradients: Any  # shape (): As of `sltprob.samplers.base.Warmup`
    typical: Typical


def run_warmup(
    posterior: TemperedPosterior, positions: Any, key: Any, *, sampler: Sampler, num_steps: int
) -> Warmed:
    """Warm all chains up together."""
    chains = len(jax.tree.leaves(positions)[0])
    warmup = checked_warmup(sampler, sampler.warmup(key, posterior, positions, num_steps), chains)
    evaluation = in_groups(lambda state: sampler.evaluate(posterior, state), warmup.states)

    def squares(gradient: Any) -> Any:
        leaves = jax.tree.leaves(gradient)
        return sum(jnp.sum(leaf.reshape(len(leaf), -1) ** 2, axis=1) for leaf in leaves)

    # Where the readout is replaced, nothing asks for the gradient of the loss.
    slopes = evaluation.logdensity_grad
    if posterior.structure.readout is None:
        prior = in_groups(jax.grad(posterior.log_prior), evaluation.position)
        slopes = jax.tree.map(jnp.subtract, prior, slopes)
    typical = Typical(
        position=jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), evaluation.position),
        squared_gradient=jnp.mean(squares(evaluation.logdensity_grad)),
        squared_loss_gradient=_typical(squares(slopes)),
    )
    return Warmed(*warmup, typical)


def _typical(squares: Any) -> Any:
    """Give the median; the mean of those where most are zero, as at a flat bottom; 1 for none."""
    median, mean = jnp.median(squares), jnp.mean(squares)
    return jnp.where(median > 0, median, jnp.where(mean > 0, mean, 1.0))


def run_chunk(
    posterior: TemperedPosterior,
    parameters: dict[str, Any],
    typical: Typical,
    states: Any,
    keys: Any,
    first: Any,
    *,
    sampler: Sampler,
    num_draws: int,
    keep: str,
) -> tuple[Any, Any]:
    """Make draws of a group of chains and record them, leading axes draw and chain."""

    def draw(key: Any, state: Any, index: Any) -> tuple[Any, Any]:
        key = key_of(key, index)
        made = sampler.step(key, posterior, state, parameters)
        state, info = checked_step(sampler, state, made)
        evaluation = sampler.evaluate(posterior, state)
        return state, record_draw(key, posterior, evaluation, info, typical, keep)

    def body(states: Any, index: Any) -> tuple[Any, Any]:
        return sampler.over_chains(lambda key, state: draw(key, state, index), keys, states)

    return jax.lax.scan(body, states, first + jnp.arange(num_draws))
