"""The one loop: chains vectorised, chunks compiled, everything that judging needs recorded."""

from __future__ import annotations

import itertools
import math
import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache, partial
from importlib.metadata import version
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from arviz_stats.base import array_stats

from sltprob import draws as schema
from sltprob import models, samplers
from sltprob.posterior import TemperedPosterior
from sltprob.samplers import Sampler

__all__ = ["Checkpoint", "Progress", "sample"]

_CHUNK_DRAWS = 50
# Chains of one group share a vectorised call; two groups keep two cores busy, and more than
# eight chains of the flagship model leave the second-level cache.
_MAX_GROUP_CHAINS = 8
_ROUNDING_PROBES = 8


@dataclass(frozen=True)
class Progress:
    """What is known while a run goes on.

    Parameters
    ----------
    stage : str
        ``"compile"``, ``"warm-up"``, ``"sample"`` or ``"done"``.
    draws : int
        Draws per chain so far.
    total : int
        Draws per chain asked for.
    seconds : float
        Seconds of this stage so far.
    lambda_hat, mcse : float
        Running estimate; NaN before there are draws.
    beta : float
    sampler : str
    """

    stage: str
    draws: int
    total: int
    seconds: float
    lambda_hat: float
    mcse: float
    beta: float
    sampler: str


class Checkpoint(Protocol):
    """Where `sample` keeps what it has done, so that it can go on after it was stopped.

    A piece is a list of arrays: first the warm-up, then one piece for each chunk of draws. Who
    implements this may write pieces late or together, but never a later one without the earlier.
    """

    def restore(self) -> Iterable[list[np.ndarray]]:
        """Give back the pieces saved so far, in order.

        Returns
        -------
        iterable of list of array
        """
        ...

    def save(self, piece: list[np.ndarray]) -> None:
        """Keep one more piece.

        Parameters
        ----------
        piece : list of array
        """
        ...


