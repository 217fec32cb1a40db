"""The prior volume of sublevel sets {L < epsilon}: what hard walls see instead of a temperature.

For ``L = a^T G(w) a`` the readout is turned into the eigenbasis of G(w): ``a = U(w) b``. U is
orthogonal, so b has the prior of a, and the set is ``sum_k mu_k(w) b_k^2 < epsilon``. Given the
others each b_k is a normal restricted to an interval, drawn exactly; w moves with b held, accepted
wherever the sum stays below epsilon. Nothing of this knows of a temperature.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from sltprob.collapsed.density import CollapsedDensity, Problem
from sltprob.collapsed.moves import Mover

__all__ = ["SublevelSet", "sublevel_sets"]

type Array = NDArray[np.float64]

NUM_REPLICATES = 16
#: The part of the particles that survives each wall.
SURVIVORS = 0.3
SWEEPS = 4


@dataclass(frozen=True, kw_only=True)
class SublevelSet:
    """The prior volume V of {L < level}, and how it shrinks."""

    level: float
    log_volume: float  # log V
    log_volume_mcse: float
    exponent: float  # ``d log V / d log level`` over a factor of ten to both sides
    exponent_mcse: float


def sublevel_sets(
    levels: Sequence[float], problem: Problem, *, population: int = 64, seed: int = 0
) -> tuple[SublevelSet, ...]:
    """Estimate prior volumes of sublevel sets by sequential Monte Carlo with hard walls.

    Sixteen populations start from the prior; each wall in turn leaves 30 % of all particles inside,
    the volume shrinks by the part that it leaves of each population, and the survivors multiply and
    move inside of it.

    Notes
    -----
    ``Z(beta) = beta integral exp(-beta e) V(e) de``, so for a volume that is a power of the level
    the exponent is lambda-hat at every beta; where it bends, lambda-hat is its average around
    ``level = lambda / beta``.

    References
    ----------
    Cerou, F., Del Moral, P., Furon, T. and Guyader, A. (2012). Sequential Monte Carlo for rare
    event estimation. Statistics and Computing 22, 795-808.
    Watanabe, S. (2009). Algebraic Geometry and Statistical Learning Theory, Cambridge (the volume
    dimension).
    """
    if not len(levels) or not all(0 < level < math.inf for level in levels):
        raise ValueError(f"levels={list(levels)!r} must be finite and above 0; write [1e-2, 1e-4].")
    if problem.target is not None:
        raise ValueError("the problem has a target, but volumes are for target zero; leave it out.")
    walls = _Walls(problem, population, np.random.default_rng([seed, 4]), min(levels) / 10.0)
    wanted = sorted({level * step for level in levels for step in (0.1, 1.0, 10.0)}, reverse=True)
    volumes = {level: walls.shrink(level) for level in wanted}
    found = []
    for level in levels:
        inner, own, outer = (volumes[level * step] for step in (0.1, 1.0, 10.0))
        found.append(
            SublevelSet(
                level=float(level),
                log_volume=own[0],
                log_volume_mcse=_error(own[1]),
                exponent=(outer[0] - inner[0]) / math.log(100.0),
                exponent_mcse=_error(outer[1] - inner[1]) / math.log(100.0),
            )
        )
    return tuple(found)


def _error(values: Array) -> float:
    """Give the standard error of the mean over populations."""
    return float(values.std(ddof=1)) / math.sqrt(len(values))


class _Walls:
    """Particles (w, b) inside of a wall, and log V of each population."""

    def __init__(
        self, problem: Problem, population: int, generator: np.random.Generator, last: float
    ) -> None:
        self._model, self._generator = CollapsedDensity(problem), generator
        self._mover = Mover(self._model, generator)
        self._w = self._model.draw(generator, NUM_REPLICATES * population)
        # Modes far below the last wall are never felt.
        self._beta = 100.0 / last
        self._model.compress(self._w, self._beta)
        self._log_prior = self._model.log_prior(self._w)
        self._spectra = self._model.spectra(self._w)
        self._b = problem.readout_scale * generator.standard_normal(self._spectra.shape)
        # Of all together, whose logarithm has less bias, and of each, for the error.
        self._log_volume, self._each = 0.0, np.zeros(NUM_REPLICATES)

    def shrink(self, level: float) -> tuple[float, Array]:
        """Move the wall in to a level; give log V of all and of each population."""
        while True:
            losses = (self._spectra * self._b**2).sum(axis=1)
            wall = max(level, float(np.quantile(losses, SURVIVORS)))
            inside = (losses <= wall).reshape(NUM_REPLICATES, -1)
            if not inside.any(axis=1).all():
                # A wall that leaves a population empty: go in smaller steps.
                wall = float(losses.reshape(NUM_REPLICATES, -1).min(axis=1).max())
                inside = (losses <= wall).reshape(NUM_REPLICATES, -1)
            self._log_volume += math.log(inside.mean())
            self._each = self._each + np.log(inside.mean(axis=1))
            self._multiply(inside)
            self._move(wall)
            if wall <= level:
                return self._log_volume, self._each

    def _multiply(self, inside: NDArray[np.bool_]) -> None:
        size = inside.shape[1]
        chosen = []
        for number, row in enumerate(inside):
            survivors = self._generator.permutation(np.flatnonzero(row))
            chosen.append(number * size + np.resize(survivors, size))
        index = np.concatenate(chosen)
        self._w, self._log_prior = self._w[index], self._log_prior[index]
        self._spectra, self._b = self._spectra[index], self._b[index]

    def _move(self, wall: float) -> None:
        self._mover.rescale(self._w)
        if self._model.compress(self._w, self._beta):
            self._spectra = self._model.spectra(self._w)
        self._sweep(wall)
        for number, move in enumerate(self._mover.moves):
            proposal, log_jacobian = self._mover.propose(move, self._w)
            log_prior = self._model.log_prior(proposal)
            ratio = log_prior - self._log_prior + log_jacobian
            hopeful = np.flatnonzero(ratio > -self._generator.standard_exponential(len(proposal)))
            spectra = self._model.spectra(proposal[hopeful])
            inside = (spectra * self._b[hopeful] ** 2).sum(axis=1) < wall
            kept = hopeful[inside]
            self._w[kept], self._log_prior[kept] = proposal[kept], log_prior[kept]
            self._spectra[kept] = spectra[inside]
            self._mover.adapt(number, len(kept) / len(proposal))
            self._sweep(wall)

    def _sweep(self, wall: float) -> None:
        """Draw each b_k given the others, a normal between two walls."""
        sigma = self._model.readout_scale
        for _ in range(SWEEPS):
            parts = self._spectra * self._b**2
            total = parts.sum(axis=1)
            for k in range(parts.shape[1]):
                rest = np.maximum(wall - (total - parts[:, k]), 0.0)
                with np.errstate(divide="ignore"):
                    bound = np.sqrt(rest / self._spectra[:, k]) / sigma
                # P(|b| < bound) as an error function: no digits are lost when it is small.
                mass = special.erf(bound / math.sqrt(2.0))
                uniform = self._generator.uniform(-1.0, 1.0, len(mass))
                self._b[:, k] = sigma * math.sqrt(2.0) * special.erfinv(uniform * mass)
                new = self._spectra[:, k] * self._b[:, k] ** 2
                total += new - parts[:, k]
                parts[:, k] = new
