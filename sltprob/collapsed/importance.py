"""Importance sampling of the hidden weights w from their prior: enough while they keep it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sltprob.collapsed.common import log_mean_exp
from sltprob.collapsed.density import CollapsedDensity, Problem, ResolutionError
from sltprob.exact import Exact, check_ladder
from sltprob.spec import whole

__all__ = [
    "WeightedDraws",
    "enough_draws",
    "importance_sampling",
    "tail_exponent",
    "weighted_draws",
]

type Array = NDArray[np.float64]

# Importance sampling is trusted if most draws count and the tail of the weights is light: exponent
# below a half (finite variance) and below the ESS fraction. Wider limits were tried: with 8192
# draws at h = 32, w ~ U(-1, 1), beta = 1e10 (ESS fraction 0.4, exponent 0.45) lambda-hat is on
# average two standard errors too high, because the rare draws with large weights are missing.
PILOT_DRAWS = 4096
SMALLEST_DRAWS = 2048
SMALLEST_ESS_FRACTION = 0.3
LARGEST_TAIL = 0.5
LARGEST_WORK = 6_000_000


def importance_sampling(
    betas: Sequence[float], problem: Problem, *, num_draws: int = 4096, seed: int = 0
) -> tuple[Exact, ...]:
    """Compute lambda-hat and the free energy at several betas from the same draws of the prior.

    The values at different betas share their draws, so their errors are correlated: a curve is
    smoother than its standard errors suggest.

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
    check_ladder(betas)
    whole(2).read("num_draws", num_draws, 4096)
    model = CollapsedDensity(problem)
    return tuple(draws.answer for draws in weighted_draws(model, betas, num_draws, seed))


@dataclass(frozen=True)
class WeightedDraws:
    """Hold the answer at one beta with what its weights are like."""

    answer: Exact
    ess: float  # Effective sample size of the weights
    tail: float  # Their tail exponent


def weighted_draws(
    model: CollapsedDensity, betas: Sequence[float], num_draws: int, seed: int
) -> list[WeightedDraws]:
    """Give the answer at each beta, from the same draws.

    References
    ----------
    Owen, A. B. (2013). Monte Carlo theory, methods and examples, chapter 9.
    """
    largest = max(betas)
    w = model.draw(np.random.default_rng([seed, 1]), num_draws)
    model.compress(w, largest)
    spectra = model.spectra(w)
    results = []
    for beta in betas:
        model.check_resolution(beta, spectra)
        log_weights = -model.energies(spectra, beta)
        shares = np.exp(log_weights - np.max(log_weights))
        tail = tail_exponent(shares)
        shares /= shares.sum()
        lambdas = model.lambdas(spectra, beta)
        lambda_hat = float(shares @ lambdas)
        ess = 1.0 / float(shares @ shares)
        answer = Exact(
            beta=float(beta),
            lambda_hat=lambda_hat,
            mcse=float(np.sqrt(np.sum((shares * (lambdas - lambda_hat)) ** 2))),
            free_energy=-log_mean_exp(log_weights),
            free_energy_mcse=math.sqrt(max(0.0, 1.0 / ess - 1.0 / num_draws)),
            method=f"importance sampling, {num_draws} draws, ess {ess:.0f}",
        )
        results.append(WeightedDraws(answer, ess, tail))
    return results


def enough_draws(model: CollapsedDensity, beta: float, tolerance: float, seed: int) -> int | None:
    """Predict from a pilot how many draws importance sampling needs.

    References
    ----------
    Vehtari, A. et al. (2024). Pareto smoothed importance sampling. JMLR 25 (72).
    """
    # Other draws than those of the answer: judging draws by themselves would throw away just the
    # runs that have seen the tail of the weights.
    try:
        (pilot,) = weighted_draws(model, [beta], PILOT_DRAWS, seed + 1_000_003)
    except ResolutionError:
        # Prior draws have larger features than those that count at such a beta.
        return None
    fraction = pilot.ess / PILOT_DRAWS
    if not (fraction >= SMALLEST_ESS_FRACTION and pilot.tail < min(LARGEST_TAIL, fraction)):
        return None
    relative = pilot.answer.mcse / pilot.answer.lambda_hat
    # Half more than the pilot says, because it knows the spread only roughly.
    needed = math.ceil(1.5 * PILOT_DRAWS * (3.0 * relative / tolerance) ** 2)
    return max(SMALLEST_DRAWS, needed) if needed <= LARGEST_WORK // (model.width + 8) else None


def tail_exponent(weights: Array) -> float:
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
