"""Metropolis moves of the hidden weights w, on their density with the readout integrated out."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sltprob.collapsed.density import CollapsedDensity

__all__ = ["Move", "Mover", "Particles"]

type Array = NDArray[np.float64]

TARGET_ACCEPTANCE = 0.3
LARGEST_LOG_FACTOR = 30.0


@dataclass(frozen=True)
class Particles:
    """All populations, one after the other."""

    w: Array  # shape (n, d)
    log_prior: Array  # shape (n,)
    spectra: Array  # shape (n, k): Of `CollapsedDensity.spectra`

    def take(self, index: NDArray[np.int64]) -> Particles:
        """Choose particles."""
        return Particles(self.w[index], self.log_prior[index], self.spectra[index])


@dataclass(frozen=True)
class Move:
    """Name a family of proposals and the number of coordinates that it changes."""

    kind: str  # As in `Mover`
    size: int
    log_step: float = 0.0


class Mover:
    """Move all particles by Metropolis steps of several kinds and sizes, with adapted steps.

    Kinds: ``walk`` adds noise to some coordinates; ``stretch`` multiplies each of them by a factor
    of its own; ``common`` multiplies them by the same factor, which is how a whole network shrinks;
    ``pair`` stretches the sum or the difference of two coordinates, because G is nearly singular,
    and its density large, where two units agree up to sign.

    References
    ----------
    Andrieu, C. and Thoms, J. (2008). A tutorial on adaptive MCMC. Statistics and Computing 18,
    343-373.
    """

    def __init__(self, model: CollapsedDensity, generator: np.random.Generator) -> None:
        self._model, self._generator = model, generator
        self._scales = np.ones(model.dimension)
        # About a factor of five apart, from one coordinate to all.
        levels = max(1, round(math.log(model.dimension) / math.log(5.0)))
        sizes = sorted({round(model.dimension ** (n / levels)) for n in range(levels + 1)})
        kinds = [("walk", size) for size in sizes] + [("stretch", size) for size in sizes]
        kinds += [("common", size) for size in sizes if size > 1]
        kinds += [("pair", 2)] if model.dimension > 1 else []
        self.moves = [Move(kind, size) for kind, size in kinds]

    def rescale(self, w: Array) -> None:
        """Set the unit of length of ``walk`` to the spread of each coordinate."""
        spread = w.std(axis=0)
        self._scales = np.where(spread > 0, spread, 1.0)

    def cycle(self, particles: Particles, beta: float, *, adapt: bool) -> Particles:
        """Make every kind of move once."""
        w, log_prior = particles.w.copy(), particles.log_prior.copy()
        energies = self._model.energies(particles.spectra, beta)
        for number, move in enumerate(self.moves):
            rate = self._step(move, w, log_prior, energies, beta)
            if adapt:
                self.adapt(number, rate)
        return Particles(w, log_prior, self._model.spectra(w))

    def adapt(self, number: int, rate: float) -> None:
        """Adapt the step of one move."""
        move = self.moves[number]
        log_step = move.log_step + 2.0 * (rate - TARGET_ACCEPTANCE)
        self.moves[number] = replace(move, log_step=float(np.clip(log_step, -20.0, 3.0)))

    def _step(self, move: Move, w: Array, log_prior: Array, energies: Array, beta: float) -> float:
        """Make one Metropolis step in place; give the fraction that was accepted."""
        proposal, log_jacobian = self.propose(move, w)
        new_log_prior = self._model.log_prior(proposal)
        prior_ratio = new_log_prior - log_prior + log_jacobian
        log_uniform = -self._generator.standard_exponential(len(w))
        # Accept if the new energy is below this. It is never negative, so nothing need be
        # evaluated for a limit that is: absurd proposals, and those outside of the support.
        limit = prior_ratio + energies - log_uniform
        hopeful = np.flatnonzero(limit > 0)
        new_energies = self._model.energies_at(proposal[hopeful], beta, limit=limit[hopeful])
        accepted = new_energies < limit[hopeful]
        chosen = hopeful[accepted]
        w[chosen] = proposal[chosen]
        log_prior[chosen] = new_log_prior[chosen]
        energies[chosen] = new_energies[accepted]
        return len(chosen) / len(w)

    def propose(self, move: Move, w: Array) -> tuple[Array, Array]:
        """Propose new draws."""
        count, dimension = w.shape
        # Each particle has a step of its own, over an order of magnitude: the density has structure
        # at many scales, and no single step serves all particles.
        steps = np.exp(move.log_step + self._generator.standard_normal((count, 1)))
        rows = np.arange(count)[:, None]
        order = self._generator.random((count, dimension)).argpartition(move.size - 1, axis=1)
        chosen = order[:, : move.size]
        proposal = w.copy()
        log_jacobian = np.zeros(count)
        if move.kind == "walk":
            noise = self._generator.standard_normal(chosen.shape)
            proposal[rows, chosen] += steps * noise * self._scales[chosen]
            return proposal, log_jacobian
        one_each = move.kind == "stretch"
        logs = steps * self._generator.standard_normal((count, move.size if one_each else 1))
        # Refusing absurd factors, in both directions, keeps the move reversible and w finite.
        absurd = np.abs(logs).max(axis=1) > LARGEST_LOG_FACTOR
        logs[absurd] = 0.0
        if move.kind == "pair":
            first = w[rows[:, 0], chosen[:, 0]]
            signs = self._generator.choice([-1.0, 1.0], size=count)
            second = signs * w[rows[:, 0], chosen[:, 1]]
            middle, half = 0.5 * (first + second), 0.5 * (first - second) * np.exp(logs[:, 0])
            proposal[rows[:, 0], chosen[:, 0]] = middle + half
            proposal[rows[:, 0], chosen[:, 1]] = signs * (middle - half)
            log_jacobian = logs[:, 0]
        else:
            proposal[rows, chosen] *= np.exp(logs)
            log_jacobian = logs.sum(axis=1) * (1 if one_each else move.size)
        return proposal, np.where(absurd, -np.inf, log_jacobian)
