"""The loop over chunks of draws of a tempered posterior, on all devices."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import numpy as np
import xarray as xr
from jax.sharding import SingleDeviceSharding

from sltprob import draws as schema
from sltprob import samplers
from sltprob.diagnostics import diagnose
from sltprob.diagnostics.checks import LEAST_ESS
from sltprob.diagnostics.identity_checks import needs_no_jumps
from sltprob.free_energy_curve import Curve
from sltprob.posterior import TemperedPosterior
from sltprob.samplers import Sampler
from sltprob.sampling.assemble import assemble
from sltprob.sampling.checkpoint import Checkpoint, from_piece, to_piece
from sltprob.sampling.compilation import Clock, Program, begin_compiling, compiled
from sltprob.sampling.devices import chain_groups, cores, devices_of, drawing_devices
from sltprob.sampling.jumps import largest_jump
from sltprob.sampling.keys import RunKeys
from sltprob.sampling.progress import Draws, Progress, Target
from sltprob.sampling.rounding import probe_groups
from sltprob.sampling.rows import by_chain, joined, taken
from sltprob.sampling.scouts import (
    Scouting,
    begin_scouting,
    has_use_for_scouts,
    places_asked,
    scout_states,
)
from sltprob.sampling.starts import initial_positions
from sltprob.sampling.transitions import run_chunk, run_warmup

__all__ = ["sample_tempered"]

# Dimension times data below which it takes longer to optimise a warm-up than that saves.
_TINY = 100
# Fewer cores are busy with the run itself, whose seconds are to be those of its draws.
_MANY_CORES = 4
_SHOWN_SECONDS = 0.1
# Scouts make one chunk of draws each: a fortieth of a long run.
_CHUNK_DRAWS, _SHORTEST_CHUNK, _CHUNKS = 50, 5, 40


def sample_tempered(
    posterior: TemperedPosterior,
    sampler: Sampler,
    *,
    draws: int,
    warmup: int,
    chains: int,
    seed: int,
    init: Any,
    keep: str,
    target: Target | None,
    progress: Callable[[Progress], None] | None,
    checkpoint: Checkpoint | None,
) -> xr.DataTree:
    """Draw from a tempered posterior; what is given has been checked."""
    begin = time.perf_counter()
    run_keys = RunKeys.of(seed, chains)
    positions, started = initial_positions(posterior, init, run_keys.starts)
    # Warm-up belongs to all chains together, and so to one device; draws are spread over all.
    devices = drawing_devices(positions)
    home = devices[0]
    posterior, positions, key_warmup = jax.device_put((posterior, positions, run_keys.warmup), home)
    clock = Clock()
    name = samplers.specification(sampler)
    beta = float(posterior.beta)

    def report(stage: str, done: int, since: float, lambda_hat: float, mcse: float) -> None:
        if progress is not None:
            elapsed = time.perf_counter() - since
            progress(Progress(stage, done, draws, elapsed, lambda_hat, mcse, beta, name))

    report("compile", 0, begin, math.nan, math.nan)
    start = time.perf_counter()
    sampler, pilot_gradients = sampler.prepared(run_keys.prepare, posterior)
    seconds_pilot = time.perf_counter() - start
    groups = chain_groups(chains, len(devices))
    # Groups take turns on the devices. Which device draws a group changes nothing of its draws.
    places = [devices[index % len(devices)] for index in range(len(groups))]
    wanted = min(max(-(-draws // _CHUNKS), _SHORTEST_CHUNK), _CHUNK_DRAWS)
    chunk = -(-draws // -(-draws // wanted))
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
            effort=0 if posterior.dimension * len(posterior.weights) <= _TINY else 1,
            sampler=sampler,
            num_steps=warmup,
        )
        form = warm.out_info
    # What draws is compiled beside the warm-up. The groups can differ by one chain in size, so
    # there are at most two compilations a device.
    shared_forms = (form.parameters, form.typical)
    sizes = [group.stop - group.start for group in groups]
    state_forms = [_rows(form.states, size) for size in sizes]

    def drawing(kernel: Sampler, states: Any, size: int, device: Any, keep: str) -> Program:
        """Begin to compile what makes a chunk of draws of so many chains."""
        keys = jax.ShapeDtypeStruct((size,), run_keys.draws.dtype)
        return begin_compiling(
            run_chunk,
            jax.device_put(posterior, device),
            *_placed((*shared_forms, states, keys), device),
            jax.device_put(np.asarray(0), device),
            clock=clock,
            device=device,
            effort=1,
            sampler=kernel,
            num_draws=chunk,
            keep=keep,
        )

    programs = [
        drawing(sampler, states, size, device, keep)
        for states, size, device in zip(state_forms, sizes, places, strict=True)
    ]
    probe = begin_compiling(
        probe_groups,
        posterior,
        [_placed(state_form, home) for state_form in state_forms],
        clock=clock,
        device=home,
        effort=0,
        sampler=sampler,
    )
    kernel = sampler.scout()

    def begin_scouts() -> tuple[Program, Scouting]:
        """Begin to compile what the scouts draw with, and what sends them out."""
        make = partial(scout_states, posterior, sampler=sampler)
        of_group, of_all = (jax.eval_shape(make, s) for s in (state_forms[0], form.states))
        own = kernel is sampler
        draw = programs[0] if own else drawing(kernel, of_group, sizes[0], places[0], "loss")
        sent = begin_scouting(
            posterior, kernel, seed, of_all, of_group, clock, home, population=own
        )
        return draw, sent

    # At once where there are cores for it, beside those that draw, and draws enough to be trusted.
    useful = has_use_for_scouts(posterior)
    at_once = useful and cores() >= _MANY_CORES and draws * chains >= LEAST_ESS
    scouts = begin_scouts() if at_once else None
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
    warmed = replace(
        warmed, num_gradients=np.asarray(warmed.num_gradients) + pilot_gradients / chains
    )
    shared = {
        device: jax.device_put((posterior, warmed.parameters, warmed.typical), device)
        for device in devices
    }
    states, keys = (
        [jax.device_put(taken(tree, group), at) for group, at in zip(groups, places, strict=True)]
        for tree in (warmed.states, run_keys.draws)
    )
    run = [program.ready(clock) for program in programs]

    records: list[list[Any]] = [[] for _ in groups]
    # States from time to time, of models so small that scouts ask for more than the last ones.
    visited: list[list[Any]] = []
    asked = places_asked(posterior, chains)
    minimum_loss = float(posterior.minimum_loss)
    known = partial(_draws, beta=beta, minimum_loss=minimum_loss)
    shown, estimate = -math.inf, (math.nan, math.nan)
    start = time.perf_counter()
    threads = min(len(groups), max(cores(), len(devices)))
    with ThreadPoolExecutor(threads) as pool:
        for first in range(0, draws, chunk):

            def advance(index: int, first: int = first) -> Any:
                given = (*shared[places[index]], states[index], keys[index], np.asarray(first))
                state, record = run[index](*given)
                return jax.tree.map(np.asarray, record), state

            if (piece := next(restored, None)) is not None:
                before, outcomes = from_piece(piece, [each.out_info[::-1] for each in run])
                outcomes = [
                    (made, jax.device_put(at, place))
                    for (made, at), place in zip(outcomes, places, strict=True)
                ]
                start = time.perf_counter() - before
            else:
                # Threads, since a compiled call releases the interpreter lock.
                outcomes = list(pool.map(advance, range(len(groups))))
                if checkpoint is not None:
                    checkpoint.save(to_piece(time.perf_counter() - start, outcomes))
            for index, (record, state) in enumerate(outcomes):
                records[index].append(by_chain(record))
                states[index] = state
            visited = [*(visited if asked > 1 else []), [*states]]
            done = min(first + chunk, draws)
            # What is shown is computed anew when somebody could have seen that it has changed.
            if progress is not None and (now := time.perf_counter()) - shown >= _SHOWN_SECONDS:
                shown, estimate = now, known(records, done).estimate()
            report("sample", done, start, *estimate)
            if target and done >= min(100, draws) and target.met_by(known(records, done)):
                draws = done
                break
    seconds_sampling = time.perf_counter() - start

    found = known(records, draws).estimate()
    record = jax.tree.map(
        lambda *parts: np.concatenate(parts),
        *[jax.tree.map(lambda *p: np.concatenate(p, axis=1)[:, :draws], *r) for r in records],
    )
    num_devices = len({device for state in states for device in devices_of(state)})
    run_probe = probe.ready(clock)
    states = jax.device_put(states, home)
    rounding = float(run_probe(posterior, states))
    made = assemble(
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

    def gathered() -> list[Any]:
        return [joined(each) for each in _some(visited, asked)]

    # A number that other checks refuse needs no scouts, who may explain why no draw is near L*.
    verdict = diagnose(made)
    if not sampler.unadjusted and any(needs_no_jumps(check.name) for check in verdict.failed):
        given = (posterior, joined(gathered()))
        look = compiled(largest_jump, *given, clock=clock, device=home, effort=0, sampler=sampler)
        made.attrs["largest_jump"] = float(look(*given))
        verdict = diagnose(made)
    refused = {check.name for check in verdict.failed} - {"least_draw"}
    if useful and not refused:
        sent = time.perf_counter()
        report("scout", draws, sent, *found)
        scout_program, scouting = scouts or begin_scouts()
        device = places[0]
        visits = gathered()
        if kernel is not sampler:
            given = (posterior, visits[-1])
            turn = compiled(
                scout_states, *given, clock=clock, device=home, effort=0, sampler=sampler
            )
            visits = [turn(posterior, each) for each in visits]
        group = taken(visits[-1], slice(sizes[0]))

        def scout(states: Any, keys: Any) -> tuple[Any, np.ndarray]:
            arguments = jax.device_put((states, keys, np.asarray(0)), device)
            states, seen = scout_program.ready(clock)(*shared[device], *arguments)
            return states, np.array(by_chain(seen["stats"]["loss"]))

        made["scouts"] = schema.scouts(scouting.report(visits, group, scout, _log_evidence(made)))
        made.attrs["seconds_scouts"] = time.perf_counter() - sent
        made.attrs["seconds_total"] = time.perf_counter() - begin
    elif scouts is not None:
        scouts[1].put_off()
    report("done", draws, start, *found)
    return made


def _log_evidence(run: xr.DataTree) -> float:
    """Give what a ladder has found, log Z(β)/Z(0) at its target; -inf without a ladder."""
    stats = run["sample_stats"].to_dataset()
    if "ladder_loss" not in stats:
        return -math.inf
    known = "ladder_log_evidence" in stats
    curve = Curve.of(
        stats["beta"].values,
        stats["ladder_loss"].values,
        stats["ladder_log_evidence"].values if known else None,
    )
    return -float(curve.free_energy[-1])


def _draws(records: list[list[Any]], done: int, *, beta: float, minimum_loss: float) -> Draws:
    """Give the draws so far of all groups."""

    def stat(name: str) -> np.ndarray:
        groups = [np.concatenate([each["stats"][name] for each in group], 1) for group in records]
        return np.concatenate(groups)[:, :done]

    excesses = stat("energy_excess") if "energy_excess" in records[0][0]["stats"] else None
    return Draws(stat("loss"), excesses, beta, minimum_loss)


def _some(items: list[Any], count: int) -> list[Any]:
    """Choose so many, evenly spread, with the last one."""
    chosen = np.unique(np.linspace(len(items) - 1, 0, count).astype(int))
    return [items[number] for number in chosen]


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
