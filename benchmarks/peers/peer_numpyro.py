"""NumPyro's NUTS at its defaults, as its documentation runs it; chains one after the other."""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("JAX_ENABLE_X64", "1")

import _shared
import densities
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import problems
from numpyro.infer import MCMC, NUTS, init_to_value


def run(job: dict[str, Any], clock: Any, heard: list[str]) -> dict[str, Any]:
    if job["chains_at_once"]:
        numpyro.set_host_device_count(job["cores"])
    problem = problems.get(job["problem"])
    clock.mark("start")
    options: dict[str, Any] = {}
    model = densities.program(problem)
    init = None
    if job["start"]:
        values = densities.start_of(problem, job["start"], job["chains"])
        options["init_strategy"] = init_to_value(values={k: v[0] for k, v in values.items()})
        transforms = {
            name: numpyro.distributions.biject_to(prior.support)
            for name, prior in densities.priors_of(problem).items()
        }
        init = {k: transforms[k].inv(jnp.asarray(v)) for k, v in values.items()}
    warmup = job["warmup"]
    sampler = MCMC(
        NUTS(model, **options),
        num_warmup=warmup,
        num_samples=job["block"],
        num_chains=job["chains"],
        chain_method="parallel" if job["chains_at_once"] else "sequential",
        progress_bar=False,
    )
    with _shared.Compilations(clock) as compiled:
        drawn = _draw(job, clock, sampler, init)
    compiled.charge()
    return {
        "version": numpyro.__version__,
        **drawn,
        **({"minimum_loss": 0.0} if problem.kind == "deep-linear" else {}),
        "tuned": f"{warmup} draws of warm-up",
        "shown": ["R-hat of every parameter", "divergences"],
    }


def _draw(job: dict[str, Any], clock: Any, sampler: MCMC, init: Any) -> dict[str, Any]:
    sampler.warmup(jax.random.key(job["seed"]), init_params=init, collect_warmup=False)
    clock.mark("tuning")
    if job["step_factor"]:
        state = sampler.last_state
        adapted = state.adapt_state
        adapted = adapted._replace(step_size=adapted.step_size * job["step_factor"])
        sampler._last_state = state._replace(adapt_state=adapted)
    losses, positions, steps, divergent = [], [], 0, 0
    while sum(block.shape[1] for block in losses) < job["draws"]:
        before = clock.now()
        sampler.post_warmup_state = sampler.last_state
        sampler.run(sampler.post_warmup_state.rng_key, extra_fields=("num_steps", "diverging"))
        drawn = sampler.get_samples(group_by_chain=True)
        losses.append(np.asarray(drawn["loss"]))
        clock.mark("sampling")
        positions.append(_shared.flat(drawn))
        extra = sampler.get_extra_fields(group_by_chain=True)
        steps += int(extra["num_steps"].sum())
        divergent += int(extra["diverging"].sum())
        used = clock.now()
        if used + (used - before) > job["limit"]:
            break
    return {
        "loss": np.concatenate(losses, axis=1),
        "positions": np.concatenate(positions, axis=1),
        "gradients": steps,
        "divergences": divergent,
    }