def sample(
    posterior: TemperedPosterior,
    sampler: Sampler | str,
    *,
    draws: int = 1000,
    warmup: int = 500,
    chains: int = 4,
    seed: int = 0,
    init: Any = "prior",
    keep: str = "all",
    target_mcse: float | None = None,
    progress: Callable[[Progress], None] | None = None,
    checkpoint: Checkpoint | None = None,
) -> xr.DataTree:
    """Draw from a tempered posterior.

    Parameters
    ----------
    posterior : TemperedPosterior
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
        chains spread by 1e-3 in unconstrained coordinates), or constrained values.
    keep : str
        ``"all"``, or ``"loss"`` for scalars only, so that memory does not grow with dimension.
    target_mcse : float, optional
        Stop when lambda-hat's Monte Carlo standard error is at most this, after at least 100
        draws; the same unit as lambda-hat, dimensionless.
    progress : callable, optional
        Called with a `Progress` after each stage and chunk.
    checkpoint : Checkpoint, optional
        Where to keep each finished piece of the run. A run of the same arguments goes on after
        the last piece kept, and its draws are the same bit for bit.

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
    if not isinstance(posterior, TemperedPosterior):
        raise TypeError(
            f"a {type(posterior).__name__} is not a tempered posterior; write "
            "sample(temper(model, beta=...), sampler)"
        )
    if isinstance(sampler, str):
        sampler = samplers.get(sampler)
    _check_counts(draws, warmup, chains, seed, keep, target_mcse)
    if (reason := sampler.applies_to(posterior)) is not None:
        raise ValueError(
            f"{samplers.specification(sampler)} does not apply to {_model_name(posterior)}: "
            f"{reason}; take another sampler, such as 'hmc'"
        )
    begin = time.perf_counter()
    key = jax.random.key(seed)
    key_init, key_warmup, key_draws, key_rounding = jax.random.split(key, 4)
    positions = _initial_positions(posterior, init, chains, key_init)
    # Warm-up belongs to all chains together, and so to one device; draws are spread over all.
    devices = _devices(positions)
    home = devices[0]
    posterior, positions, key_warmup, key_rounding = jax.device_put(
        (posterior, positions, key_warmup, key_rounding), home
    )
    clock = _Clock()
    name = samplers.specification(sampler)
    beta = float(posterior.beta)

    def report(stage: str, done: int, since: float, lambda_hat: float, mcse: float) -> None:
        if progress is not None:
            elapsed = time.perf_counter() - since
            progress(Progress(stage, done, draws, elapsed, lambda_hat, mcse, beta, name))

    report("compile", 0, begin, math.nan, math.nan)
    start = time.perf_counter()
    sampler, pilot_gradients = sampler.prepared(jax.random.fold_in(key_warmup, 0), posterior)
    seconds_pilot = time.perf_counter() - start
    restored = iter(checkpoint.restore() if checkpoint is not None else ())
    if (piece := next(restored, None)) is not None:
        make = partial(_run_warmup, sampler=sampler, num_steps=warmup)
        form = jax.eval_shape(make, posterior, positions, key_warmup)
        seconds_warmup, warmed = _from_piece(piece, form)
    else:
        warm = _compiled(
            _run_warmup,
            clock,
            posterior,
            positions,
            key_warmup,
            device=home,
            sampler=sampler,
            num_steps=warmup,
        )
        start = time.perf_counter()
        report("warm-up", 0, start, math.nan, math.nan)
        warmed = jax.block_until_ready(warm(posterior, positions, key_warmup))
        seconds_warmup = time.perf_counter() - start
        if checkpoint is not None:
            checkpoint.save(_to_piece(seconds_warmup, warmed))

    seconds_warmup += seconds_pilot
    warmed = replace(warmed, num_gradients=warmed.num_gradients + pilot_gradients / chains)
    center = warmed.center
    groups = _groups(chains)
    chain_keys = jax.vmap(lambda chain: jax.random.fold_in(key_draws, chain))(jnp.arange(chains))
    states = [jax.tree.map(lambda leaf, g=group: leaf[g], warmed.states) for group in groups]
    keys = [chain_keys[group] for group in groups]
    chunk = -(-draws // -(-draws // _CHUNK_DRAWS))
    # Groups take turns on the devices. Which device draws a group changes nothing of its draws.
    places = [devices[index % len(devices)] for index in range(len(groups))]
    shared = {
        device: jax.device_put((posterior, warmed.parameters, center), device) for device in devices
    }
    states = jax.device_put(states, [*places])
    keys = jax.device_put(keys, [*places])
    # The groups can differ by one chain in size, so there are at most two compilations a device.
    run = [
        _compiled(
            _run_chunk,
            clock,
            *shared[device],
            state,
            group_keys,
            jnp.asarray(0),
            device=device,
            sampler=sampler,
            num_draws=chunk,
            keep=keep,
        )
        for state, group_keys, device in zip(states, keys, places, strict=True)
    ]

    records: list[list[Any]] = [[] for _ in groups]
    losses = np.empty((chains, 0))
    minimum_loss = float(posterior.minimum_loss)
    start = time.perf_counter()
    threads = min(len(groups), max(_cores(), len(devices)))
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
                before, outcomes = _from_piece(piece, [each.out_info[::-1] for each in run])
                start = time.perf_counter() - before
            else:
                # Threads, since a compiled call releases the interpreter lock.
                outcomes = list(pool.map(advance, range(len(groups))))
                if checkpoint is not None:
                    checkpoint.save(_to_piece(time.perf_counter() - start, outcomes))
            for index, (record, state) in enumerate(outcomes):
                records[index].append(record)
                states[index] = state
            done = min(first + chunk, draws)
            if progress is None and target_mcse is None:
                continue
            recent = np.concatenate([record[-1]["stats"]["loss"] for record in records])
            losses = np.concatenate([losses, recent], axis=1)[:, :done]
            lambda_hat, mcse = _running(losses, beta, minimum_loss)
            report("sample", done, start, lambda_hat, mcse)
            if target_mcse is not None and done >= min(100, draws) and mcse <= target_mcse:
                draws = done
                break
    seconds_sampling = time.perf_counter() - start

    record = jax.tree.map(
        lambda *parts: np.concatenate(parts),
        *[jax.tree.map(lambda *p: np.concatenate(p, axis=1)[:, :draws], *r) for r in records],
    )
    num_devices = len({device for state in states for device in _placement(state)})
    gathered = jax.device_put(states, home)
    last = jax.tree.map(lambda *parts: jnp.concatenate(parts), *gathered)
    rounding = _loss_rounding(posterior, sampler, last, key_rounding)
    report("done", draws, start, *_running(record["stats"]["loss"], beta, minimum_loss))
    return assemble(
        posterior,
        sampler,
        record,
        warmed,
        rounding=rounding,
        warmup=warmup,
        seed=seed,
        init=init if isinstance(init, str) else "given",
        keep=keep,
        cost={
            "devices": num_devices,
            "seconds_compile": clock.seconds,
            "seconds_warmup": seconds_warmup,
            "seconds_sampling": seconds_sampling,
            "seconds_total": time.perf_counter() - begin,
        },
    )


def assemble(
    posterior: TemperedPosterior,
    sampler: Sampler,
    record: Mapping[str, Any],
    warmed: _Warmed,
    *,
    rounding: float,
    warmup: int,
    seed: int,
    init: str,
    keep: str,
    cost: Mapping[str, float],
) -> xr.DataTree:
    """Make a run of what was recorded, with the attributes that say how it was made."""
    tuned = {key: np.asarray(value) for key, value in warmed.parameters.items()}
    # The virial has a site axis; its coordinates are named in the schema.
    attributes = {
        "model": _model_name(posterior),
        "sampler": samplers.specification(sampler),
        "beta": float(posterior.beta),
        "seed": seed,
        "minimum_loss": float(posterior.minimum_loss),
        "localization": float(posterior.localization),
        "warmup": warmup,
        "reparameterise": "none" if posterior.structure.readout is None else "readout",
        "unadjusted": int(sampler.unadjusted),
        "step_size": float(tuned.get("step_size", math.nan)),
        "loss_rounding": rounding,
        "data_error": float(posterior.data_error),
        "dimension": posterior.dimension,
        "dtype": str(jnp.zeros(()).dtype),
        "init": init,
        "keep": keep,
        **cost,
        "warmup_gradients": float(warmed.num_gradients) * len(record["stats"]["loss"]),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "platform": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        **_versions(),
    }
    return schema.build(
        sample_stats=record["stats"],
        posterior=record["values"] if keep == "all" else None,
        warmup={
            name: np.asarray(value)[: tuned.get("warmup_draws_used")].T
            for name, value in warmed.trace.items()
        },
        tuned=tuned,
        site_dimensions=posterior.dimensions,
        attributes=attributes,
    )


@cache
def _versions() -> dict[str, str]:
    return {
        f"version_{package}": version(package)
        for package in ("sltprob", "jax", "numpyro", "blackjax", "arviz", "numpy")
    }


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


def _model_name(posterior: TemperedPosterior) -> str:
    model = posterior.structure.model
    if model is not None:
        return models.specification(model)
    program = posterior.structure.program
    return str(getattr(program, "__name__", type(program).__name__))


def _initial_positions(posterior: TemperedPosterior, init: Any, chains: int, key: Any) -> Any:
    """Place the chains, leading axis chain."""
    keys = jax.random.split(key, chains)
    if isinstance(init, str):
        if init == "prior":
            return _draw_positions(posterior, keys)
        if init != "optimum":
            raise ValueError(
                f"init={init!r}: it must be 'prior', 'optimum' or a mapping of site names to "
                "values with a leading chain axis"
            )
        if posterior.structure.model is None:
            raise ValueError(
                "init='optimum' needs a model that knows its optimum; pass the point, "
                "init={'site': values}"
            )
        optimum = posterior.unconstrain(posterior.structure.model.optimum())

        def spread(key: Any) -> Any:
            leaves, tree = jax.tree.flatten(optimum)
            keys = jax.random.split(key, len(leaves))
            moved = [
                leaf + 1e-3 * jax.random.normal(k, leaf.shape)
                for leaf, k in zip(leaves, keys, strict=True)
            ]
            return jax.tree.unflatten(tree, moved)

        return jax.vmap(spread)(keys)
    values = {name: jnp.asarray(value, dtype=float) for name, value in init.items()}
    counts = {name: value.shape[0] if value.ndim else 0 for name, value in values.items()}
    if any(count != chains for count in counts.values()):
        raise ValueError(f"init has {counts} chains per site; it must have {chains}")
    positions = [
        posterior.unconstrain({name: value[chain] for name, value in values.items()})
        for chain in range(chains)
    ]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *positions)


@jax.jit
def _draw_positions(posterior: TemperedPosterior, keys: Any) -> Any:
    """Draw from the prior, leading axis chain; compiled once for all temperatures and seeds."""
    return jax.vmap(posterior.draw_prior)(keys)


def _devices(positions: Any) -> list[Any]:
    """List the devices that draw: those of JAX, or the one that the caller has chosen."""
    if jax.config.jax_default_device is not None:
        return list(_placement(positions))
    return list(jax.local_devices())


def _placement(tree: Any) -> set[Any]:
    return jax.tree.leaves(tree)[0].devices()


def _cores() -> int:
    """Count the cores that this process may use.

    A Dask worker shares the machine with others, and says so as OpenMP's programs expect it.
    """
    try:
        return max(1, int(os.environ["OMP_NUM_THREADS"]))
    except (KeyError, ValueError):
        return os.cpu_count() or 1


def _groups(chains: int) -> list[slice]:
    """Cut the chains into groups of nearly equal size, whatever the number of cores."""
    count = max(min(chains, 2), -(-chains // _MAX_GROUP_CHAINS))
    edges = [chains * index // count for index in range(count + 1)]
    return [slice(*edge) for edge in itertools.pairwise(edges)]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _Warmed:
    states: Any
    parameters: dict[str, Any]
    trace: dict[str, Any]
    num_gradients: Any
    center: Any


def _run_warmup(
    posterior: TemperedPosterior, positions: Any, key: Any, *, sampler: Sampler, num_steps: int
) -> _Warmed:
    warmup = sampler.warmup(key, posterior, positions, num_steps)
    evaluation = jax.vmap(lambda state: sampler.evaluate(posterior, state))(warmup.states)
    # A point near the mean: the virial about it or about the origin may have less variance.
    center = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), evaluation.position)
    return _Warmed(*warmup, center)


def _run_chunk(
    posterior: TemperedPosterior,
    parameters: dict[str, Any],
    center: Any,
    states: Any,
    keys: Any,
    first: Any,
    *,
    sampler: Sampler,
    num_draws: int,
    keep: str,
) -> tuple[Any, Any]:
    """Make `num_draws` draws of a group of chains and record them, leading axis chain."""

    def draw(key: Any, state: Any, index: Any) -> tuple[Any, Any]:
        key = jax.random.fold_in(key, index)
        state, info = sampler.step(key, posterior, state, parameters)
        evaluation = sampler.evaluate(posterior, state)
        return state, _record(posterior, evaluation, info, center, keep)

    def body(states: Any, index: Any) -> tuple[Any, Any]:
        return sampler.over_chains(lambda key, state: draw(key, state, index), keys, states)

    states, record = jax.lax.scan(body, states, first + jnp.arange(num_draws))
    return states, jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), record)


def _record(
    posterior: TemperedPosterior, evaluation: Any, info: dict[str, Any], center: Any, keep: str
) -> dict[str, Any]:
    position, logdensity, gradient = evaluation
    sites = posterior.dimensions
    virial = [-jnp.sum(position[name] * gradient[name]) for name in sites]
    offset = [-jnp.sum(center[name] * gradient[name]) for name in sites]
    squares = [jnp.sum(gradient[name] ** 2) for name in sites]
    stats = {
        "loss": posterior.loss_from_logdensity(position, logdensity),
        "lp": logdensity,
        "virial": jnp.stack(virial),
        "virial_offset": jnp.stack(offset),
        "squared_gradient": sum(squares[1:], squares[0]),
        **info,
    }
    values = posterior.constrain(position) if keep == "all" else {}
    return {"stats": stats, "values": values}


def _to_piece(seconds: float, tree: Any) -> list[np.ndarray]:
    """Flatten what a run has done to arrays that a file can hold."""
    leaves = [
        jax.random.key_data(leaf) if _is_key(leaf) else leaf for leaf in jax.tree.leaves(tree)
    ]
    return [np.asarray(seconds), *map(np.asarray, leaves)]


def _from_piece(piece: list[np.ndarray], form: Any) -> tuple[float, Any]:
    """Undo `_to_piece`; `form` has the same structure."""
    forms, structure = jax.tree.flatten(form)
    leaves = [
        jax.random.wrap_key_data(jnp.asarray(array), impl=jax.random.key_impl(leaf))
        if _is_key(leaf)
        else jnp.asarray(array)
        for array, leaf in zip(piece[1:], forms, strict=True)
    ]
    return float(piece[0]), jax.tree.unflatten(structure, leaves)


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(leaf), jax.dtypes.prng_key)


class _Clock:
    """Seconds spent compiling."""

    def __init__(self) -> None:
        self.seconds = 0.0


_cache: dict[Any, Any] = {}


def _compiled(
    function: Callable[..., Any],
    clock: _Clock,
    *arguments: Any,
    device: Any = None,
    **static: Any,
) -> Any:
    """Compile once for each function, static options, shapes and device, and time it.

    Ahead-of-time compilation, so that its seconds are counted apart from those of the run.
    """
    leaves, tree = jax.tree.flatten(arguments)
    shapes = tuple((jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves)
    signature = (function, tuple(sorted(static.items())), tree, shapes)
    if (signature, device) not in _cache:
        start = time.perf_counter()

        def call(*values: Any) -> Any:
            return function(*values, **static)

        _cache[signature, device] = jax.jit(call).lower(*arguments).compile()
        clock.seconds += time.perf_counter() - start
    return _cache[signature, device]


def _running(losses: np.ndarray, beta: float, minimum_loss: float) -> tuple[float, float]:
    """Estimate lambda-hat and its MCSE while the run goes on."""
    if losses.shape[1] < 4 or not np.all(np.isfinite(losses)):
        return math.nan, math.nan
    mcse = array_stats.mcse(losses, chain_axis=0, draw_axis=1, method="mean")
    return beta * (float(np.mean(losses)) - minimum_loss), beta * float(mcse)


def _loss_rounding(posterior: TemperedPosterior, sampler: Sampler, states: Any, key: Any) -> float:
    """Measure the absolute rounding error of the loss at the last draws.

    Changing every coordinate by one unit in the last place changes the loss by as much as
    rounding does, for any backward stable evaluation; the loss itself is rounded as well.
    """
    clock = _Clock()
    (device,) = _placement(states)
    probe = _compiled(
        _probe_rounding, clock, posterior, states, key, device=device, sampler=sampler
    )
    return float(probe(posterior, states, key))


def _probe_rounding(
    posterior: TemperedPosterior, states: Any, key: Any, *, sampler: Sampler
) -> Any:
    def one(state: Any, key: Any) -> Any:
        position = sampler.evaluate(posterior, state).position
        leaves, tree = jax.tree.flatten(position)
        epsilon = jnp.finfo(leaves[0].dtype).eps
        loss = posterior.loss(position)

        def change(key: Any) -> Any:
            keys = jax.random.split(key, len(leaves))
            moved = [
                leaf * (1 + epsilon * jax.random.rademacher(k, leaf.shape, leaf.dtype))
                for leaf, k in zip(leaves, keys, strict=True)
            ]
            return posterior.loss(jax.tree.unflatten(tree, moved)) - loss

        changes = jax.vmap(change)(jax.random.split(key, _ROUNDING_PROBES))
        return jnp.sqrt(jnp.mean(changes**2)) + epsilon * jnp.abs(loss)

    count = jax.tree.leaves(states)[0].shape[0]
    return jnp.max(jax.vmap(one)(states, jax.random.split(key, count)))
