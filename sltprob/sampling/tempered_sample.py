"""What `sltprob.sample` does with a tempered posterior: a run, its checks, and its scouts."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
import xarray as xr

from sltprob import draws as schema
from sltprob import samplers
from sltprob.diagnostics import diagnose
from sltprob.diagnostics.checks import LEAST_ESS
from sltprob.diagnostics.identity_checks import needs_no_jumps
from sltprob.free_energy_curve import Curve
from sltprob.posterior import TemperedPosterior
from sltprob.samplers import Sampler
from sltprob.sampling.assemble import assemble
from sltprob.sampling.checkpoint import Checkpoint
from sltprob.sampling.compilation import Program, compiled
from sltprob.sampling.devices import cores
from sltprob.sampling.jumps import largest_jump
from sltprob.sampling.progress import Progress, Target
from sltprob.sampling.rows import by_chain, joined, taken
from sltprob.sampling.scouts import Scouting, begin_scouting, has_use_for_scouts, scout_states
from sltprob.sampling.tempered_run import RunOptions, TemperedRun

__all__ = ["sample_tempered"]

# Fewer cores are busy with the run itself, whose seconds are to be those of its draws.
_MANY_CORES = 4
_SHOWN_SECONDS = 0.1
# A target is not met by fewer draws.
_FEWEST_DRAWS = 100


def sample_tempered(
    posterior: TemperedPosterior,
    sampler: Sampler,
    options: RunOptions,
    *,
    target: Target | None,
    progress: Callable[[Progress], None] | None,
    checkpoint: Checkpoint | None,
) -> xr.DataTree:
    """Draw from a tempered posterior; what is given has been checked."""
    begin = time.perf_counter()
    name, beta = samplers.specification(sampler), float(posterior.beta)
    unknown = (math.nan, math.nan)

    def report(stage: str, done: int, since: float, known: tuple[float, float] = unknown) -> None:
        if progress is not None:
            elapsed = time.perf_counter() - since
            progress(Progress(stage, done, options.draws, elapsed, *known, beta, name))

    report("compile", 0, begin)
    run = TemperedRun(posterior, sampler, options, checkpoint)
    # At once where there are cores for it, beside those that draw, and draws enough to be trusted.
    useful = has_use_for_scouts(posterior)
    enough = options.draws * options.chains >= LEAST_ESS
    scouts = _begin_scouts(run) if useful and enough and cores() >= _MANY_CORES else None
    run.warm_up(lambda since: report("warm-up", 0, since))

    shown, estimate, since = -math.inf, unknown, math.nan

    def is_enough(done: int, start: float) -> bool:
        nonlocal shown, estimate, since
        since = start
        # What is shown is computed anew when somebody could have seen that it has changed.
        if progress is not None and (now := time.perf_counter()) - shown >= _SHOWN_SECONDS:
            shown, estimate = now, run.draws(done).estimate()
        report("sample", done, start, estimate)
        if target is None or done < min(_FEWEST_DRAWS, options.draws):
            return False
        return target.met_by(run.draws(done))

    done = run.draw(is_enough)
    found = run.draws(done).estimate()
    made = assemble(
        run.posterior,
        run.sampler,
        run.record(done),
        run.warmed,
        rounding=run.rounding(),
        warmup=options.warmup,
        seed=options.seed,
        init=run.started,
        keep=options.keep,
        cost={
            "devices": run.num_devices(),
            "seconds_compile": run.clock.seconds,
            "seconds_warmup": run.seconds_warmup,
            "seconds_sampling": run.seconds_sampling,
            "seconds_total": time.perf_counter() - begin,
        },
    )
    # A number that other checks refuse needs no scouts, who may explain why no draw is near L*.
    verdict = diagnose(made)
    if not sampler.unadjusted and any(needs_no_jumps(check.name) for check in verdict.failed):
        made.attrs["largest_jump"] = _largest_jump(run)
        verdict = diagnose(made)
    refused = {check.name for check in verdict.failed} - {"least_draw"}
    if useful and not refused:
        sent = time.perf_counter()
        report("scout", done, sent, found)
        made["scouts"] = _send_scouts(run, *(scouts or _begin_scouts(run)), made)
        made.attrs["seconds_scouts"] = time.perf_counter() - sent
        made.attrs["seconds_total"] = time.perf_counter() - begin
    elif scouts is not None:
        scouts[1].put_off()
    report("done", done, since, found)
    return made


def _largest_jump(run: TemperedRun) -> float:
    """Look for jumps of the density on lines through the draws."""
    given = (run.posterior, joined(run.visits()))
    options = {"clock": run.clock, "device": run.home, "effort": 0, "sampler": run.sampler}
    return float(compiled(largest_jump, *given, **options)(*given))


def _begin_scouts(run: TemperedRun) -> tuple[Program, Scouting]:
    """Begin to compile what the scouts draw with, and what sends them out."""
    kernel = run.sampler.scout()
    own = kernel is run.sampler
    make = partial(scout_states, run.posterior, sampler=run.sampler)
    of_group, of_all = (jax.eval_shape(make, s) for s in (run.state_forms[0], run.form.states))
    draw = run.programs[0] if own else run.drawing(kernel, 0, "loss", of_group)
    sent = begin_scouting(
        run.posterior,
        kernel,
        run.options.seed,
        of_all,
        of_group,
        run.clock,
        run.home,
        population=own,
    )
    return draw, sent


def _send_scouts(
    run: TemperedRun, program: Program, scouting: Scouting, made: xr.DataTree
) -> xr.DataTree:
    """Send scouts out, and say what they saw."""
    visits = run.visits()
    if run.sampler.scout() is not run.sampler:
        given = (run.posterior, visits[-1])
        options = {"clock": run.clock, "device": run.home, "effort": 0, "sampler": run.sampler}
        turn = compiled(scout_states, *given, **options)
        visits = [turn(run.posterior, each) for each in visits]
    device = run.places[0]

    def draw(states: Any, keys: Any) -> tuple[Any, np.ndarray]:
        arguments = jax.device_put((states, keys, np.asarray(0)), device)
        states, seen = program.ready(run.clock)(*run.shared[device], *arguments)
        return states, np.array(by_chain(seen["stats"]["loss"]))

    group = taken(visits[-1], slice(run.sizes[0]))
    return schema.scouts(scouting.report(visits, group, draw, _log_evidence(made)))


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
