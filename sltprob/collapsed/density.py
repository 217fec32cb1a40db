"""The density of w with the readout integrated out, evaluated for many draws at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sltprob.collapsed.basis import Basis, find_basis
from sltprob.spec import positive

__all__ = ["CollapsedDensity", "GradedFeatures", "Problem", "ResolutionError"]

type Array = NDArray[np.float64]

# 2 beta sigma^2 (eps s_max)^2 is what rounding of T does to log det(I + 2 beta sigma^2 G).
LARGEST_ROUNDING = 1e-3
# Graded features, which cost more, are used from this on.
VISIBLE_ROUNDING = 1e-6
# Doubles in one batch of feature matrices: a batch should stay in the processor's cache.
BATCH_SIZE = 1 << 16
# Doubles of compressed features that are held at a time.
BLOCK_SIZE = 1 << 22
PILOT_ROWS = 16384
# Room beyond the largest weight that graded features are asked for.
LARGER_SLOPE = 1.2
# Graded features are compared with those for a beta larger by this, on so many draws; by how much
# log det and, relatively, lambda may differ.
FINER = 1e4
COMPARED_DRAWS = 16
LARGEST_DIFFERENCE = 0.05
LARGEST_RELATIVE_DIFFERENCE = 0.002


class ResolutionError(ValueError):
    """Say that beta is larger than double precision resolves."""


class GradedFeatures(Protocol):
    """Features with columns in decreasing order, each to its own full relative precision."""

    @property
    def size(self) -> int:
        """Number of columns."""

    def holds(self, w: Array) -> NDArray[np.bool_]:
        """Say which draws, shape (n, h), these features serve."""

    def features(self, w: Array) -> Array:
        """Evaluate the columns, shape (n, h, columns)."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What defines a collapsed density."""

    # ``draw_prior(generator, n)`` gives n draws of w from its prior, shape (n, ...)
    draw_prior: Callable[[np.random.Generator, int], Array]
    # Maps w, shape (n, ...), to its log prior density, shape (n,), up to a constant; ``-inf``
    # outside of the support
    log_prior: Callable[[Array], Array]
    # Maps w, shape (n, ...), to T, shape (n, h, Q): ``T[i, q] = sqrt(weight_q) phi_i(x_q)``
    features: Callable[[Array], Array]
    readout_scale: float = 1.0  # Prior standard deviation sigma of each readout weight
    # Shape (Q,), optional: ``sqrt(weight_q) y(x_q)`` of a target that is not zero; the loss is then
    # ``|a^T T - target|^2``
    target: Array | None = None
    # ``graded(factor, largest)`` gives the same features as `GradedFeatures` for weights up to
    # `largest` and squares of features multiplied by `factor`, or None where it cannot. With it
    # beta has no upper limit in double precision. Not used with a target.
    graded: Callable[[float, float], GradedFeatures | None] | None = None


@dataclass(frozen=True)
class _Batch:
    """Hold T of some draws in some basis."""

    rows: NDArray[np.int64]
    matrices: Array
    #: Whether the basis holds these draws.
    held: bool = True
    graded: bool = False


