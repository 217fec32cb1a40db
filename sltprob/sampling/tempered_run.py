"""The chains of a run of a tempered posterior, on all devices, and the programs that move them."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import SingleDeviceSharding

from sltprob.posterior import TemperedPosterior
from sltprob.samplers import Sampler
from sltprob.sampling.checkpoint import Checkpoint, from_piece, to_piece
from sltprob.sampling.compilation import Clock, Program, begin_compiling
from sltprob.sampling.devices import chain_groups, cores, devices_of, drawing_devices
from sltprob.sampling.keys import RunKeys
from sltprob.sampling.prior_draws import PriorDraws
from sltprob.sampling.progress import Draws
from sltprob.sampling.rounding import probe_groups
from sltprob.sampling.rows import by_chain, joined, taken
from sltprob.sampling.scouts import places_asked
from sltprob.sampling.starts import initial_positions
from sltprob.sampling.transitions import Warmed, run_chunk, run_warmup

__all__ = ["RunOptions", "TemperedRun"]

# Dimension times data below which it takes longer to optimise a warm-up than that saves.
_TINY = 100
# Scouts make one chunk of draws each: a fortieth of a long run.
_CHUNK_DRAWS, _SHORTEST_CHUNK, _CHUNKS = 50, 5, 40


@dataclass(frozen=True)
class RunOptions:
    """How a run is made, apart from posterior and sampler."""

    draws: int
    warmup: int
    chains: int
    seed: int
    init: Any
    keep: str


class TemperedRun:
    """The chains of a run, and the programs that move them: warm up, draw, then look back.

    All programs begin to be compiled at once. A checkpoint gives back what was done before.
    """

    def __init__(
        self,
        posterior: TemperedPosterior,
        sampler: Sampler,
        options: RunOptions,
        checkpoint: Checkpoint | None,
    ) -> None:
        self.options, self.checkpoint = options, checkpoint
        self.clock = Clock()
        keys = RunKeys.of(options.seed, options.chains)
        # Warm-up belongs to all chains together, and so to one device; draws are spread over all.
        self.devices = drawing_devices()
        self.home = self.devices[0]
        at_home = jax.device_put(posterior, self.home)
        positions, self.started = initial_positions(
            posterior,
            options.init,
            keys.starts,
            lambda keys: PriorDraws.begin(at_home, self.clock, self.home).make(keys),
        )
        given = jax.device_put((posterior, positions, keys.warmup), self.home)
        self.posterior, self._before_warmup = given[0], given
        start = time.perf_counter()
        self.sampler, self._pilot_gradients = sampler.prepared(keys.prepare, self.posterior)
        self.seconds_warmup = time.perf_counter() - start
        self.groups = chain_groups(options.chains, len(self.devices))
        # Groups take turns on the devices. Which device draws a group changes nothing of its draws.
        self.places = [self.devices[index % len(self.devices)] for index in range(len(self.groups))]
        wanted = min(max(-(-options.draws // _CHUNKS), _SHORTEST_CHUNK), _CHUNK_DRAWS)
        self.chunk = -(-options.draws // -(-options.draws // wanted))
        self._restored = iter(checkpoint.restore() if checkpoint is not None else ())
        self._warmed_before = next(self._restored, None)
        self._warm, self.form = self._begin_warmup()
        # What draws is compiled beside the warm-up. The groups can differ by one chain in size, so
        # there are at most two compilations a device.
        self.sizes = [group.stop - group.start for group in self.groups]
        self.state_forms = [_rows(self.form.states, size) for size in self.sizes]
        self._chain_keys = keys.draws
        self.programs = [
            self.drawing(self.sampler, n, options.keep) for n in range(len(self.sizes))
        ]
        self._probe = begin_compiling(
            probe_groups,
            self.posterior,
            [_placed(form, self.home) for form in self.state_forms],
            clock=self.clock,
            device=self.home,
            effort=0,
            sampler=self.sampler,
        )
        self._records: list[list[Any]] = [[] for _ in self.groups]
        # States from time to time, of models so small that scouts ask for more than the last ones.
        self._visited: list[list[Any]] = []
        self._asked = places_asked(self.posterior, options.chains)
        self._known = (float(self.posterior.beta), float(self.posterior.minimum_loss))

    def _begin_warmup(self) -> tuple[Program | None, Warmed]:
        """Begin to compile the warm-up, unless it is behind, and say what it will leave."""
        options: dict[str, Any] = {"sampler": self.sampler, "num_steps": self.options.warmup}
        if self._warmed_before is not None:
            with self.clock.running():
                form = jax.eval_shape(partial(run_warmup, **options), *self._before_warmup)
            return None, form
        tiny = self.posterior.dimension * len(self.posterior.weights) <= _TINY
        program = begin_compiling(
            run_warmup,
            *self._before_warmup,
            clock=self.clock,
            device=self.home,
            effort=0 if tiny else 1,
            **options,
        )
        return program, program.out_info

    def drawing(self, kernel: Sampler, number: int, keep: str, states: Any = None) -> Program:
        """Begin to compile what makes a chunk of draws of a group of chains."""
        device = self.places[number]
        states = self.state_forms[number] if states is None else states
        keys = jax.ShapeDtypeStruct((self.sizes[number],), self._chain_keys.dtype)
        forms = (self.form.parameters, self.form.typical, states, keys)
        return begin_compiling(
            run_chunk,
            jax.device_put(self.posterior, device),
            *_placed(forms, device),
            jax.device_put(np.asarray(0), device),
            clock=self.clock,
            device=device,
            effort=1,
            sampler=kernel,
            num_draws=self.chunk,
            keep=keep,
        )

    def warm_up(self, report: Callable[[float], None]) -> None:
        """Tune, and bring the chains near stationarity."""
        if self._warmed_before is not None:
            seconds, warmed = from_piece(self._warmed_before, self.form)
        else:
            assert self._warm is not None
            warm = self._warm.ready(self.clock)
            start = time.perf_counter()
            report(start)
            warmed = jax.block_until_ready(warm(*self._before_warmup))
            seconds = time.perf_counter() - start
            if self.checkpoint is not None:
                self.checkpoint.save(to_piece(seconds, warmed))
        self.seconds_warmup += seconds
        gradients = np.asarray(warmed.num_gradients) + self._pilot_gradients / self.options.chains
        self.warmed = replace(warmed, num_gradients=gradients)
        self.shared = {
            device: jax.device_put((self.posterior, warmed.parameters, warmed.typical), device)
            for device in self.devices
        }
        self._states, self._keys = (
            [
                jax.device_put(taken(tree, group), place)
                for group, place in zip(self.groups, self.places, strict=True)
            ]
            for tree in (warmed.states, self._chain_keys)
        )
        self._compiled = [program.ready(self.clock) for program in self.programs]

    def draw(self, report: Callable[[int, float], bool]) -> int:
        """Draw in chunks until `report`, which is told after each, says that it is enough.

        It is told how many draws there are, and when the drawing began. Gives how many there are.
        """
        draws = self.options.draws
        start = time.perf_counter()
        threads = min(len(self.groups), max(cores(), len(self.devices)))
        with ThreadPoolExecutor(threads) as pool:
            for first in range(0, draws, self.chunk):
                if (piece := next(self._restored, None)) is not None:
                    seconds, outcomes = self._restore(piece)
                    start = time.perf_counter() - seconds
                else:
                    # Threads, since a compiled call releases the interpreter lock.
                    advance = partial(self._advance, first)
                    outcomes = list(pool.map(advance, range(len(self.groups))))
                    if self.checkpoint is not None:
                        self.checkpoint.save(to_piece(time.perf_counter() - start, outcomes))
                for index, (record, state) in enumerate(outcomes):
                    self._records[index].append(by_chain(record))
                    self._states[index] = state
                earlier = self._visited if self._asked > 1 else []
                self._visited = [*earlier, [*self._states]]
                done = min(first + self.chunk, draws)
                if report(done, start):
                    break
        self.seconds_sampling = time.perf_counter() - start
        return done

    def _advance(self, first: int, number: int) -> Any:
        given = (self._states[number], self._keys[number], np.asarray(first))
        state, record = self._compiled[number](*self.shared[self.places[number]], *given)
        return jax.tree.map(np.asarray, record), state

    def _restore(self, piece: list[np.ndarray]) -> tuple[float, list[Any]]:
        seconds, outcomes = from_piece(piece, [each.out_info[::-1] for each in self._compiled])
        return seconds, [
            (made, jax.device_put(at, place))
            for (made, at), place in zip(outcomes, self.places, strict=True)
        ]

    def draws(self, done: int) -> Draws:
        """Give the losses of so many draws of all chains."""

        def stat(name: str) -> np.ndarray:
            groups = [
                np.concatenate([each["stats"][name] for each in group], 1)
                for group in self._records
            ]
            return np.concatenate(groups)[:, :done]

        averaged = "energy_excess" in self._records[0][0]["stats"]
        return Draws(stat("loss"), stat("energy_excess") if averaged else None, *self._known)

    def record(self, done: int) -> Any:
        """Give what is recorded of so many draws of all chains, leading axes chain and draw."""
        return jax.tree.map(
            lambda *parts: np.concatenate(parts),
            *[
                jax.tree.map(lambda *part: np.concatenate(part, axis=1)[:, :done], *each)
                for each in self._records
            ],
        )

    def num_devices(self) -> int:
        """Count the devices that have drawn."""
        return len({device for state in self._states for device in devices_of(state)})

    def rounding(self) -> float:
        """Measure the rounding error of the loss where the chains are."""
        probe = self._probe.ready(self.clock)
        return float(probe(self.posterior, jax.device_put(self._states, self.home)))

    def visits(self) -> list[Any]:
        """Give the states of all chains from time to time, the last ones last."""
        count = len(self._visited)
        chosen = np.unique(np.linspace(count - 1, 0, self._asked).astype(int))
        return [joined(jax.device_put(self._visited[number], self.home)) for number in chosen]


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
