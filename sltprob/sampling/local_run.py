"""A local run: chunks of draws around trained parameters, by minibatches."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from sltprob.local_posterior import LocalPosterior
from sltprob.samplers._stochastic import StochasticGradientSampler
from sltprob.sampling.checkpoint import Checkpoint, from_piece, to_piece
from sltprob.sampling.compilation import Clock, compiled
from sltprob.sampling.devices import cores
from sltprob.sampling.keys import RunKeys
from sltprob.sampling.local_assemble import assemble_local
from sltprob.sampling.local_chunk import (
    Tuned,
    run_local_chunk,
    squares_of_gradient,
    start_chains,
)
from sltprob.sampling.local_feed import Fed, feed
from sltprob.sampling.local_half_step import ESTIMATED, Enough, Record, known, together
from sltprob.sampling.local_warmup import StepRule, bias_of_step, first_step
from sltprob.sampling.progress import Progress, Target
from sltprob.sampling.rows import taken

__all__ = ["LocalOptions", "sample_local"]

# Parameters below which chains share a vectorised call, and above which they do not run side by
# side in threads either.
_VECTORISED, _ALONE = 20_000, 2_000_000
# Parts of the warm-up after which the step is about that of the draws, and after which it is kept.
_COOLED, _TUNED = 0.5, 0.75
# Times that chains begin again with a smaller step before that takes from the warm-up.
_RETRIES = 24
# Minibatches from which the preconditioner is learned.
_MOMENTS = 32


@dataclass(frozen=True)
class LocalOptions:
    """How a local run is made, apart from posterior and sampler."""

    batch_size: int
    steps_per_draw: int
    step_size: float | None
    draws: int
    warmup: int
    chains: int
    seed: int
    init: str
    record: str
    keep: str
    vectorized: bool | None
    half_step: bool | None
    target_rho: float


class LocalRun:
    """The chains of a run, and the one program that moves them."""

    def __init__(
        self,
        posterior: LocalPosterior,
        sampler: StochasticGradientSampler,
        options: LocalOptions,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self.posterior = posterior
        self.shared = posterior.traced()
        self.sampler = sampler
        self.options = options
        self.clock = Clock()
        self.checkpoint = checkpoint
        self.restored = iter(checkpoint.restore() if checkpoint is not None else ())
        self.seconds_restored = 0.0
        self.keys = RunKeys.of(options.seed, options.chains)
        self.generator = np.random.default_rng(options.seed)
        dimension = posterior.dimension
        vectorised = options.vectorized
        if vectorised is None:
            on_cpu = jax.default_backend() == "cpu"
            vectorised = dimension <= (_VECTORISED if on_cpu else 50 * _VECTORISED)
        # In two groups, so that two cores are busy; of large networks a step fills them all.
        parts = min(options.chains, cores()) if vectorised else options.chains
        edges = [options.chains * index // parts for index in range(parts + 1)]
        self.groups = [slice(*edge) for edge in itertools.pairwise(edges)]
        self.threads = 1 if dimension > _ALONE else min(parts, cores())
        self.chunk = max(1, min(25, options.warmup // 10))
        self.index = 0
        self.tuned = Tuned(jnp.zeros((), posterior.nbeta.dtype), None)
        self.states: list[Any] = self.start()
        self.steps = 0

    def start(self) -> list[Any]:
        """Put the chains at the center, or at draws of the localisation."""
        options = self.options
        self.states = []  # frees the old chains first, as a large network fits once
        chains = np.arange(options.chains)
        far = {"optimum": 0 * chains, "prior": 0 * chains + 1, "both": chains % 2}[options.init]
        states = []
        for group in self.groups:
            arguments = (self.shared, self.tuned, taken(self.keys.starts, group), far[group])
            begin = compiled(
                start_chains,
                *arguments,
                clock=self.clock,
                sampler=self.sampler,
                hot=options.init != "optimum",
            )
            states.append(begin(*arguments))
        return states

    def rescale(self, scale: Any) -> None:
        """Begin again in the coordinates of another preconditioner."""
        self.tuned = replace(self.tuned, scale=scale)
        self.states = self.start()

    def feed(self, shape: tuple[int, int]) -> Fed | None:
        """Read the batches of (chains, steps), if the data are a stream."""
        if self.posterior.stream is None:
            return None
        return feed(self.posterior, self.generator, shape, self.options.batch_size, self.clock)

    def advance(self, step: float) -> dict[str, np.ndarray]:
        """Make a chunk of draws of all chains, and give what was recorded."""
        options = self.options
        tuned = replace(self.tuned, langevin_step=jnp.asarray(step, self.posterior.nbeta.dtype))
        first = jnp.asarray(self.index)

        def ready(number: int) -> Any:
            group = self.groups[number]
            given = self.feed((group.stop - group.start, self.chunk * options.steps_per_draw))
            keys = taken(self.keys.draws, group)
            arguments = (self.shared, tuned, self.states[number], keys, first, given)
            run = compiled(
                run_local_chunk,
                *arguments,
                clock=self.clock,
                donated=(2,),
                sampler=self.sampler,
                num_draws=self.chunk,
                steps_per_draw=options.steps_per_draw,
                batch_size=options.batch_size,
                record=options.record,
                keep=options.keep,
            )
            return run, arguments

        def one(number: int) -> Any:
            run, arguments = ready(number)
            self.states[number], record = run(*arguments)
            return jax.tree.map(np.asarray, record)

        begin = time.perf_counter()
        numbers = range(len(self.groups))
        if (piece := next(self.restored, None)) is not None:
            # What a stream gave for this piece is read again, so that what comes next is the same.
            forms = [ready(number)[0].out_info for number in numbers]
            seconds, outcomes = from_piece(piece, forms)
            self.seconds_restored += seconds
            self.states = [state for state, _ in outcomes]
            found = [jax.tree.map(np.asarray, record) for _, record in outcomes]
        elif self.threads == 1 or self.posterior.stream is not None or self.index == 0:
            found = [one(number) for number in numbers]
        else:
            with ThreadPoolExecutor(self.threads) as pool:
                found = list(pool.map(one, numbers))
        if self.checkpoint is not None and piece is None:
            outcomes = list(zip(self.states, found, strict=True))
            self.checkpoint.save(to_piece(time.perf_counter() - begin, outcomes))
        self.index += self.chunk
        self.steps += self.chunk * options.steps_per_draw
        record = jax.tree.map(lambda *parts: np.concatenate(parts), *found)
        stats = {name: np.asarray(value, float) for name, value in record["stats"].items()}
        stats["scaled_loss"] = float(self.posterior.nbeta) * stats["paired"]
        if "friction" in stats:
            parameters = self.sampler.local_parameters(tuned.langevin_step)
            stats["friction_parameter"] = np.full_like(
                stats["paired"], float(parameters["friction"])
            )
        stats |= bias_of_step(stats, step)
        return {**stats, **{f"value:{key}": value for key, value in record["values"].items()}}


def sample_local(
    posterior: LocalPosterior,
    sampler: StochasticGradientSampler,
    options: LocalOptions,
    progress: Callable[[Progress], None] | None,
    specification: str,
    target: Target | None = None,
    checkpoint: Checkpoint | None = None,
) -> xr.DataTree:
    """Find the step, bring the chains on their way, draw, and halve the step where that helps."""
    begin = time.perf_counter()
    run = LocalRun(posterior, sampler, options, checkpoint)
    nbeta = float(posterior.nbeta)
    enough = Enough(options.half_step, target, options.draws)

    def report(stage: str, done: int, since: float, total: int, found: Any = None) -> None:
        if progress is not None:
            value, error = (math.nan, math.nan) if found is None else (found.value, found.mcse)
            elapsed = time.perf_counter() - since
            progress(Progress(stage, done, total, elapsed, value, error, nbeta, specification))

    draws = options.draws
    report("compile", 0, begin, draws)
    noise = float(np.mean(run.advance(0.0)["loss_square"]))
    start = time.perf_counter() - run.seconds_restored
    report("warm-up", 0, start, draws)
    step, warm = _warm_up(run, noise, lambda: report("warm-up", 0, start, draws))
    seconds_warmup = time.perf_counter() - start

    start, before = time.perf_counter(), run.seconds_restored
    parts, done = [], 0
    while done < draws:
        parts.append(run.advance(step))
        done = min(done + run.chunk, draws)
        if progress is None and target is None and done < draws:
            continue
        found = known(_all(parts, done, ESTIMATED))
        report("sample", done, start, draws, found)
        if enough.first(found, done):
            draws = done
    record = _all(parts, draws)
    halved, settled = None, 0
    if enough.halves(found):
        settled, halved = _half_step(run, step, record, enough, report)
        found = known(record, halved)
    seconds_sampling = time.perf_counter() - start + run.seconds_restored - before
    report("done", draws, start, draws, found)
    return assemble_local(
        run,
        record,
        warm,
        halved,
        settled,
        step=step,
        specification=specification,
        cost={
            "seconds_compile": run.clock.seconds,
            "seconds_warmup": seconds_warmup,
            "seconds_sampling": seconds_sampling,
            "seconds_total": time.perf_counter() - begin + run.seconds_restored,
        },
    )


def _half_step(
    run: LocalRun, step: float, record: Record, enough: Enough, report: Any
) -> tuple[int, Record]:
    """Draw at half the step until that is enough; give the draws of settling, and the record."""
    begin = time.perf_counter()
    settled = math.ceil(run.options.warmup / 2 / run.chunk) * run.chunk
    for _ in range(settled // run.chunk):
        run.advance(step / 2)
        report("half step", 0, begin, enough.draws)
    parts: list[Record] = []
    done = 0
    while done < enough.draws:
        parts.append(run.advance(step / 2))
        done = min(done + run.chunk, enough.draws)
        found = known(record, _all(parts, done, ESTIMATED))
        report("half step", done, begin, enough.draws, found)
        if enough.second(found, done, settled):
            break
    return settled, _all(parts, done)


def _all(parts: Sequence[Record], draws: int, names: Collection[str] | None = None) -> Record:
    """Put the chunks of a run together, all that they have or what is named."""
    kept = [name for name in parts[0] if names is None or name in names]
    return {name: together(parts, name, draws) for name in kept}


def _warm_up(
    run: LocalRun, noise: float, report: Callable[[], None]
) -> tuple[float, dict[str, np.ndarray]]:
    """Tune the step, then let the chains run with it; give the step and the trace."""
    options, sampler = run.options, run.sampler
    count = max(2, options.warmup // run.chunk)
    cooled, tuning = math.ceil(_COOLED * count), math.ceil(_TUNED * count)
    if hasattr(sampler, "local_scale"):
        _learn_scale(run)
        noise = float(np.mean(run.advance(0.0)["loss_square"]))
    gamma = float(run.posterior.gamma)
    rule = StepRule(
        first_step(noise, run.posterior.dimension, gamma, options.target_rho),
        options.target_rho,
        run.posterior.dimension,
        noise,
    )
    given = options.step_size is not None
    if options.step_size is not None:
        rule.step = sampler.local_langevin_step(options.step_size)
    trace = []
    index = retries = 0
    while index < count:
        seen = run.advance(rule.step)
        trace.append(seen)
        report()
        index += 1
        if given or index > tuning:
            continue
        raw, bias, square = seen["scaled_loss"], seen["grown"], seen["loss_square"]
        again = rule.look(raw, bias, square, hot=options.init != "optimum")
        if again:
            run.states = run.start()
            retries += 1
            if retries <= _RETRIES:
                index -= 1
                continue
        elif index == cooled // 2 + 1 and hasattr(sampler, "local_scale"):
            # The gradient where the chains are now is not that at the center.
            _learn_scale(run)
        if index == cooled:
            rule.cool()
        elif index == tuning:
            rule.settle()
    return rule.step, {name: together(trace, name) for name in ("paired", "scaled_loss")}


def _learn_scale(run: LocalRun) -> None:
    """Learn the preconditioner from the gradients where the chains are."""
    sampler: Any = run.sampler
    options, posterior = run.options, run.posterior
    total = jax.tree.map(jnp.zeros_like, posterior.center)
    for number, group in enumerate(run.groups):
        size = group.stop - group.start
        given = run.feed((size, _MOMENTS))
        keys = (run.keys.prepare, np.asarray(number))
        arguments = (total, run.shared, run.tuned, run.states[number], *keys, given)
        moments = compiled(
            squares_of_gradient,
            *arguments,
            clock=run.clock,
            donated=(0,),
            batch_size=options.batch_size,
            count=_MOMENTS,
        )
        total = moments(*arguments)
    rescaled = compiled(sampler.local_scale, total, clock=run.clock, donated=(0,))
    run.rescale(rescaled(total))