class CollapsedDensity:
    """Evaluate the collapsed density at flat parameters, shape (n, d), in batches.

    References
    ----------
    Robert, C. P. and Casella, G. (2004). Monte Carlo Statistical Methods, 2nd ed., Springer
    (Rao-Blackwellisation).
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self.readout_scale = problem.readout_scale
        positive().read("readout_scale", self.readout_scale, 1.0)
        generator = np.random.default_rng(0)
        self.shape = np.shape(problem.draw_prior(generator, 2))[1:]
        self.dimension = math.prod(self.shape)
        first = self._checked_features(self.draw(generator, 2))
        if not first.any():
            raise ValueError(
                "features gave nothing but zeros, so the loss is zero everywhere; write "
                "sqrt(weights) * tanh(w[:, :, None] * nodes)."
            )
        self.width, self.num_nodes = first.shape[1:]
        self._basis: Basis | None = None
        self._graded: GradedFeatures | None = None
        self._rank = min(self.width, self.num_nodes)

    def draw(self, generator: np.random.Generator, count: int) -> Array:
        """Draw from the prior of w."""
        return self.flat(self._problem.draw_prior(generator, count), count, "draw_prior")

    def flat(self, values: Array, count: int, name: str) -> Array:
        """Bring draws of w into the shape (count, d)."""
        w = np.asarray(values, dtype=float)
        if w.shape != (count, *self.shape):
            raise ValueError(
                f"{name}(generator, {count}) gave shape {w.shape}, but it must give "
                f"{(count, *self.shape)}: one draw along each step of the first axis."
            )
        return w.reshape(count, self.dimension)

    def log_prior(self, w: Array) -> Array:
        """Evaluate the log prior density."""
        values = np.asarray(self._problem.log_prior(w.reshape(len(w), *self.shape)), dtype=float)
        if values.shape != (len(w),):
            raise ValueError(
                f"log_prior gave shape {values.shape} for {len(w)} draws, but it must give "
                f"{(len(w),)}; sum over the axes of one draw."
            )
        return values

    def compress(self, w: Array, beta: float) -> bool:
        """Choose a representation of the features that holds such draws up to `beta`."""
        before = self._graded is not None
        self._basis = None
        count = min(len(w), max(2, PILOT_ROWS // self.width))
        chosen = w[np.linspace(0, len(w) - 1, count).astype(int)]
        if self._problem.target is None:
            pilot = self._checked_features(chosen)
            self._graded = self._graded_features(w, pilot, beta)
            # Narrow matrices are small enough as they are; a target need not lie in the basis.
            if (
                self._graded is None
                and self.width >= 8
                and count * self.width >= 4 * self.num_nodes
            ):
                self._basis = find_basis(pilot, self.factor(beta))
        return (self._graded is not None) != before

    def _graded_features(self, w: Array, pilot: Array, beta: float) -> GradedFeatures | None:
        if self._problem.graded is None:
            return None
        largest = float(np.sum(pilot**2, axis=(1, 2)).max())
        visible = self.factor(beta) * np.finfo(float).eps ** 2 * largest > VISIBLE_ROUNDING
        # Once and for all: going back and forth between the two would be to no use.
        if self._graded is None and not visible:
            return None
        return self._problem.graded(
            self.factor(beta) * self.width, LARGER_SLOPE * float(np.abs(w).max())
        )

    def factor(self, beta: float) -> float:
        """Give 2 beta sigma^2, by which the eigenvalues of G are multiplied."""
        return 2.0 * beta * self.readout_scale**2

    def spectra(self, w: Array) -> Array:
        """Compute the eigenvalues of G, exact up to the beta of `compress`."""
        if self._problem.target is not None:
            return self._spectra_with_target(w, self._problem.target)
        rank = self._rank
        if self._graded is not None:
            rank = max(rank, min(self.width, self._graded.size))
        squares = np.zeros((len(w), rank))
        for batch in self._reduced(w):
            matrices = batch.matrices
            if not batch.held:
                matrices = self._checked_features(w[batch.rows])
            # Graded columns, largest first, keep their digits in LAPACK's reduction.
            singular = np.linalg.svd(matrices, compute_uv=False)
            squares[batch.rows, : singular.shape[1]] = singular**2
        return squares

    def _spectra_with_target(self, w: Array, target: Array) -> Array:
        spectra = np.empty((len(w), 2 * self._rank + 1))
        for batch in self._reduced(w):
            _, singular, directions = np.linalg.svd(batch.matrices, full_matrices=False)
            components = directions @ target
            outside = target - (components[:, None] @ directions)[:, 0]
            spectra[batch.rows, : self._rank] = singular**2
            spectra[batch.rows, self._rank : -1] = components**2
            spectra[batch.rows, -1] = np.sum(outside**2, axis=1)
        return spectra

    def _parts(self, spectra: Array) -> tuple[Array, Array, Array]:
        """Give eigenvalues, components of the target and what lies outside."""
        if self._problem.target is None:
            return spectra, spectra[..., :0], np.zeros(spectra.shape[:-1])
        rank = self._rank
        return spectra[..., :rank], spectra[..., rank:-1], spectra[..., -1]

    def energies(self, spectra: Array, beta: float) -> Array:
        """Evaluate minus the log of what integrating a out leaves: -log E_a[exp(-beta L)]."""
        resolved = self.factor(beta) * self._parts(spectra)[0]
        values: Array = 0.5 * np.log1p(resolved).sum(axis=-1)
        if self._problem.target is not None:
            _, components, outside = self._parts(spectra)
            values += beta * ((components / (1.0 + resolved)).sum(axis=-1) + outside)
        return values

    def lambdas(self, spectra: Array, beta: float) -> Array:
        """Evaluate beta E[L | w]: the derivative of `energies` by log beta."""
        resolved = self.factor(beta) * self._parts(spectra)[0]
        values: Array = 0.5 * (resolved / (1.0 + resolved)).sum(axis=-1)
        if self._problem.target is not None:
            _, components, outside = self._parts(spectra)
            values += beta * ((components / (1.0 + resolved) ** 2).sum(axis=-1) + outside)
        return values

    def variances(self, spectra: Array, beta: float) -> Array:
        """Evaluate Var[beta L | w]: of a sum of squares of independent normals."""
        resolved = self.factor(beta) * self._parts(spectra)[0]
        shares = resolved / (1.0 + resolved)
        values: Array = 0.5 * (shares**2).sum(axis=-1)
        if self._problem.target is not None:
            _, components, _ = self._parts(spectra)
            values += 2.0 * beta * (shares * (components / (1.0 + resolved)) ** 2).sum(axis=-1)
        return values

    def energies_at(self, w: Array, beta: float, *, limit: Array) -> Array:
        """Evaluate `energies` of draws."""
        if self._problem.target is not None:
            return self.energies(self.spectra(w), beta)
        scale = math.sqrt(self.factor(beta))
        values = np.empty(len(w))
        for batch in self._reduced(w):
            values[batch.rows] = _half_log_det(batch.matrices, scale, graded=batch.graded)
            if not batch.held:
                # What the basis leaves out can only add to the determinant.
                again = batch.rows[values[batch.rows] <= limit[batch.rows]]
                values[again] = _half_log_det(self._checked_features(w[again]), scale)
        return values

    def _reduced(self, w: Array) -> Iterator[_Batch]:
        """Give T in batches, in the representation that `compress` chose."""
        if self._graded is None:
            yield from self._compressed(np.arange(len(w)), w)
            return
        held = self._graded.holds(w)
        for rows in _slices(np.flatnonzero(held), self.width * self._graded.size, BATCH_SIZE):
            yield _Batch(rows, self._graded.features(w[rows]), graded=True)
        yield from self._compressed(np.flatnonzero(~held), w)

    def _compressed(self, members: NDArray[np.int64], w: Array) -> Iterator[_Batch]:
        per_draw = self.width * (self.num_nodes if self._basis is None else self._basis.size)
        for block in _slices(members, per_draw, BLOCK_SIZE):
            whole = (
                (rows, self._checked_features(w[rows]))
                for rows in _slices(block, self.width * self.num_nodes, BATCH_SIZE)
            )
            if self._basis is None:
                yield from (_Batch(rows, features) for rows, features in whole)
                continue
            coordinates = np.concatenate([part @ self._basis.projection for _, part in whole])
            tiers = self._basis.tiers(coordinates)
            for tier, rank in enumerate([*self._basis.ranks, self._basis.ranks[-1]]):
                for rows in _slices(np.flatnonzero(tiers == tier), self.width * rank, BATCH_SIZE):
                    held = tier < len(self._basis.ranks)
                    yield _Batch(block[rows], coordinates[rows, :, :rank], held)

    def check_resolution(self, beta: float, spectra: Array) -> None:
        """Refuse a beta at which rounding of the features is visible."""
        largest = float(np.max(self._parts(spectra)[0]))
        if self._graded is not None or largest <= 0:
            return
        rounding = self.factor(beta) * np.finfo(float).eps ** 2 * largest
        if not rounding <= LARGEST_ROUNDING:
            limit = beta * LARGEST_ROUNDING / rounding
            raise ResolutionError(
                f"beta={beta!r} is more than double precision resolves here: features of norm "
                f"{math.sqrt(largest):.3g} serve up to beta={limit:.2g}; write a beta below that."
            )

    def check_graded(self, beta: float, w: Array) -> None:
        """Refuse graded features that more columns would change.

        While weights are wide and many, columns are nearly collinear, and the rounding of one
        shows in singular values that another hides.
        """
        if self._graded is None or self._problem.graded is None:
            return
        chosen = w[np.linspace(0, len(w) - 1, min(len(w), COMPARED_DRAWS)).astype(int)]
        largest = LARGER_SLOPE * float(np.abs(w).max())
        finer = self._problem.graded(FINER * self.factor(beta) * self.width, largest)
        difference, relative = math.inf, math.inf
        if finer is not None:
            spectra = self.spectra(chosen)
            squares = np.linalg.svd(finer.features(chosen), compute_uv=False) ** 2
            lambdas = self.lambdas(spectra, beta)
            difference = float(
                np.abs(self.energies(squares, beta) - self.energies(spectra, beta)).max()
            )
            relative = float(np.abs(self.lambdas(squares, beta) / lambdas - 1).max())
        if not (difference <= LARGEST_DIFFERENCE and relative <= LARGEST_RELATIVE_DIFFERENCE):
            raise ResolutionError(
                f"beta={beta!r} is more than double precision resolves here: with more modes log "
                f"det moves by {difference:.2g} (up to {LARGEST_DIFFERENCE} would do) and lambda "
                f"by {100 * relative:.2g} % (up to {100 * LARGEST_RELATIVE_DIFFERENCE:g} %); "
                "write a smaller beta, or one so large that w has left its prior."
            )

    def _checked_features(self, w: Array) -> Array:
        values = np.asarray(self._problem.features(w.reshape(len(w), *self.shape)), dtype=float)
        if values.ndim != 3 or len(values) != len(w):
            raise ValueError(
                f"features gave shape {values.shape} for {len(w)} draws, but it must give "
                f"({len(w)}, units, nodes); write sqrt(weights) * tanh(w[:, :, None] * nodes)."
            )
        if not np.isfinite(values).all():
            raise ValueError(
                "features gave a value that is not finite, but all must be; bound the prior of w "
                "or write an activation that does not overflow."
            )
        return values


def _slices(indices: NDArray[np.int64], per_index: int, size: int) -> Iterator[NDArray[np.int64]]:
    """Cut indices into pieces whose arrays, `per_index` doubles each, have at most `size`."""
    step = max(1, size // per_index)
    for start in range(0, len(indices), step):
        yield indices[start : start + step]


def _half_log_det(matrices: Array, scale: float, *, graded: bool = False) -> Array:
    """Evaluate 1/2 log det(I + scale^2 T T^T) for matrices T, shape (n, h, r)."""
    # QR errs by the rounding of each column's own size: graded columns must stay columns.
    tall = matrices if graded or matrices.shape[1] >= matrices.shape[2] else matrices.mT
    height, size = tall.shape[1:]
    # The R of [scale T; I], large rows first, has R^T R = I + scale^2 T^T T, and it keeps the
    # digits that this product would lose.
    stacked = np.zeros((len(tall), height + size, size))
    stacked[:, :height] = scale * tall
    stacked[:, height:] = np.eye(size)
    triangles = np.linalg.qr(stacked, mode="r")
    values: Array = np.log(np.abs(np.diagonal(triangles, axis1=1, axis2=2))).sum(axis=1)
    return values
