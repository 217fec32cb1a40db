"""Sampling: the loop over chunks of draws, on all devices."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.sharding import SingleDeviceSharding

from sltprob import samplers
from sltprob.local_posterior import LocalPosterior
from sltprob.posterior import TemperedPosterior
from sltprob.samplers import Sampler
from sltprob.samplers._stochastic import StochasticGradientSampler
from sltprob.sampling.assemble import assemble, model_name
from sltprob.sampling.checkpoint import Checkpoint, from_piece, to_piece
from sltprob.sampling.compilation import Clock, begin_compiling
from sltprob.sampling.devices import chain_groups, cores, devices_of, drawing_devices
from sltprob.sampling.local_sample import as_tempered, sample_around
from sltprob.sampling.minibatches import check_minibatches
from sltprob.sampling.progress import Progress, running_estimate
from sltprob.sampling.rounding import probe_groups
from sltprob.sampling.starts import initial_positions
from sltprob.sampling.transitions import run_chunk, run_warmup

__all__ = ["sample"]

_CHUNK_DRAWS = 50


def sample(
    posterior: TemperedPosterior | LocalPosterior,
    sampler: Sampler | str,
    *,
    draws: int = 1000,
    warmup: int = 500,
    chains: int = 4,
    seed: int = 0,
    init: Any = None,
    keep: str | None = None,
    target_mcse: float | None = None,
    progress: Callable[[Progress], None] | None = None,
    checkpoint: Checkpoint | None = None,
    batch_size: int | None = None,
    steps_per_draw: int | None = None,
    step_size: float | None = None,
    record: str | None = None,
    vectorized: bool | None = None,
    half_step: bool | None = None,
    target_rho: float | None = None,
) -> xr.DataTree:
    """Draw from a tempered posterior, or from one around trained parameters.

    Parameters
    ----------
    posterior : TemperedPosterior or LocalPosterior
        Of `sltprob.temper`, or of `sltprob.local`. A sampler without minibatches, such as hmc,
        takes a local posterior on all data, with the localisation as its prior.
    sampler : Sampler or str
        Such as ``"hmc"`` or ``"sgld[step_size=1e-4]"``.
    draws : int
        Kept draws per chain.
    warmup : int
        Warm-up draws per chain; never averaged in.
    chains : int
    seed : int
        The same seed gives the same draws, whatever the number of cores.
    init : str or mapping of str to array, shape (chain, ...)
        ``"prior"`` (draws of the prior), ``"optimum"`` (the optimum of the model, with the
        chains spread by 1e-3 in unconstrained coordinates), ``"both"`` (every other chain from
        the optimum, the others from the prior: R-hat then sees chains that remember their start),
        or constrained values. By default ``"prior"``, and around trained parameters
        ``"optimum"``; there the prior is the localisation.
    keep : str
        ``"all"``, or ``"loss"`` for scalars only, so that memory does not grow with dimension,
        which is the default around trained parameters.
    target_mcse : float, optional
        Stop when lambda-hat's Monte Carlo standard error is at most this, after at least 100
        draws; the same unit as lambda-hat, dimensionless.
    progress : callable, optional
        Called with a `Progress` after each stage and chunk.
    checkpoint : Checkpoint, optional
        Where to keep each finished piece of the run. A run of the same arguments goes on after
        the last piece kept, and its draws are the same bit for bit.
    batch_size : int, optional
        Rows of a minibatch, by default 128. This and all that follows is for a local posterior.
    steps_per_draw : int, optional
        Steps between two kept draws, by default 10.
    step_size : float, optional
        ε of the sampler, in BlackJAX's convention; by default found in warm-up.
    record : str, optional
        ``"paired"``: l_i(θ) - l_i(θ*) over the minibatches that the steps have anyway; ``"all"``:
        over all rows at every draw.
    vectorized : bool, optional
        Whether chains share one call; by default where that is faster.
    half_step : bool, optional
        Whether to run at half the step as well, which narrows the interval of λ̂; by default where
        the step biases it by more than a tenth.
    target_rho : float, dimensionless, optional
        The bias, relative to λ̂, at which warm-up stops to make the step smaller: 0.08.

    Returns
    -------
    xarray.DataTree
        By the schema of `sltprob.draws`.

    Raises
    ------
    ValueError
        If an argument is out of range, or the sampler does not apply to the posterior.
    TypeError
        If the posterior was not made by `temper`.
    """
    around: dict[str, Any] = {
        "batch_size": batch_size,
        "steps_per_draw": steps_per_draw,
        "step_size": step_size,
        "record": record,
        "vectorized": vectorized,
        "half_step": half_step,
        "target_rho": target_rho,
    }
    if isinstance(posterior, LocalPosterior):
        if isinstance(sampler, str):
            sampler = samplers.get(sampler)
        if isinstance(sampler, StochasticGradientSampler):
            if target_mcse is not None or checkpoint is not None:
                raise ValueError("target_mcse and checkpoint are not for a local posterior yet")
            _check_counts(draws, warmup, chains, seed, keep or "loss", None)
            return sample_around(
                posterior,
                sampler,
                draws=draws,
                warmup=warmup,
                chains=chains,
                seed=seed,
                init=init,
                keep=keep,
                progress=progress,
                **around,
            )
        posterior, init = as_tempered(posterior), "optimum" if init is None else init
    given = [name for name, value in around.items() if value is not None]
    if given:
        raise ValueError(
            f"{given[0]} goes with a posterior of sltprob.local and a sampler of minibatches; "
            f"write it into the sampler where it has such an option, as 'sgld[{given[0]}=...]'"
        )
    init = "prior" if init is None else init
    keep = keep or "all"
    if not isinstance(posterior, TemperedPosterior):
        raise TypeError(
            f"a {type(posterior).__name__} is not a tempered posterior; write "
            "sample(temper(model, beta=...), sampler), or sample(local(loss, params, data), 'sgld')"
        )
    if isinstance(sampler, str):
        sampler = samplers.get(sampler)
    _check_counts(draws, warmup, chains, seed, keep, target_mcse)
    if (reason := sampler.applies_to(posterior)) is not None:
        raise ValueError(
            f"{samplers.specification(sampler)} does not apply to {model_name(posterior)}: "
            f"{reason}; take another sampler, such as 'hmc'"
        )
    if (own_size := getattr(sampler, "batch_size", None)) is not None:
        check_minibatches(posterior, own_size)
    return _sample_tempered(
        posterior,
        sampler,
        draws=draws,
        warmup=warmup,
        chains=chains,
        seed=seed,
        init=init,
        keep=keep,
        target_mcse=target_mcse,
        progress=progress,
        checkpoint=checkpoint,
    )


def _sample_tempered(
    posterior: TemperedPosterior,
    sampler: Sampler,
    *,
    draws: int,
    warmup: int,
    chains: int,
    seed: int,
    init: Any,
    keep: str,
    target_mcse: float | None,
    progress: Callable[[Progress], None] | None,
    checkpoint: Checkpoint | None,
) -> xr.DataTree:
    """Draw from a tempered posterior; what is given has been checked."""
    begin = time.perf_counter()
    key_init, key_warmup, key_prepare, key_rounding, chain_keys = _keys(
        jax.random.key(seed), chains
    )
    positions, started = initial_positions(posterior, init, chains, key_init)
    # Warm-up belongs to all chains together, and so to one device; draws are spread over all.
    devices = drawing_devices(positions)
    home = devices[0]
    posterior, positions, key_warmup, key_rounding = jax.device_put(
        (posterior, positions, key_warmup, key_rounding), home
    )
    clock = Clock()
    name = samplers.specification(sampler)
    beta = float(posterior.beta)

    def report(stage: str, done: int, since: float, lambda_hat: float, mcse: float) -> None:
        if progress is not None:
            elapsed = time.perf_counter() - since
            progress(Progress(stage, done, draws, elapsed, lambda_hat, mcse, beta, name))

    report("compile", 0, begin, math.nan, math.nan)
    start = time.perf_counter()
    sampler, pilot_gradients = sampler.prepared(key_prepare, posterior)
    seconds_pilot = time.perf_counter() - start
    groups = chain_groups(chains)
    # Groups take turns on the devices. Which device draws a group changes nothing of its draws.
    places = [devices[index % len(devices)] for index in range(len(groups))]
    chunk = -(-draws // -(-draws // _CHUNK_DRAWS))
    restored = iter(checkpoint.restore() if checkpoint is not None else ())
    piece = next(restored, None)
    if piece is not None:
        warm = None
        make = partial(run_warmup, sampler=sampler, num_steps=warmup)
        with clock.running():
            form = jax.eval_shape(make, posterior, positions, key_warmup)
    else:
        warm = begin_compiling(
            run_warmup,
            posterior,
            positions,
            key_warmup,
            clock=clock,
            device=home,
            sampler=sampler,
            num_steps=warmup,
        )
        form = warm.out_info
    # What draws is compiled beside the warm-up. The groups can differ by one chain in size, so
    # there are at most two compilations a device.
    shared_forms = (form.parameters, form.typical)
    state_forms = [_rows(form.states, group.stop - group.start) for group in groups]
    programs = [
        begin_compiling(
            run_chunk,
            jax.device_put(posterior, device),
            *_placed(shared_forms, device),
            _placed(state_form, device),
            jax.device_put(chain_keys[: group.stop - group.start], device),
            jax.device_put(jnp.asarray(0), device),
            clock=clock,
            device=device,
            sampler=sampler,
            num_draws=chunk,
            keep=keep,
        )
        for state_form, group, device in zip(state_forms, groups, places, strict=True)
    ]
    probe = begin_compiling(
        probe_groups,
        posterior,
        [_placed(state_form, home) for state_form in state_forms],
        key_rounding,
        clock=clock,
        device=home,
        run_once=True,
        sampler=sampler,
    )
    if piece is not None:
        seconds_warmup, warmed = from_piece(piece, form)
    else:
        assert warm is not None
        run_warm = warm.ready(clock)
        start = time.perf_counter()
        report("warm-up", 0, start, math.nan, math.nan)
        warmed = jax.block_until_ready(run_warm(posterior, positions, key_warmup))
        seconds_warmup = time.perf_counter() - start
        if checkpoint is not None:
            checkpoint.save(to_piece(seconds_warmup, warmed))

    seconds_warmup += seconds_pilot
    warmed = replace(warmed, num_gradients=warmed.num_gradients + pilot_gradients / chains)
    shared = {
        device: jax.device_put((posterior, warmed.parameters, warmed.typical), device)
        for device in devices
    }
    edges = tuple((group.start, group.stop) for group in groups)
    states = jax.device_put(_cut(warmed.states, edges), [*places])
    keys = jax.device_put(_cut(chain_keys, edges), [*places])
    run = [program.ready(clock) for program in programs]

    records: list[list[Any]] = [[] for _ in groups]
    losses = np.empty((chains, 0))
    minimum_loss = float(posterior.minimum_loss)
    start = time.perf_counter()
    threads = min(len(groups), max(cores(), len(devices)))
    with ThreadPoolExecutor(threads) as pool:
        for first in range(0, draws, chunk):

            def advance(index: int, first: int = first) -> Any:
                device = places[index]
                state = jax.device_put(states[index], device)
                outcome = run[index](
                    *shared[device], state, keys[index], jax.device_put(first, device)
                )
                return jax.tree.map(np.asarray, outcome[1]), outcome[0]

            if (piece := next(restored, None)) is not None:
                before, outcomes = from_piece(piece, [each.out_info[::-1] for each in run])
                start = time.perf_counter() - before
            else:
                # Threads, since a compiled call releases the interpreter lock.
                outcomes = list(pool.map(advance, range(len(groups))))
                if checkpoint is not None:
                    checkpoint.save(to_piece(time.perf_counter() - start, outcomes))
            for index, (record, state) in enumerate(outcomes):
                records[index].append(record)
                states[index] = state
            done = min(first + chunk, draws)
            if progress is None and target_mcse is None:
                continue
            recent = np.concatenate([record[-1]["stats"]["loss"] for record in records])
            losses = np.concatenate([losses, recent], axis=1)[:, :done]
            lambda_hat, mcse = running_estimate(losses, beta, minimum_loss)
            report("sample", done, start, lambda_hat, mcse)
            if target_mcse is not None and done >= min(100, draws) and mcse <= target_mcse:
                draws = done
                break
    seconds_sampling = time.perf_counter() - start

    record = jax.tree.map(
        lambda *parts: np.concatenate(parts),
        *[jax.tree.map(lambda *p: np.concatenate(p, axis=1)[:, :draws], *r) for r in records],
    )
    num_devices = len({device for state in states for device in devices_of(state)})
    run_probe = probe.ready(clock)
    rounding = float(run_probe(posterior, jax.device_put(states, home), key_rounding))
    report("done", draws, start, *running_estimate(record["stats"]["loss"], beta, minimum_loss))
    return assemble(
        posterior,
        sampler,
        record,
        warmed,
        rounding=rounding,
        warmup=warmup,
        seed=seed,
        init=started,
        keep=keep,
        cost={
            "devices": num_devices,
            "seconds_compile": clock.seconds,
            "seconds_warmup": seconds_warmup,
            "seconds_sampling": seconds_sampling,
            "seconds_total": time.perf_counter() - begin,
        },
    )


@partial(jax.jit, static_argnames="chains")
def _keys(key: Any, chains: int) -> tuple[Any, ...]:
    """Give all keys of a run: of start, warm-up, preparation and rounding, and of every chain."""
    key_init, key_warmup, key_draws, key_rounding = jax.random.split(key, 4)
    chain_keys = jax.vmap(lambda chain: jax.random.fold_in(key_draws, chain))(jnp.arange(chains))
    return key_init, key_warmup, jax.random.fold_in(key_warmup, 0), key_rounding, chain_keys


@partial(jax.jit, static_argnames="edges")
def _cut(tree: Any, edges: tuple[tuple[int, int], ...]) -> list[Any]:
    """Give the chains of every group."""
    return [jax.tree.map(lambda leaf, e=edge: leaf[slice(*e)], tree) for edge in edges]


def _rows(forms: Any, count: int) -> Any:
    """Give the forms of so many chains."""
    return jax.tree.map(
        lambda form: jax.ShapeDtypeStruct((count, *form.shape[1:]), form.dtype), forms
    )


def _placed(forms: Any, device: Any) -> Any:
    """Put forms on a device, as `jax.device_put` does with arrays."""
    place = SingleDeviceSharding(device)
    return jax.tree.map(
        lambda form: jax.ShapeDtypeStruct(form.shape, form.dtype, sharding=place), forms
    )


def _check_counts(
    draws: int, warmup: int, chains: int, seed: int, keep: str, target_mcse: float | None
) -> None:
    for name, value, least, example in (
        ("draws", draws, 1, 1000),
        ("warmup", warmup, 20, 500),
        ("chains", chains, 1, 4),
        ("seed", seed, 0, 0),
    ):
        if not isinstance(value, int | np.integer) or value < least:
            raise ValueError(
                f"{name}={value!r}: it must be a whole number >= {least}, such as {example}"
            )
    if keep not in ("all", "loss"):
        raise ValueError(f"keep={keep!r}: it must be 'all' or 'loss'")
    if target_mcse is not None and not target_mcse > 0:
        raise ValueError(f"target_mcse={target_mcse}: it must be positive, such as 0.02")
