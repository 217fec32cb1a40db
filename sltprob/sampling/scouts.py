"""Scouts: points sent out over the whole posterior, to see what the chains of a run have missed.

Chains that all sit in one basin agree about everything that a file can tell. So a run sends out
points that do not follow its chains: some of a population that comes down from draws of the prior
as the temperature falls, and the ends of descents from draws of the prior. Each makes some draws
with the kernel of the run. If the chains have seen the posterior, the scouts see the same losses.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import numpy as np
from scipy.special import logsumexp

from sltprob.posterior import TemperedPosterior
from sltprob.samplers import Sampler
from sltprob.sampling.basins import Basins, descend
from sltprob.sampling.batches import batch_size, fitting, scouting_effort, work
from sltprob.sampling.coming_down import Keys, come_down
from sltprob.sampling.compilation import Clock, Program, begin_compiling
from sltprob.sampling.devices import cores
from sltprob.sampling.keys import SCOUTS, made_keys
from sltprob.sampling.prior_draws import PriorDraws
from sltprob.sampling.rows import in_calls, joined, length, taken

__all__ = ["Scouting", "begin_scouting", "has_use_for_scouts", "places_asked", "scout_states"]

# Points that come down, and descents: as many as take about the time of a short run, which is so
# much divided by dimension times data, between these limits; fewest where a batch must be small.
_WORK, _MOST_POINTS = 50_000, 512
_POINTS, _FEWEST_POINTS = 64, 32
# Half of the descents start from the best of so many draws: a narrow hole is seldom hit by one.
_DRAWS_FOR_A_START = 32
# How many of them make draws.
_FROM_POPULATION, _FROM_DESCENTS = 16, 8
# Basins whose potentials and scaled losses differ by less are one, or copies of each other.
_SAME_POTENTIAL, _SAME_LOSS = 0.5, 0.25
# Logarithm of a weight, beside that of the basin of the run, below which a basin does not matter.
_NO_WEIGHT = -7.0
# Chunks of draws that the scouts farthest from the others have to come back in.
_MORE_CHUNKS = 3
# The loss itself is descended at so many times β, in so many rounds, until one gains less of 1/β.
_COLDER, _ROUNDS, _GAIN = 1e3, 4, 1e-3

# What random numbers are for.
_POPULATION, _DESCENTS, _DRAWS = range(3)

type Draw = Callable[[Any, Any], tuple[Any, np.ndarray]]


@dataclass(frozen=True)
class Scouting:
    """The programs that send scouts out."""

    posterior: TemperedPosterior
    plain: TemperedPosterior  # the same in the coordinates of the program
    seed: int
    clock: Clock
    prior: PriorDraws
    population: Program | None  # none where there is no prior, or a ladder has come down from it
    descents: Program
    locate: Program
    place: Program

    def put_off(self) -> None:
        """Do not compile what has not begun to be."""
        programs = (self.population, self.descents, self.locate, self.place, self.prior.program)
        for program in filter(None, programs):
            program.put_off()

    def report(
        self, seen: list[Any], chains: Any, draw: Draw, log_evidence: float
    ) -> dict[str, np.ndarray]:
        """Send the scouts out, and say what losses they saw.

        `seen` are states of all chains from time to time, and `chains` the last ones of some, as
        many as make draws together: `draw` makes a chunk of draws from given states with given
        keys, and gives the states at its end and the losses. `log_evidence` is what a ladder has
        found, and -inf where the run has come down none.
        """
        if self.population is None:
            positions, log_weights, least = self._basins(seen, log_evidence)
        else:
            points = _points(self.plain)
            shapes = enumerate(Keys.shapes(points), 1)
            keys = Keys(*(self._keys(_POPULATION, number, *shape) for number, shape in shapes))
            start = self.prior.make(self._keys(_POPULATION, 0, points))
            found = self.population.ready(self.clock)(self.plain, start, keys)
            log_evidence = float(found.log_evidence)
            positions, log_weights, least = self._basins(seen, log_evidence)
            # Siblings are neighbours: the scouts are spread over the families.
            chosen = np.arange(_FROM_POPULATION) * len(found.loss) // _FROM_POPULATION
            positions = joined([taken(found.position, chosen), positions])
            log_weights = np.append(np.full(_FROM_POPULATION, math.nan), log_weights)
        came = int(np.isnan(log_weights).sum())
        losses = self._draw(positions, came, chains, draw)
        return {"loss": losses, "log_weight": log_weights, **least}

    def _keys(self, purpose: int, number: int, *shape: int) -> Any:
        return made_keys(self.seed, SCOUTS, purpose, number, shape=shape)

    def _draw(self, positions: Any, came: int, chains: Any, draw: Draw) -> np.ndarray:
        """Let chains that stand where the scouts are make a chunk of draws.

        Of those that came down, which are the first, the farthest make more: one that has come down
        into a tail comes back, and one that is in another basin does not.
        """
        place = self.place.ready(self.clock)
        size, count = length(chains), length(positions)
        if not count:
            return np.empty((0, 0))

        def advance(first: int) -> tuple[Any, np.ndarray]:
            rows = np.arange(first, first + size) % count
            start = place(self.posterior, self.plain, chains, taken(positions, rows))
            return draw(start, self._keys(_DRAWS, first, size))

        with ThreadPoolExecutor(min(2, cores())) as pool:
            ends, losses = zip(*pool.map(advance, range(0, count, size)), strict=True)
        seen = np.concatenate(losses)[:count]
        if not came:
            return seen
        means = seen[:came].mean(axis=1)
        farthest = np.resize(np.argsort(-np.abs(means - np.median(means)))[:size], size)
        states = taken(joined(ends), farthest)
        for number in range(_MORE_CHUNKS):
            states, seen[farthest] = draw(states, self._keys(_DRAWS, count + number, size))
        return seen

    def _basins(
        self, seen: list[Any], log_evidence: float
    ) -> tuple[Any, np.ndarray, dict[str, np.ndarray]]:
        """Give the bottoms of basins that the chains were not in, with log weights beside theirs.

        These weigh no less than the whole that the population has seen: where most of a posterior
        is far from any bottom, as in a funnel, Laplace's approximation knows little of it.
        The last value is the least loss at any bottom, the weight of that basin, from how many
        places the chains were asked for the basin that they were in, and the least loss that is
        reached when the loss itself is descended.
        """
        descents, locate = self.descents.ready(self.clock), self.locate.ready(self.clock)
        positions = joined([locate(self.posterior, states) for states in seen])
        count = length(positions)

        def bottoms(starts: Any) -> Basins:
            return in_calls(partial(descents, self.plain), starts, self.prior.size)

        half = _points(self.plain) // 2
        draws = [
            self.prior.make(self._keys(_DESCENTS, number, half), best_of).position
            for number, best_of in enumerate((1, _DRAWS_FOR_A_START))
        ]
        basins, chains = bottoms(joined(draws)), bottoms(positions)
        beta = float(self.plain.beta)
        known = _different(chains, beta, [], -math.inf, count)
        weight = float(logsumexp(np.nan_to_num(chains.log_weight[known], nan=-np.inf)))
        weight = np.fmax(weight, log_evidence)
        levels = list(zip(chains.potential, chains.loss, chains.doubt, strict=True))
        chosen = _different(basins, beta, levels, weight + _NO_WEIGHT, _FROM_DESCENTS)
        lowest = int(np.argmin(np.nan_to_num(basins.loss, nan=np.inf)))
        least = {
            "least_loss": basins.loss[lowest],
            "least_log_weight": basins.log_weight[lowest] - weight,
            "places": np.asarray(count),
            "attained_loss": np.asarray(self._attained(joined([basins, chains]))),
        }
        return taken(basins.position, chosen), basins.log_weight[chosen] - weight, least

    def _attained(self, ends: Basins) -> float:
        """Give the least loss that descents of the loss reach from the lowest of these ends.

        At many times β the prior hardly counts. Where L* is not known, nothing asks for it.
        """
        if math.isnan(float(self.plain.minimum_loss)):
            return math.nan
        descents = self.descents.ready(self.clock)
        colder = replace(self.plain, beta=_COLDER * np.asarray(self.plain.beta))
        rows = np.resize(np.argsort(np.nan_to_num(ends.loss, nan=np.inf)), self.prior.size)
        positions = taken(ends.position, rows)
        least, gain = float(ends.loss[rows[0]]), math.inf
        enough = _GAIN / float(self.plain.beta)
        for _ in range(_ROUNDS):
            if least - float(self.plain.minimum_loss) < enough or gain < enough:
                break
            found = descents(colder, positions)
            lowest = float(np.min(np.nan_to_num(found.loss, nan=np.inf)))
            least, gain, positions = min(least, lowest), least - lowest, found.position
        return least


def places_asked(posterior: TemperedPosterior, chains: int) -> int:
    """Say how often chains are asked in which basin they are: as often as one batch can tell."""
    return max(batch_size(_plain(posterior)) // chains, 1)


def has_use_for_scouts(posterior: TemperedPosterior) -> bool:
    """Say whether there is something to scout: a localised posterior is asked about one basin."""
    return not float(posterior.localization) > 0


def scout_states(posterior: TemperedPosterior, states: Any, *, sampler: Sampler) -> Any:
    """Turn states of chains into those of the kernel that scouts draw with."""
    return sampler.scout_states(posterior, states)


def begin_scouting(
    posterior: TemperedPosterior,
    sampler: Sampler,
    seed: int,
    states: Any,
    chains: Any,
    clock: Clock,
    device: Any,
    *,
    population: bool,
) -> Scouting:
    """Begin to compile what sends scouts out.

    `states` are those of all chains, and `chains` those of some that make draws together, or what
    is known of them before they are. A run that has come down a ladder from the prior needs no
    `population` beside it.
    """
    plain, form = _plain(posterior), jax.ShapeDtypeStruct
    prior = PriorDraws.begin(plain, clock, device)
    key_type = jax.eval_shape(jax.random.key, 0).dtype
    effort = scouting_effort(plain)

    def compiling(function: Callable[..., Any], *arguments: Any, **static: Any) -> Program:
        return begin_compiling(
            function, *arguments, clock=clock, device=device, effort=effort, **static
        )

    def many(count: int) -> Any:
        return {
            name: form((count, *shape), jax.dtypes.canonicalize_dtype(float))
            for name, shape in plain.structure.shapes
        }

    return Scouting(
        posterior=posterior,
        plain=plain,
        seed=seed,
        clock=clock,
        prior=prior,
        population=compiling(
            come_down,
            plain,
            prior.forms(_points(plain)),
            Keys(*(form(shape, key_type) for shape in Keys.shapes(_points(plain)))),
        )
        if population and not plain.structure.improper
        else None,
        descents=compiling(descend, plain, many(prior.size)),
        locate=compiling(_locate, posterior, states, sampler=sampler),
        place=compiling(_place, posterior, plain, chains, many(length(chains)), sampler=sampler),
    )


def _plain(posterior: TemperedPosterior) -> TemperedPosterior:
    """Give the posterior in the coordinates of the program, which do not depend on β."""
    structure = posterior.structure
    if structure.readout is None:
        return posterior
    shapes = zip(structure.sites, structure.shapes, strict=True)
    named = tuple((site, shape) for site, (_, shape) in shapes)
    return replace(posterior, structure=replace(structure, readout=None, shapes=named))


def _locate(posterior: TemperedPosterior, states: Any, *, sampler: Sampler) -> Any:
    """Say where chains are, in the coordinates of the program."""
    plain = _plain(posterior)

    def one(state: Any) -> Any:
        position = sampler.evaluate(posterior, state).position
        if posterior.structure.readout is None:
            return position
        return plain.unconstrain(posterior.constrain(position))

    return jax.lax.map(one, states)


def _place(
    posterior: TemperedPosterior,
    plain: TemperedPosterior,
    chains: Any,
    positions: Any,
    *,
    sampler: Sampler,
) -> Any:
    """Move chains to positions."""

    def one(state: Any, position: Any) -> Any:
        if posterior.structure.readout is not None:
            position = posterior.unconstrain(plain.constrain(position))
        return sampler.placed(posterior, state, position)

    return jax.lax.map(lambda pair: one(*pair), (chains, positions))


def _different(
    basins: Basins, beta: float, known: list[Any], least: float, most: int
) -> np.ndarray:
    """Choose basins that differ from each other and from the known ones, the heaviest first.

    A basin is known by its potential and its loss, so that copies of one are one; what weighs less
    than `least` is left out.
    """
    chosen: list[int] = []
    known = list(known)
    for index in np.argsort(-np.nan_to_num(basins.log_weight, nan=-np.inf)):
        potential, loss, doubt = (
            float(each[index]) for each in (basins.potential, basins.loss, basins.doubt)
        )
        if not basins.log_weight[index] > least or len(chosen) == most:
            break
        same = (
            abs(potential - other) < _SAME_POTENTIAL + doubt + unsure
            and beta * abs(loss - level) < _SAME_LOSS + doubt + unsure
            for other, level, unsure in known
        )
        if not any(same):
            known.append((potential, loss, doubt))
            chosen.append(int(index))
    return np.asarray(chosen, dtype=int)


def _points(posterior: TemperedPosterior) -> int:
    few = min(max(fitting(posterior), _FEWEST_POINTS), _POINTS)
    # A power of two, so that no descent of a batch is made in vain.
    many = 2 ** int(math.log2(max(_WORK // work(posterior), 1)))
    return max(few, min(many, _MOST_POINTS))
