"""BlackJAX by hand, as its documentation shows: HMC, NUTS, MCLMC, adaptive tempered SMC.

Chains are vectorised, each with its own window adaptation for HMC and NUTS; the number of leapfrog
steps of HMC was set by hand for each problem, without a search.
"""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("JAX_ENABLE_X64", "1")

import _shared
import blackjax
import blackjax.smc.resampling as resampling
import densities
import jax
import jax.numpy as jnp
import numpy as np
import problems
from blackjax.smc import extend_params


def run(job: dict[str, Any], clock: Any, heard: list[str]) -> dict[str, Any]:
    problem = problems.get(job["problem"])
    log_prior, loss, draw, flat_of = densities.unconstrained(problem)

    def logdensity(u):
        return log_prior(u) - problem.beta * loss(u)

    clock.mark("start")
    key = jax.random.key(job["seed"])
    chains = job["chains"]
    values = densities.start_of(problem, job["start"], chains) if job["start"] else None
    starts = (
        jax.vmap(draw)(jax.random.split(jax.random.fold_in(key, 1), chains))
        if values is None
        else jax.vmap(flat_of)(jax.tree.map(jnp.asarray, values))
    )
    method = {"hmc": _adapted, "nuts": _adapted, "mclmc": _mclmc, "smc": _smc}[job["sampler"]]
    with _shared.Compilations(clock) as compiled:
        found = method(job, clock, key, starts, logdensity, log_prior, loss, problem, draw)
    compiled.charge()
    known = {"minimum_loss": 0.0} if problem.kind == "deep-linear" else {}
    return {"version": blackjax.__version__, "shown": [], **known, **found}


def _loop(kernel, loss, starts, key, count, gradients_of, block, limit, clock, of_chains=()):
    """Scan `block` draws of all chains at a time, until the count or the limit."""

    @jax.jit
    def scan(states, keys):
        def one(states, keys):
            states, info = jax.vmap(kernel)(keys, states, *of_chains)
            position = states.position
            return states, (
                jax.vmap(loss)(position),
                position[:, :64],
                gradients_of(info),
                getattr(info, "is_divergent", jnp.zeros(len(position), bool)),
            )

        return jax.lax.scan(one, states, keys)

    losses, positions, gradients, divergent = [], [], 0, 0
    states = starts
    while sum(len(part) for part in losses) < count:
        before = clock.now()
        key, part = jax.random.split(key)
        shape = (block, len(states.position))
        keys = jax.random.split(part, shape)
        states, (found, position, steps, bad) = scan(states, keys)
        losses.append(np.asarray(found))
        positions.append(np.asarray(position))
        gradients += int(np.sum(steps))
        divergent += int(np.sum(bad))
        clock.mark("sampling")
        used = clock.now()
        if used + (used - before) > limit:
            break
    return {
        "loss": np.concatenate(losses).T,
        "positions": np.concatenate(positions).swapaxes(0, 1),
        "gradients": gradients,
        "divergences": divergent,
    }


def _adapted(job, clock, key, starts, logdensity, log_prior, loss, problem, draw):
    name = job["sampler"]
    extra = {"num_integration_steps": job["leapfrog"]} if name == "hmc" else {}
    algorithm = blackjax.hmc if name == "hmc" else blackjax.nuts
    adaptation = blackjax.window_adaptation(
        algorithm,
        logdensity,
        adaptation_info_fn=blackjax.adaptation.base.get_filter_adapt_info_fn(
            info_keys={"acceptance_rate"}
        ),
        **extra,
    )

    @jax.jit
    @jax.vmap
    def adapt(key, start):
        (state, parameters), _ = adaptation.run(key, start, num_steps=job["warmup"])
        return state, parameters["step_size"], parameters["inverse_mass_matrix"]

    states, steps, metrics = adapt(jax.random.split(key, len(starts)), starts)
    steps = steps * (job["step_factor"] or 1.0)
    jax.block_until_ready(states)
    clock.mark("tuning")
    kernel = algorithm.build_kernel()
    lengths = (job["leapfrog"],) if name == "hmc" else ()

    def move(key, state, step, metric):
        return kernel(key, state, logdensity, step, metric, *lengths)

    found = _loop(
        move,
        loss,
        states,
        jax.random.fold_in(key, 2),
        job["draws"],
        lambda info: info.num_integration_steps,
        job["block"],
        job["limit"],
        clock,
        (steps, metrics),
    )
    steps = f", {job['leapfrog']} leapfrog steps by hand" if name == "hmc" else ""
    return found | {"tuned": f"window adaptation of {job['warmup']} draws{steps}"}


