"""Tempered sequential Monte Carlo over the hidden weights w: where they leave their prior."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sltprob.collapsed.common import PrecisionError, check_tolerance, log_mean_exp
from sltprob.collapsed.density import CollapsedDensity, Problem
from sltprob.collapsed.moves import Mover, Particles
from sltprob.exact import Exact, check_beta, check_ladder

__all__ = ["Stage", "started_sampling", "tempered_sampling"]

type Array = NDArray[np.float64]

NUM_REPLICATES = 16
RUNG_ESS_FRACTION = 0.8
LARGEST_RUNG = 100.0
LADDER_CYCLES = 3
SMALLEST_CYCLES = 8
LARGEST_DRIFT = 5.0
#: How often chains from a start of their own are moved and adapt their steps before they count.
ADAPTING_RUNGS = 30


@dataclass(frozen=True, kw_only=True, eq=False)
class Stage:
    """What sequential Monte Carlo found at one inverse temperature."""

    answer: Exact
    # Root mean square of all weights w, with its standard error
    spread: float
    spread_mcse: float
    # Var[beta L], which is lambda-hat less its derivative by log beta, and the part of it that
    # comes from w: Var of E[beta L | w]. With their standard errors
    heat_capacity: float
    heat_capacity_mcse: float
    heat_capacity_of_w: float
    heat_capacity_of_w_mcse: float
    # Root mean square of w of every draw, shape (cycles, particles): populations side by side
    spreads: Array


def tempered_sampling(
    betas: Sequence[float],
    problem: Problem,
    *,
    tolerance: float = 0.01,
    seed: int = 0,
    progress: Callable[[Stage], None] | None = None,
) -> tuple[Stage, ...]:
    """Compute lambda-hat and the free energy by tempered sequential Monte Carlo over w.

    Sixteen independent populations go from the prior to each beta in turn, over rungs chosen by
    their effective sample size, with Metropolis moves of w at each rung, and go on moving there
    until the standard error, taken from the scatter of the sixteen, is small enough.

    Notes
    -----
    The populations share the ladder of betas and the adapted step sizes, nothing else. Each gives
    an unbiased estimate of Z; lambda-hat is their average weighted by these, with the standard
    error of a ratio. What no internal check can see is a region that all sixteen miss on the way
    down; `started_sampling` comes from elsewhere.

    References
    ----------
    Del Moral, P., Doucet, A. and Jasra, A. (2006). Sequential Monte Carlo samplers. JRSS B 68,
    411-436.
    Whiteley, N., Lee, A. and Heine, K. (2016). On the role of interaction in sequential Monte Carlo
    algorithms. Bernoulli 22, 494-529 (weighted independent populations).
    """
    check_ladder(betas)
    check_tolerance(tolerance)
    model = CollapsedDensity(problem)
    descent = _Descent(model, max(betas), np.random.default_rng([seed, 2]))
    stages = []
    for beta in betas:
        descent.go(beta)
        stages.append(descent.stay(tolerance))
        if progress is not None:
            progress(stages[-1])
    return tuple(stages)


def started_sampling(
    beta: float,
    problem: Problem,
    start: Callable[[np.random.Generator, int], Array],
    *,
    tolerance: float = 0.01,
    seed: int = 0,
    population: int | None = None,
    settling: int = ADAPTING_RUNGS,
) -> Stage:
    """Compute lambda-hat by Markov chains of w at beta that start where they are told to.

    The same populations and moves as in `tempered_sampling`, without the way down: whether both
    agree says whether the moves find their way between the two starts. Each of the sixteen
    populations has `population` chains, which move 3 `settling` times before they count.

    References
    ----------
    Gelman, A. and Rubin, D. B. (1992). Inference from iterative simulation using multiple
    sequences. Statistical Science 7, 457-472 (starts that are far apart).
    """
    check_beta(beta)
    check_tolerance(tolerance)
    generator = np.random.default_rng([seed, 3])
    descent = _Descent(CollapsedDensity(problem), beta, generator, start, population)
    for _ in range(settling):
        descent.settle()
    return descent.stay(tolerance)


class _Descent:
    """Populations on their way down the ladder.

    With a start of their own they are at the last beta at once, and know no partition function.
    """

    def __init__(
        self,
        model: CollapsedDensity,
        last: float,
        generator: np.random.Generator,
        start: Callable[[np.random.Generator, int], Array] | None = None,
        population: int | None = None,
    ) -> None:
        self._model, self._generator, self._last = model, generator, last
        self._mover = Mover(model, generator)
        count = NUM_REPLICATES * (population or _population_size(model.width))
        if start is None:
            w = model.draw(generator, count)
        else:
            w = model.flat(start(generator, count), count, "start")
        model.compress(w, last)
        log_prior = model.log_prior(w)
        if not np.isfinite(log_prior).all():
            raise ValueError("start gave draws outside of the prior's support, but all must be in.")
        self._particles = Particles(w, log_prior, model.spectra(w))
        self._log_partitions = np.full(NUM_REPLICATES, 0.0 if start is None else math.nan)
        self._reached, self._num_rungs = (0.0, 0) if start is None else (last, 0)

    def go(self, beta: float) -> None:
        """Go down to beta, rung by rung."""
        model = self._model
        while self._reached < beta:
            spectra = self._particles.spectra
            following = _next_beta(model, spectra, self._reached, beta)
            self._reweight(_log_increments(model, spectra, self._reached, following))
            self._reached = following
            self._num_rungs += 1
            self.settle()

    def _reweight(self, log_weights: Array) -> None:
        self._log_partitions += [log_mean_exp(row) for row in log_weights]
        self._particles = self._particles.take(_resample(log_weights, self._generator))

    def settle(self) -> None:
        """Move the particles at the rung that is reached, and adapt the moves."""
        model, old = self._model, self._particles
        self._mover.rescale(old.w)
        if model.compress(old.w, min(self._last, LARGEST_RUNG * self._reached)):
            # Graded features are not quite those of the rule: one more, small, reweighting.
            before = model.energies(old.spectra, self._reached)
            self._particles = Particles(old.w, old.log_prior, model.spectra(old.w))
            after = model.energies(self._particles.spectra, self._reached)
            self._reweight((before - after).reshape(NUM_REPLICATES, -1))
        for _ in range(LADDER_CYCLES):
            self._particles = self._mover.cycle(self._particles, self._reached, adapt=True)

    def stay(self, tolerance: float) -> Stage:
        """Go on at the beta that is reached until lambda-hat is known well enough."""
        model, beta = self._model, self._reached
        model.check_resolution(beta, self._particles.spectra)
        model.check_graded(beta, self._particles.w)
        shares = self._shares()
        history: list[Array] = []
        budget = _budget(model, len(self._particles.w))
        num_cycles = SMALLEST_CYCLES
        while True:
            while len(history) < num_cycles:
                self._particles = self._mover.cycle(self._particles, beta, adapt=False)
                history.append(self._observe(beta))
            # Of each draw, shape (cycle, replicate, particle).
            kept = np.array(history[len(history) // 4 :])
            lambdas, variances, squares = np.moveaxis(kept, 1, 0)
            lambda_hat, mcse = _weighted_mean(lambdas.mean(axis=(0, 2)), shares)
            drift = _drift(lambdas.mean(axis=2))
            done = mcse <= tolerance / 3.0 * lambda_hat and abs(drift) <= LARGEST_DRIFT
            if done or 2 * num_cycles > budget:
                break
            num_cycles *= 2
        _check_precision(beta, mcse / lambda_hat, tolerance, drift, shares)
        mean_square, error = _weighted_mean(squares.mean(axis=(0, 2)), shares)
        deviations = ((lambdas - lambda_hat) ** 2).mean(axis=(0, 2))
        heat = _weighted_mean(variances.mean(axis=(0, 2)) + deviations, shares)
        of_w = _weighted_mean(deviations, shares)
        root = math.sqrt(mean_square)
        return Stage(
            answer=Exact(
                beta=float(beta),
                lambda_hat=lambda_hat,
                mcse=mcse,
                free_energy=-log_mean_exp(self._log_partitions),
                free_energy_mcse=self._free_energy_error(shares),
                method=self._method(len(history)),
            ),
            spread=root,
            spread_mcse=0.5 * error / root if root > 0 else 0.0,
            heat_capacity=heat[0],
            heat_capacity_mcse=heat[1],
            heat_capacity_of_w=of_w[0],
            heat_capacity_of_w_mcse=of_w[1],
            spreads=np.sqrt(squares.reshape(len(squares), -1)),
        )

    def _observe(self, beta: float) -> Array:
        """Give E and Var of beta L given w, and the mean square of w, of every particle."""
        spectra, model = self._particles.spectra, self._model
        found = (
            model.lambdas(spectra, beta),
            model.variances(spectra, beta),
            np.mean(self._particles.w**2, axis=1),
        )
        return np.array(found).reshape(3, NUM_REPLICATES, -1)

    def _shares(self) -> Array:
        """Give the weights of the populations."""
        if np.isnan(self._log_partitions).all():
            return np.full(NUM_REPLICATES, 1.0 / NUM_REPLICATES)
        shares = np.exp(self._log_partitions - np.max(self._log_partitions))
        shares /= shares.sum()
        return shares

    def _free_energy_error(self, shares: Array) -> float:
        if np.isnan(self._log_partitions).all():
            return math.nan
        spread = max(0.0, float(shares @ shares) - 1.0 / NUM_REPLICATES)
        return math.sqrt(_CORRECTION * spread)

    def _method(self, num_cycles: int) -> str:
        size = len(self._particles.w) // NUM_REPLICATES
        way = f"{self._num_rungs} rungs" if self._num_rungs else "from a given start"
        return (
            f"tempered sequential Monte Carlo, {NUM_REPLICATES} populations of {size}, "
            f"{way}, {num_cycles} cycles at beta"
        )


# The variance of a ratio estimate from few populations.
_CORRECTION = NUM_REPLICATES / (NUM_REPLICATES - 1.0)


def _weighted_mean(means: Array, shares: Array) -> tuple[float, float]:
    """Average over populations; give the standard error too."""
    mean = float(shares @ means)
    return mean, math.sqrt(_CORRECTION * float(np.sum((shares * (means - mean)) ** 2)))


def _population_size(width: int) -> int:
    return int(np.clip(2048 // width, 64, 256))


def _budget(model: CollapsedDensity, num_particles: int) -> int:
    """Give the largest number of cycles at the target: about a minute of work."""
    small = min(model.width, model.num_nodes)
    # A tanh or so for each unit and node, then a factorisation; a dozen moves in a cycle.
    operations = 10 * model.width * model.num_nodes + model.width * small**2
    return max(64, int(1e11 / (12 * num_particles * operations)))


def _log_increments(
    model: CollapsedDensity, spectra: Array, reached: float, following: float
) -> Array:
    """Give the log weights of going from one beta to another, shape (replicates, particles)."""
    old, new = model.energies(spectra, reached), model.energies(spectra, following)
    return (old - new).reshape(NUM_REPLICATES, -1)


def _next_beta(model: CollapsedDensity, spectra: Array, reached: float, beta: float) -> float:
    """Choose the next rung: the populations keep four fifths of their effective size on average."""

    def ess_fraction(following: float) -> float:
        log_weights = _log_increments(model, spectra, reached, following)
        weights = np.exp(log_weights - log_weights.max(axis=1, keepdims=True))
        ess = weights.sum(axis=1) ** 2 / (weights**2).sum(axis=1)
        return float(np.mean(ess)) / weights.shape[1]

    # The spectra hold no further than this, see _descend.
    beta = min(beta, LARGEST_RUNG * reached) if reached > 0 else beta
    if ess_fraction(beta) >= RUNG_ESS_FRACTION:
        return beta
    largest = float(spectra.sum(axis=1).max())
    low = math.log(max(reached, 1e-3 / max(model.factor(1.0) * largest, largest)))
    high = math.log(beta)
    for _ in range(30):
        middle = 0.5 * (low + high)
        if ess_fraction(math.exp(middle)) >= RUNG_ESS_FRACTION:
            low = middle
        else:
            high = middle
    # Never stand still, whatever rounding does.
    return min(beta, max(math.exp(low), 1.001 * reached))


def _resample(log_weights: Array, generator: np.random.Generator) -> NDArray[np.int64]:
    """Resample each population by itself, systematically; give indices into all particles."""
    num_replicates, size = log_weights.shape
    weights = np.exp(log_weights - log_weights.max(axis=1, keepdims=True))
    cumulative = np.cumsum(weights, axis=1)
    positions = (np.arange(size) + generator.random((num_replicates, 1))) / size
    chosen = [
        np.minimum(np.searchsorted(total / total[-1], place), size - 1) + size * number
        for number, (total, place) in enumerate(zip(cumulative, positions, strict=True))
    ]
    return np.concatenate(chosen)


def _drift(history: Array) -> float:
    """Compare the two halves of a history (cycle, replicate): z of the difference."""
    half = len(history) // 2
    differences = history[half:].mean(axis=0) - history[:half].mean(axis=0)
    spread = float(differences.std(ddof=1)) / math.sqrt(len(differences))
    return float(differences.mean()) / spread if spread > 0 else 0.0


def _check_precision(
    beta: float, relative: float, tolerance: float, drift: float, shares: Array
) -> None:
    effective = 1.0 / float(shares @ shares)
    advice = "write a smaller beta, a larger tolerance, or take another method as the truth."
    if not effective >= 0.25 * len(shares):
        raise PrecisionError(
            f"At beta={beta:g} the {len(shares)} populations disagree about the free energy "
            f"({effective:.1f} of them carry the weight; {0.25 * len(shares):.0f} would do); "
            + advice
        )
    if not abs(drift) <= LARGEST_DRIFT:
        raise PrecisionError(
            f"At beta={beta:g} lambda-hat still drifts (z={drift:.1f} between halves of the run; "
            f"up to {LARGEST_DRIFT:g} would do); " + advice
        )
    if not relative <= 5.0 * tolerance:
        raise PrecisionError(
            f"At beta={beta:g} the relative standard error is {relative:.2g} when the "
            f"budget is spent ({5.0 * tolerance:g} would do); " + advice
        )
