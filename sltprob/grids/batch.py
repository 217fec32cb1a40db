"""Many small runs in one compiled call: betas and seeds are its arguments.

A run of twenty draws of a small model takes less time than calling it from Python piece by
piece. Here all of it is one program (start, warm-up, draws, rounding), in a loop over runs whose
number is an argument. The loop runs the same code for every run, so a run's draws do not depend
on what else is in the call: a study that was killed and goes on gets the same bits.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from sltprob.grids.definition import Budget
from sltprob.posterior import TemperedPosterior
from sltprob.samplers.base import Sampler
from sltprob.sampling.assemble import assemble
from sltprob.sampling.compilation import Clock, compiled
from sltprob.sampling.keys import RunKeys
from sltprob.sampling.prior_draws import draw_points
from sltprob.sampling.rounding import probe_rounding
from sltprob.sampling.rows import by_chain
from sltprob.sampling.starts import initial_positions
from sltprob.sampling.transitions import run_chunk, run_warmup

__all__ = ["LARGEST_BATCH", "sample_many"]

#: Runs in one call at most.
LARGEST_BATCH = 64


def sample_many(
    posterior: TemperedPosterior,
    sampler: Sampler,
    points: Sequence[tuple[float, int]],
    budget: Budget,
) -> list[xr.DataTree]:
    """Draw from one posterior at several betas with several seeds."""
    begin = time.perf_counter()
    count = len(points)
    # Every call has the same shapes, and so the same program.
    padding = [points[-1]] * (LARGEST_BATCH - count)
    betas = jnp.asarray([float(beta) for beta, _ in [*points, *padding]])
    keys = jax.tree.map(
        lambda *each: jnp.stack(each),
        *[RunKeys.of(seed, budget.chains) for _, seed in [*points, *padding]],
    )
    clock = Clock()
    run = compiled(
        _run_many,
        posterior,
        betas,
        keys,
        jnp.asarray(0),
        clock=clock,
        sampler=sampler,
        budget=budget,
    )
    outcomes = jax.tree.map(np.asarray, run(posterior, betas, keys, jnp.asarray(count)))
    seconds = (time.perf_counter() - begin - clock.seconds) / count
    runs = []
    for index, (beta, seed) in enumerate(points):
        outcome = jax.tree.map(lambda leaf, index=index: leaf[index], outcomes)
        record = by_chain(outcome["record"])
        statistics = record["stats"]
        drawn = float(np.sum(statistics.get("num_gradients", budget.draws)))
        warm = float(outcome["warmed"].num_gradients) * budget.chains
        share = seconds * warm / max(warm + drawn, 1.0)
        runs.append(
            assemble(
                replace(posterior, beta=np.asarray(beta)),
                sampler,
                record,
                outcome["warmed"],
                rounding=float(outcome["rounding"]),
                warmup=budget.warmup,
                seed=seed,
                init=budget.init,
                keep=budget.keep,
                cost={
                    "devices": 1,
                    "seconds_compile": clock.seconds if index == 0 else 0.0,
                    "seconds_warmup": share,
                    "seconds_sampling": seconds - share,
                    "seconds_total": seconds,
                },
            )
        )
    return runs


def _run_many(
    posterior: TemperedPosterior,
    betas: Any,
    keys: RunKeys,
    count: Any,
    *,
    sampler: Sampler,
    budget: Budget,
) -> Any:
    def one(index: Any) -> Any:
        own = jax.tree.map(lambda leaf: leaf[index], keys)
        return _run_one(replace(posterior, beta=betas[index]), own, sampler, budget)

    shapes = jax.eval_shape(one, 0)
    empty = jax.tree.map(lambda leaf: jnp.zeros((LARGEST_BATCH, *leaf.shape), leaf.dtype), shapes)

    def body(index: Any, filled: Any) -> Any:
        outcome = one(index)
        return jax.tree.map(lambda all_, own: all_.at[index].set(own), filled, outcome)

    return jax.lax.fori_loop(0, count, body, empty)


def _run_one(posterior: TemperedPosterior, keys: RunKeys, sampler: Sampler, budget: Budget) -> Any:
    """Do what `sltprob.sample` does, all of it under one trace."""
    draw = partial(draw_points, posterior, count=1)
    positions, _ = initial_positions(posterior, budget.init, keys.starts, draw)
    warmed = run_warmup(posterior, positions, keys.warmup, sampler=sampler, num_steps=budget.warmup)
    states, record = run_chunk(
        posterior,
        warmed.parameters,
        warmed.typical,
        warmed.states,
        keys.draws,
        jnp.asarray(0),
        sampler=sampler,
        num_draws=budget.draws,
        keep=budget.keep,
    )
    rounding = probe_rounding(posterior, states, sampler=sampler)
    # Of the states only what is recorded leaves the loop: a state may hold keys.
    return {"record": record, "warmed": replace(warmed, states=()), "rounding": rounding}