def _mclmc(job, clock, key, starts, logdensity, log_prior, loss, problem, draw):
    kernel = blackjax.mcmc.mclmc.build_kernel()
    state = blackjax.mcmc.mclmc.init(starts[0], logdensity, jax.random.fold_in(key, 3))
    state, tuned, *_ = blackjax.mclmc_find_L_and_step_size(
        mclmc_kernel=kernel,
        num_steps=job["warmup"],
        state=state,
        rng_key=jax.random.fold_in(key, 4),
        logdensity_fn=logdensity,
    )
    step = float(tuned.step_size) * (job["step_factor"] or 1.0)
    clock.mark("tuning")
    keys = jax.random.split(jax.random.fold_in(key, 5), len(starts))
    positions = starts if job["start"] else jnp.broadcast_to(state.position, starts.shape)
    states = jax.vmap(lambda p, k: blackjax.mcmc.mclmc.init(p, logdensity, k))(positions, keys)

    def move(key, state):
        return kernel(key, state, logdensity, tuned.inverse_mass_matrix, tuned.L, step)

    found = _loop(
        move,
        loss,
        states,
        jax.random.fold_in(key, 2),
        job["draws"],
        lambda info: jnp.full(len(starts), 2),
        job["block"],
        job["limit"],
        clock,
    )
    return found | {"tuned": f"its tuner, {job['warmup']} steps"}


def _smc(job, clock, key, starts, logdensity, log_prior, loss, problem, draw):
    particles, moves, leapfrog = job["particles"], 5, job["leapfrog"]
    keys = jax.random.split(jax.random.fold_in(key, 3), particles)
    positions = jax.vmap(draw)(keys)
    kernel = blackjax.hmc.build_kernel()

    def init(position, logdensity):
        return blackjax.hmc.init(position, logdensity)

    @jax.jit
    def one(key, state, step, spread):
        algorithm = blackjax.adaptive_tempered_smc(
            log_prior,
            lambda u: -problem.beta * loss(u),
            kernel,
            init,
            extend_params(
                {
                    "step_size": step,
                    "inverse_mass_matrix": spread,
                    "num_integration_steps": leapfrog,
                }
            ),
            resampling.systematic,
            0.5,
            num_mcmc_steps=moves,
        )
        state, info = algorithm.step(key, state)
        accepted = jnp.mean(info.update_info.acceptance_rate)
        return state, accepted

    state = blackjax.smc.tempered.init(positions)
    step, rungs = 0.5 * positions.shape[1] ** -0.25, 0
    while float(state.tempering_param) < 1:
        spread = jnp.var(state.particles, axis=0)
        key, part = jax.random.split(key)
        state, accepted = one(part, state, jnp.asarray(step), spread)
        step *= float(np.exp(np.clip(accepted, 0.1, 1.0) - 0.8))
        rungs += 1
        if clock.now() > job["limit"]:
            raise TimeoutError(f"tempered to {float(state.tempering_param):.2g} in {rungs} rungs")
    clock.mark("sampling")
    losses = jax.vmap(loss)(state.particles)
    weights = np.asarray(state.weights, float)
    weights = weights / weights.sum()
    mean = float(weights @ np.asarray(losses))
    size = 1 / np.sum(weights**2)
    deviation = float(np.sqrt(weights @ (np.asarray(losses) - mean) ** 2 / size))
    return {
        "lambda_hat": problem.beta * (mean - problem.minimum_loss),
        "mcse": problem.beta * deviation,
        "ess": float(size),
        "gradients": rungs * particles * moves * leapfrog,
        "chains": particles,
        "tuned": f"{particles} particles, {rungs} rungs, scale from the particles",
    }
