"""The exact answer of a model with a linear Gaussian readout, by integrating the readout out.

If the loss is ``L = a^T G(w) a`` with a prior ``a ~ N(0, sigma^2 I)``, the readout a integrates out
in closed form. With ``mu_k`` the eigenvalues of G(w) and ``z_k = 2 beta sigma^2 mu_k``, what is
left is a density of w alone::

    p(w | beta)  proportional to  p(w) det(I + 2 beta sigma^2 G(w))^(-1/2)
    lambda_hat = E_{w | beta}[ 1/2 sum_k z_k / (1 + z_k) ]
    F          = -log E_{w ~ prior}[ det(I + 2 beta sigma^2 G(w))^(-1/2) ]

Every flat direction of a, which is what makes sampling all of (a, w) hard, is gone. Two methods
evaluate it: importance sampling from the prior of w while its weights are good (wide networks), and
tempered sequential Monte Carlo on the density of w when they are not (narrow networks at a large
beta, where w itself concentrates).

The caller gives the feature matrix T with ``T T^T = G``. The eigenvalues of G are taken as squared
singular values of T, never from G: that resolves eigenvalues down to ``eps^2`` of the largest one
instead of ``eps``, and so serves up to beta of about 1e26 instead of 1e13.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sltprob.exact import Exact

__all__ = ["PrecisionError", "exact", "importance_sampling", "tempered_sampling"]

type Array = NDArray[np.float64]
type DrawPrior = Callable[[np.random.Generator, int], Array]
type LogPrior = Callable[[Array], Array]
type Features = Callable[[Array], Array]

# 2 beta sigma^2 (eps s_max)^2 is what rounding of T does to log det(I + 2 beta sigma^2 G).
LARGEST_ROUNDING = 1e-3
# What leaving out features outside of the compressed basis may do to log det, per draw.
LARGEST_RESIDUAL = 1e-4
# Doubles in one batch of feature matrices: a batch should stay in the processor's cache.
BATCH_SIZE = 1 << 16
# Doubles of compressed features that are held at a time.
BLOCK_SIZE = 1 << 22
PILOT_ROWS = 16384
NUM_PROBES = 8

# Importance sampling is trusted if most draws count and the tail of the weights is light: exponent
# below a half (finite variance) and below the ESS fraction. Wider limits were tried: with 8192
# draws at h = 32, w ~ U(-1, 1), beta = 1e10 (ESS fraction 0.4, exponent 0.45) lambda-hat is on
# average two standard errors too high, because the rare draws with large weights are missing.
PILOT_DRAWS = 4096
SMALLEST_DRAWS = 2048
SMALLEST_ESS_FRACTION = 0.3
LARGEST_TAIL = 0.5
LARGEST_WORK = 6_000_000

NUM_REPLICATES = 16
RUNG_ESS_FRACTION = 0.8
LARGEST_RUNG = 100.0
LADDER_CYCLES = 3
SMALLEST_CYCLES = 8
TARGET_ACCEPTANCE = 0.3
LARGEST_DRIFT = 5.0
LARGEST_LOG_FACTOR = 30.0


class PrecisionError(RuntimeError):
    """Say that the exact answer could not be computed to the tolerance that was asked for."""


def exact(
    beta: float,
    *,
    draw_prior: DrawPrior,
    log_prior: LogPrior,
    features: Features,
    readout_scale: float,
    target: Array | None = None,
    tolerance: float = 0.01,
    seed: int = 0,
) -> Exact:
    """Compute lambda-hat and the free energy, by whichever method is good enough at this beta.

    Importance sampling is used if a pilot run says that it reaches the tolerance with enough
    effective draws, tempered sequential Monte Carlo otherwise.

    Parameters
    ----------
    beta : float, dimensionless
        Inverse temperature, the factor of the mean loss ``L = a^T G(w) a``.
    draw_prior : callable
        ``draw_prior(generator, n)`` gives n draws of w from its prior, shape (n, ...).
    log_prior : callable
        Maps w, shape (n, ...), to its log prior density, shape (n,), up to a constant; ``-inf``
        outside of the support.
    features : callable
        Maps w, shape (n, ...), to T, shape (n, h, Q): ``T[i, q] = sqrt(weight_q) phi_i(x_q)``.
    readout_scale : float, dimensionless
        Prior standard deviation sigma of each readout weight.
    target : array, shape (Q,), optional
        ``sqrt(weight_q) y(x_q)`` of a target that is not zero; the loss is then
        ``|a^T T - target|^2``.
    tolerance : float, dimensionless
        Relative error wanted on lambda-hat: its standard error is brought below a third of it.
    seed : int
        Seed of the random numbers.

    Returns
    -------
    Exact
        Values with their standard errors, and the method that was used.

    Raises
    ------
    ValueError
        If an argument is out of range, if `features` gives something else than (n, h, Q) finite
        numbers, or if beta is larger than double precision resolves.
    PrecisionError
        If the standard error is still above five times `tolerance` when the budget is spent, or if
        the replicates disagree.

    Notes
    -----
    If the budget is spent with a relative standard error between ``tolerance / 3`` and
    ``5 tolerance``, the value is returned with that larger `mcse`: look at it.

    References
    ----------
    Robert, C. P. and Casella, G. (2004). Monte Carlo Statistical Methods, 2nd ed., Springer
    (importance sampling, Rao-Blackwellisation).
    Del Moral, P., Doucet, A. and Jasra, A. (2006). Sequential Monte Carlo samplers. JRSS B 68,
    411-436.
    """
    _check_beta(beta)
    _check_tolerance(tolerance)
    model = _Collapsed(draw_prior, log_prior, features, readout_scale, target)
    num_draws = _enough_draws(model, beta, tolerance, seed)
    if num_draws is not None:
        (draws,) = _importance(model, [beta], num_draws, seed)
        if draws.answer.mcse <= tolerance / 3.0 * draws.answer.lambda_hat:
            return draws.answer
    return _tempered(model, beta, tolerance, seed)


def importance_sampling(
    betas: Sequence[float],
    *,
    draw_prior: DrawPrior,
    features: Features,
    readout_scale: float,
    target: Array | None = None,
    num_draws: int = 4096,
    seed: int = 0,
) -> tuple[Exact, ...]:
    """Compute lambda-hat and the free energy at several betas from the same draws of the prior.

    The values at different betas share their draws, so their errors are correlated: a curve is
    smoother than its standard errors suggest.

    Parameters
    ----------
    betas : sequence of float, dimensionless
        Inverse temperatures.
    draw_prior, features, readout_scale, target, seed
        As in `exact`.
    num_draws : int
        Number of draws of w.

    Returns
    -------
    tuple of Exact
        One for each beta; `method` has the effective sample size of the weights.

    Raises
    ------
    ValueError
        As in `exact`, or if `num_draws` is below 2.

    Notes
    -----
    The estimate is self-normalised, its standard errors are those of the delta method. Both are
    worthless when the effective sample size is small (below some hundreds): the draws have then
    missed the region that matters, and the standard error has missed it too. Nothing is checked
    here; `exact` does.

    References
    ----------
    Owen, A. B. (2013). Monte Carlo theory, methods and examples, chapter 9.
    """
    if len(betas) == 0:
        raise ValueError(f"betas={betas!r}, but it needs at least one; write betas=[1e4].")
    for beta in betas:
        _check_beta(beta)
    if num_draws < 2:
        raise ValueError(
            f"num_draws={num_draws!r}, but it must be 2 or more; write num_draws=4096."
        )
    model = _Collapsed(draw_prior, _no_log_prior, features, readout_scale, target)
    return tuple(draws.answer for draws in _importance(model, betas, num_draws, seed))


def tempered_sampling(
    beta: float,
    *,
    draw_prior: DrawPrior,
    log_prior: LogPrior,
    features: Features,
    readout_scale: float,
    target: Array | None = None,
    tolerance: float = 0.01,
    seed: int = 0,
) -> Exact:
    """Compute lambda-hat and the free energy by tempered sequential Monte Carlo over w.

    Sixteen independent populations go from the prior to beta over rungs chosen by their effective
    sample size, with Metropolis moves of w at each rung, and go on moving at beta until the
    standard error, taken from the scatter of the sixteen, is small enough.

    Parameters
    ----------
    beta, draw_prior, log_prior, features, readout_scale, target, tolerance, seed
        As in `exact`.

    Returns
    -------
    Exact
        Values with their standard errors.

    Raises
    ------
    ValueError
        As in `exact`.
    PrecisionError
        As in `exact`.

    Notes
    -----
    The populations share the ladder of betas and the adapted step sizes, nothing else. Each gives
    an unbiased estimate of Z; lambda-hat is their average weighted by these, with the standard
    error of a ratio. What no internal check can see is a region that all sixteen miss on the way
    down.

    References
    ----------
    Del Moral, P., Doucet, A. and Jasra, A. (2006). Sequential Monte Carlo samplers. JRSS B 68,
    411-436.
    Whiteley, N., Lee, A. and Heine, K. (2016). On the role of interaction in sequential Monte Carlo
    algorithms. Bernoulli 22, 494-529 (weighted independent populations).
    """
    _check_beta(beta)
    _check_tolerance(tolerance)
    model = _Collapsed(draw_prior, log_prior, features, readout_scale, target)
    return _tempered(model, beta, tolerance, seed)


# --- The collapsed density ------------------------------------------------------------------------


class _Collapsed:
    """Evaluate the collapsed density at flat parameters, shape (n, d), in batches."""

    def __init__(
        self,
        draw_prior: DrawPrior,
        log_prior: LogPrior,
        features: Features,
        readout_scale: float,
        target: Array | None = None,
    ) -> None:
        if not (math.isfinite(readout_scale) and readout_scale > 0):
            raise ValueError(
                f"readout_scale={readout_scale!r}, but it must be a finite number above 0; "
                "write readout_scale=1.0."
            )
        self._draw_prior, self._log_prior, self._features = draw_prior, log_prior, features
        self.readout_scale, self._target = readout_scale, target
        generator = np.random.default_rng(0)
        self.shape = np.shape(draw_prior(generator, 2))[1:]
        self.dimension = math.prod(self.shape)
        first = self._checked_features(self.draw(generator, 2))
        if not first.any():
            raise ValueError(
                "features gave nothing but zeros, so the loss is zero everywhere; write "
                "sqrt(weights) * tanh(w[:, :, None] * nodes)."
            )
        self.width, self.num_nodes = first.shape[1:]
        self._basis: _Basis | None = None
        self._rank = min(self.width, self.num_nodes)

    def draw(self, generator: np.random.Generator, count: int) -> Array:
        """Draw from the prior of w, shape (count, d)."""
        w = np.asarray(self._draw_prior(generator, count), dtype=float)
        if w.shape != (count, *self.shape):
            raise ValueError(
                f"draw_prior(generator, {count}) gave shape {w.shape}, but it must give "
                f"{(count, *self.shape)}: one draw along each step of the first axis."
            )
        return w.reshape(count, self.dimension)

    def log_prior(self, w: Array) -> Array:
        """Evaluate the log prior density, shape (n,)."""
        values = np.asarray(self._log_prior(w.reshape(len(w), *self.shape)), dtype=float)
        if values.shape != (len(w),):
            raise ValueError(
                f"log_prior gave shape {values.shape} for {len(w)} draws, but it must give "
                f"{(len(w),)}; sum over the axes of one draw."
            )
        return values

    def compress(self, w: Array, beta: float) -> None:
        """Choose a basis of the node axis that holds the features of such draws up to `beta`."""
        self._basis = None
        count = min(len(w), max(2, PILOT_ROWS // self.width))
        # Narrow matrices are small enough as they are; a target need not lie in the basis.
        if self._target is None and self.width >= 8 and count * self.width >= 4 * self.num_nodes:
            chosen = np.linspace(0, len(w) - 1, count).astype(int)
            self._basis = _find_basis(self._checked_features(w[chosen]), self.factor(beta))

    def factor(self, beta: float) -> float:
        """Give 2 beta sigma^2, by which the eigenvalues of G are multiplied."""
        return 2.0 * beta * self.readout_scale**2

    def spectra(self, w: Array) -> Array:
        """Give the eigenvalues of G, shape (n, k), exact up to the beta of `compress`.

        With a target, shape (n, 2 k + 1): then come the squares of its components along the
        directions of the features, and the square of what lies outside of them.
        """
        if self._target is not None:
            return self._spectra_with_target(w, self._target)
        squares = np.zeros((len(w), self._rank))
        for rows, matrices, held in self._reduced(w):
            whole = matrices if held else self._checked_features(w[rows])
            singular = np.linalg.svd(whole, compute_uv=False)
            squares[rows, : singular.shape[1]] = singular**2
        return squares

    def _spectra_with_target(self, w: Array, target: Array) -> Array:
        spectra = np.empty((len(w), 2 * self._rank + 1))
        for rows, matrices, _ in self._reduced(w):
            _, singular, directions = np.linalg.svd(matrices, full_matrices=False)
            components = directions @ target
            outside = target - (components[:, None] @ directions)[:, 0]
            spectra[rows, : self._rank] = singular**2
            spectra[rows, self._rank : -1] = components**2
            spectra[rows, -1] = np.sum(outside**2, axis=1)
        return spectra

    def energies(self, spectra: Array, beta: float) -> Array:
        """Evaluate minus the log of what integrating a out leaves: -log E_a[exp(-beta L)].

        That is 1/2 log det(I + 2 beta sigma^2 G), and with a target
        ``beta target^T (I + 2 beta sigma^2 T^T T)^-1 target`` more.
        """
        factor = self.factor(beta)
        squares = spectra[..., : self._rank]
        values = _half_log_det_of(squares, factor)
        if self._target is not None:
            components, outside = spectra[..., self._rank : -1], spectra[..., -1]
            values += beta * ((components / (1.0 + factor * squares)).sum(axis=-1) + outside)
        return values

    def lambdas(self, spectra: Array, beta: float) -> Array:
        """Evaluate beta E[L | w]: the derivative of `energies` by log beta."""
        factor = self.factor(beta)
        squares = spectra[..., : self._rank]
        values = _lambda_of(squares, factor)
        if self._target is not None:
            components, outside = spectra[..., self._rank : -1], spectra[..., -1]
            left = (components / (1.0 + factor * squares) ** 2).sum(axis=-1) + outside
            values += beta * left
        return values

    def energies_at(self, w: Array, beta: float, *, limit: Array) -> Array:
        """Evaluate `energies` of draws w, shape (n,).

        Values above `limit`, shape (n,), need not be right: they may stand for any larger one.
        """
        if self._target is not None:
            return self.energies(self.spectra(w), beta)
        scale = math.sqrt(self.factor(beta))
        values = np.empty(len(w))
        for rows, matrices, held in self._reduced(w):
            values[rows] = _half_log_det(matrices, scale)
            if not held:
                # What the basis leaves out can only add to the determinant.
                again = rows[values[rows] <= limit[rows]]
                values[again] = _half_log_det(self._checked_features(w[again]), scale)
        return values

    def _reduced(self, w: Array) -> Iterator[tuple[NDArray[np.int64], Array, bool]]:
        """Give T in batches, in the compressed basis, and whether that holds it."""
        per_draw = self.width * (self.num_nodes if self._basis is None else self._basis.size)
        for block in _slices(np.arange(len(w)), per_draw, BLOCK_SIZE):
            whole = (
                (rows, self._checked_features(w[rows]))
                for rows in _slices(block, self.width * self.num_nodes, BATCH_SIZE)
            )
            if self._basis is None:
                yield from ((rows, features, True) for rows, features in whole)
                continue
            coordinates = np.concatenate([part @ self._basis.projection for _, part in whole])
            tiers = self._basis.tiers(coordinates)
            for tier, rank in enumerate([*self._basis.ranks, self._basis.ranks[-1]]):
                members = np.flatnonzero(tiers == tier)
                for rows in _slices(members, self.width * rank, BATCH_SIZE):
                    held = tier < len(self._basis.ranks)
                    yield block[rows], coordinates[rows, :, :rank], held

    def check_resolution(self, beta: float, squares: Array) -> None:
        """Raise if rounding of the features is visible at this beta."""
        epsilon = np.finfo(float).eps
        largest = float(np.max(squares[..., : self._rank]))
        if largest <= 0:
            return
        rounding = 2.0 * beta * (self.readout_scale * epsilon) ** 2 * largest
        if not rounding <= LARGEST_ROUNDING:
            limit = beta * LARGEST_ROUNDING / rounding
            raise ValueError(
                f"beta={beta!r} is more than double precision resolves here: features of norm "
                f"{math.sqrt(largest):.3g} serve up to beta={limit:.2g}; write a beta below that."
            )

    def _checked_features(self, w: Array) -> Array:
        values = np.asarray(self._features(w.reshape(len(w), *self.shape)), dtype=float)
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


@dataclass(frozen=True, eq=False)
class _Basis:
    """Hold an orthonormal basis of the node axis, in order of importance, to be cut at some ranks.

    The features of many units span far fewer directions than there are nodes, so everything after
    the features themselves becomes cheaper. With R the part of T that is left out, ``0 <= log det -
    log det_kept <= 2 beta sigma^2 |R|^2``; ``|R|^2`` is measured for every draw, its part outside
    of the largest rank by a few random directions (columns at the end of `projection`), which
    estimate it to within a small factor.
    """

    projection: Array
    ranks: tuple[int, ...]
    factor: float

    @property
    def size(self) -> int:
        return int(self.projection.shape[1])

    def tiers(self, coordinates: Array) -> NDArray[np.int64]:
        """Give the first rank that holds each draw, as an index; one too many if none does."""
        energies = np.sum(coordinates**2, axis=1)
        left_out = np.stack([energies[:, rank:].sum(axis=1) for rank in self.ranks])
        return np.sum(~(self.factor * left_out <= LARGEST_RESIDUAL), axis=0)


def _find_basis(pilot: Array, factor: float) -> _Basis | None:
    """Find the basis of features of shape (n, h, Q); None if it would save too little."""
    num_nodes = pilot.shape[2]
    held_out = np.arange(len(pilot)) % 4 == 0
    rows = pilot[~held_out].reshape(-1, num_nodes)
    directions = np.linalg.svd(np.linalg.qr(rows, mode="r"))[2]
    # Per held-out draw, the square of what is left out if the first r directions are kept.
    energies = np.sum((pilot[held_out] @ directions.T) ** 2, axis=1)
    left_out = np.cumsum(energies[:, ::-1], axis=1)[:, ::-1]
    # Not the maximum: rare draws beyond the others go to the next tier.
    small = factor * np.quantile(left_out, 0.9, axis=0) <= 0.1 * LARGEST_RESIDUAL
    rank = int(np.argmax(small)) if small.any() else num_nodes
    if rank > 0.7 * num_nodes:
        return None
    ranks = (rank, min(2 * rank + 8, num_nodes - 1))
    kept = directions[: ranks[-1]].T
    probes = np.random.default_rng(1).standard_normal((num_nodes, NUM_PROBES))
    probes -= kept @ (kept.T @ probes)
    return _Basis(np.concatenate([kept, probes / math.sqrt(NUM_PROBES)], axis=1), ranks, factor)


def _slices(indices: NDArray[np.int64], per_index: int, size: int) -> Iterator[NDArray[np.int64]]:
    """Cut indices into pieces whose arrays, `per_index` doubles each, have at most `size`."""
    step = max(1, size // per_index)
    for start in range(0, len(indices), step):
        yield indices[start : start + step]


def _no_log_prior(w: Array) -> Array:
    return np.zeros(len(w))


def _check_beta(beta: float) -> None:
    if not (math.isfinite(beta) and beta > 0):
        raise ValueError(f"beta={beta!r}, but it must be a finite number above 0; write beta=1e4.")


def _check_tolerance(tolerance: float) -> None:
    if not 1e-4 <= tolerance <= 0.5:
        raise ValueError(
            f"tolerance={tolerance!r}, but it must be from 0.0001 to 0.5; write tolerance=0.01."
        )


def _half_log_det(matrices: Array, scale: float) -> Array:
    """Evaluate 1/2 log det(I + scale^2 T T^T) for matrices T, shape (n, h, r)."""
    tall = matrices if matrices.shape[1] >= matrices.shape[2] else matrices.mT
    height, size = tall.shape[1:]
    # The R of [scale T; I], large rows first, has R^T R = I + scale^2 T^T T, and it keeps the
    # digits that this product would lose.
    stacked = np.zeros((len(tall), height + size, size))
    stacked[:, :height] = scale * tall
    stacked[:, height:] = np.eye(size)
    triangles = np.linalg.qr(stacked, mode="r")
    values: Array = np.log(np.abs(np.diagonal(triangles, axis1=1, axis2=2))).sum(axis=1)
    return values


def _half_log_det_of(squares: Array, factor: float) -> Array:
    values: Array = 0.5 * np.log1p(factor * squares).sum(axis=-1)
    return values


def _lambda_of(squares: Array, factor: float) -> Array:
    resolved = factor * squares
    values: Array = 0.5 * (resolved / (1.0 + resolved)).sum(axis=-1)
    return values


def _log_mean_exp(values: Array) -> float:
    top = float(np.max(values))
    return top + math.log(float(np.mean(np.exp(values - top))))


# --- Importance sampling --------------------------------------------------------------------------


@dataclass(frozen=True)
class _Importance:
    """Hold the answer at one beta; effective sample size and tail exponent of the weights."""

    answer: Exact
    ess: float
    tail: float


def _importance(
    model: _Collapsed, betas: Sequence[float], num_draws: int, seed: int
) -> list[_Importance]:
    """Give the answer at each beta, from the same draws."""
    largest = max(betas)
    w = model.draw(np.random.default_rng([seed, 1]), num_draws)
    model.compress(w, largest)
    squares = model.spectra(w)
    results = []
    for beta in betas:
        model.check_resolution(beta, squares)
        log_weights = -model.energies(squares, beta)
        shares = np.exp(log_weights - np.max(log_weights))
        tail = _tail_exponent(shares)
        shares /= shares.sum()
        lambdas = model.lambdas(squares, beta)
        lambda_hat = float(shares @ lambdas)
        ess = 1.0 / float(shares @ shares)
        answer = Exact(
            beta=float(beta),
            lambda_hat=lambda_hat,
            mcse=float(np.sqrt(np.sum((shares * (lambdas - lambda_hat)) ** 2))),
            free_energy=-_log_mean_exp(log_weights),
            free_energy_mcse=math.sqrt(max(0.0, 1.0 / ess - 1.0 / num_draws)),
            method=f"importance sampling, {num_draws} draws, ess {ess:.0f}",
        )
        results.append(_Importance(answer, ess, tail))
    return results


def _enough_draws(model: _Collapsed, beta: float, tolerance: float, seed: int) -> int | None:
    """Predict from a pilot how many draws importance sampling needs; None if it will not do."""
    # Other draws than those of the answer: judging draws by themselves would throw away just the
    # runs that have seen the tail of the weights.
    (pilot,) = _importance(model, [beta], PILOT_DRAWS, seed + 1_000_003)
    fraction = pilot.ess / PILOT_DRAWS
    if not (fraction >= SMALLEST_ESS_FRACTION and pilot.tail < min(LARGEST_TAIL, fraction)):
        return None
    relative = pilot.answer.mcse / pilot.answer.lambda_hat
    # Half more than the pilot says, because it knows the spread only roughly.
    needed = math.ceil(1.5 * PILOT_DRAWS * (3.0 * relative / tolerance) ** 2)
    return max(SMALLEST_DRAWS, needed) if needed <= LARGEST_WORK // (model.width + 8) else None


def _tail_exponent(weights: Array) -> float:
    """Fit a generalised Pareto law to the largest weights: its shape, k-hat.

    References
    ----------
    Zhang, J. and Stephens, M. A. (2009). A new and efficient estimation method for the generalized
    Pareto distribution. Technometrics 51, 316-325.
    Vehtari, A. et al. (2024). Pareto smoothed importance sampling. JMLR 25 (72).
    """
    ordered = np.sort(weights)
    count = int(min(0.2 * len(weights), 3.0 * math.sqrt(len(weights))))
    excess = ordered[-count:] - ordered[-count - 1]
    quartile, largest = excess[int(count / 4 + 0.5) - 1], excess[-1]
    if not quartile > 0:
        # Equal weights, as at a tiny beta, have no tail.
        return -math.inf if largest <= 0 else math.inf
    grid = 30 + int(math.sqrt(count))
    scales = (1.0 - np.sqrt(grid / (np.arange(1, grid + 1) - 0.5))) / (3.0 * quartile) + 1 / largest
    shapes = np.mean(np.log1p(-scales[:, None] * excess), axis=1)
    log_likelihoods = count * (np.log(-scales / shapes) - shapes - 1.0)
    posterior = np.exp(log_likelihoods - np.max(log_likelihoods))
    scale = float(scales @ posterior) / float(posterior.sum())
    shape = float(np.mean(np.log1p(-scale * excess)))
    # A weak prior at a half, as in the second reference.
    return (count * shape + 5.0) / (count + 10.0)


# --- Tempered sequential Monte Carlo --------------------------------------------------------------


@dataclass(frozen=True)
class _Particles:
    """All populations, one after the other: w (n, d), log prior (n,), eigenvalues of G (n, k)."""

    w: Array
    log_prior: Array
    squares: Array

    def take(self, index: NDArray[np.int64]) -> "_Particles":
        return _Particles(self.w[index], self.log_prior[index], self.squares[index])


def _tempered(model: _Collapsed, beta: float, tolerance: float, seed: int) -> Exact:
    generator = np.random.default_rng([seed, 2])
    mover = _Mover(model, generator)
    particles, log_partitions, num_rungs = _descend(model, mover, beta, generator)
    model.check_resolution(beta, particles.squares)
    shares = np.exp(log_partitions - np.max(log_partitions))
    shares /= shares.sum()
    # The variance of a ratio estimate from few populations.
    correction = NUM_REPLICATES / (NUM_REPLICATES - 1.0)
    history: list[Array] = []
    budget = _budget(model, len(particles.w))
    num_cycles = SMALLEST_CYCLES
    while True:
        while len(history) < num_cycles:
            particles = mover.cycle(particles, beta, adapt=False)
            lambdas = model.lambdas(particles.squares, beta)
            history.append(lambdas.reshape(NUM_REPLICATES, -1).mean(axis=1))
        kept = np.array(history[len(history) // 4 :])
        means = kept.mean(axis=0)
        lambda_hat = float(shares @ means)
        mcse = math.sqrt(correction * float(np.sum((shares * (means - lambda_hat)) ** 2)))
        drift = _drift(kept)
        done = mcse <= tolerance / 3.0 * lambda_hat and abs(drift) <= LARGEST_DRIFT
        if done or 2 * num_cycles > budget:
            break
        num_cycles *= 2
    _check_precision(beta, mcse / lambda_hat, tolerance, drift, shares)
    spread = max(0.0, float(shares @ shares) - 1.0 / NUM_REPLICATES)
    return Exact(
        beta=float(beta),
        lambda_hat=lambda_hat,
        mcse=mcse,
        free_energy=-_log_mean_exp(log_partitions),
        free_energy_mcse=math.sqrt(correction * spread),
        method=f"tempered sequential Monte Carlo, {NUM_REPLICATES} populations of "
        f"{len(particles.w) // NUM_REPLICATES}, {num_rungs} rungs, {len(history)} cycles at beta",
    )


def _population_size(width: int) -> int:
    return int(np.clip(2048 // width, 64, 256))


def _budget(model: _Collapsed, num_particles: int) -> int:
    """Give the largest number of cycles at the target: about a minute of work."""
    small = min(model.width, model.num_nodes)
    # A tanh or so for each unit and node, then a factorisation; a dozen moves in a cycle.
    operations = 10 * model.width * model.num_nodes + model.width * small**2
    return max(64, int(1e11 / (12 * num_particles * operations)))


def _descend(
    model: _Collapsed, mover: "_Mover", beta: float, generator: np.random.Generator
) -> tuple[_Particles, Array, int]:
    """Go from the prior to beta; give the particles and log Z of each population."""
    size = _population_size(model.width)
    w = model.draw(generator, NUM_REPLICATES * size)
    model.compress(w, beta)
    particles = _Particles(w, model.log_prior(w), model.spectra(w))
    log_partitions = np.zeros(NUM_REPLICATES)
    reached, num_rungs = 0.0, 0
    while reached < beta:
        following = _next_beta(model, particles.squares, reached, beta)
        log_weights = _log_increments(model, particles.squares, reached, following)
        log_partitions += [_log_mean_exp(row) for row in log_weights]
        particles = particles.take(_resample(log_weights, generator))
        reached = following
        num_rungs += 1
        mover.rescale(particles.w)
        model.compress(particles.w, min(beta, LARGEST_RUNG * reached))
        for _ in range(LADDER_CYCLES):
            particles = mover.cycle(particles, reached, adapt=True)
    return particles, log_partitions, num_rungs


def _log_increments(model: _Collapsed, squares: Array, reached: float, following: float) -> Array:
    """Give the log weights of going from one beta to another, shape (replicates, particles)."""
    old, new = model.energies(squares, reached), model.energies(squares, following)
    return (old - new).reshape(NUM_REPLICATES, -1)


def _next_beta(model: _Collapsed, squares: Array, reached: float, beta: float) -> float:
    """Choose the next rung: the populations keep four fifths of their effective size on average."""

    def ess_fraction(following: float) -> float:
        log_weights = _log_increments(model, squares, reached, following)
        weights = np.exp(log_weights - log_weights.max(axis=1, keepdims=True))
        ess = weights.sum(axis=1) ** 2 / (weights**2).sum(axis=1)
        return float(np.mean(ess)) / weights.shape[1]

    # The spectra hold no further than this, see _descend.
    beta = min(beta, LARGEST_RUNG * reached) if reached > 0 else beta
    if ess_fraction(beta) >= RUNG_ESS_FRACTION:
        return beta
    largest = float(squares.sum(axis=1).max())
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


# --- Metropolis moves of w ------------------------------------------------------------------------


@dataclass(frozen=True)
class _Move:
    """Name a family of proposals and the number of coordinates that it changes."""

    kind: str
    size: int
    log_step: float = 0.0


class _Mover:
    """Move all particles by Metropolis steps of several kinds and sizes, with adapted steps.

    Kinds: ``walk`` adds noise to some coordinates; ``stretch`` multiplies each of them by a factor
    of its own; ``common`` multiplies them by the same factor, which is how a whole network shrinks;
    ``pair`` stretches the sum or the difference of two coordinates, because G is nearly singular,
    and its density large, where two units agree up to sign.
    """

    def __init__(self, model: _Collapsed, generator: np.random.Generator) -> None:
        self._model, self._generator = model, generator
        self._scales = np.ones(model.dimension)
        # About a factor of five apart, from one coordinate to all.
        levels = max(1, round(math.log(model.dimension) / math.log(5.0)))
        sizes = sorted({round(model.dimension ** (n / levels)) for n in range(levels + 1)})
        kinds = [("walk", size) for size in sizes] + [("stretch", size) for size in sizes]
        kinds += [("common", size) for size in sizes if size > 1]
        kinds += [("pair", 2)] if model.dimension > 1 else []
        self.moves = [_Move(kind, size) for kind, size in kinds]

    def rescale(self, w: Array) -> None:
        """Set the unit of length of ``walk`` to the spread of each coordinate."""
        spread = w.std(axis=0)
        self._scales = np.where(spread > 0, spread, 1.0)

    def cycle(self, particles: _Particles, beta: float, *, adapt: bool) -> _Particles:
        """Make every kind of move once; give the new particles."""
        w, log_prior = particles.w.copy(), particles.log_prior.copy()
        energies = self._model.energies(particles.squares, beta)
        for number, move in enumerate(self.moves):
            rate = self._step(move, w, log_prior, energies, beta)
            if adapt:
                log_step = move.log_step + 2.0 * (rate - TARGET_ACCEPTANCE)
                self.moves[number] = replace(move, log_step=float(np.clip(log_step, -20.0, 3.0)))
        return _Particles(w, log_prior, self._model.spectra(w))

    def _step(self, move: _Move, w: Array, log_prior: Array, energies: Array, beta: float) -> float:
        """Make one Metropolis step in place; give the fraction that was accepted."""
        proposal, log_jacobian = self._propose(move, w)
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

    def _propose(self, move: _Move, w: Array) -> tuple[Array, Array]:
        """Give a proposal and the log Jacobian of the map that made it."""
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
