"""Block Gibbs sampling of a deep linear network: an independent route to λ̂ for any rank.

Given all layers but one, L = ½ ‖P W Q - C‖² is quadratic in that layer W, so its conditional
posterior is Gaussian, and diagonal in the singular bases of P and Q. No step size, no rejection,
no warm-up to tune; and the expectation of L given the other layers is known in closed form, so
that the noise of W itself drops out of the estimate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

__all__ = ["GibbsEstimate", "block_gibbs", "summarise"]

_CHAINS = 64
_MOST_SWEEPS = 4096
_SEED = 20240607


@dataclass(frozen=True)
class GibbsEstimate:
    """λ̂ with its Monte Carlo standard error."""

    lambda_hat: float
    # From the spread between independent chains, or the drift within them if that is larger
    mcse: float
    sweeps: int  # Sweeps of each chain, half of them kept
    chains: int


def block_gibbs(
    beta: float,
    target: np.ndarray,
    *,
    prior_means: tuple[np.ndarray, ...],
    tolerance: float,
) -> GibbsEstimate:
    """Sample the posterior of ½ ‖W_L … W_1 - target‖² with unit normal priors.

    The chains start from prior draws, where the flat directions are right already. The number of
    sweeps doubles until the standard error is small enough; the first half is left out.

    References
    ----------
    .. [1] S. Geman, D. Geman, "Stochastic relaxation, Gibbs distributions, and the Bayesian
       restoration of images", IEEE PAMI 6 (1984) 721-741.
    .. [2] A. Gelfand, A. Smith, JASA 85 (1990) 398-409 (averaging conditional expectations).
    """
    generator, chains = np.random.default_rng(_SEED), _CHAINS
    depth = len(prior_means)
    layers = [mean + generator.standard_normal((chains, *mean.shape)) for mean in prior_means]
    trace: list[np.ndarray] = []
    while True:
        for _ in range(max(256, len(trace))):
            before: np.ndarray | None = None
            expected = np.zeros(chains)
            after = _products_above(layers)
            for index in range(depth):
                layers[index], energy = _update(
                    beta, after[index], before, prior_means[index], target, generator, chains
                )
                expected += energy / depth
                before = layers[index] if before is None else layers[index] @ before
            trace.append(expected)
        estimate = summarise(np.asarray(trace))
        enough = estimate.mcse <= tolerance * abs(estimate.lambda_hat)
        if enough or len(trace) >= _MOST_SWEEPS:
            return estimate


def _products_above(layers: list[np.ndarray]) -> list[np.ndarray | None]:
    """Give W_L … W_(l+1) for every layer l; None above the last."""
    products: list[np.ndarray | None] = [None] * len(layers)
    for index in range(len(layers) - 2, -1, -1):
        above = products[index + 1]
        products[index] = layers[index + 1] if above is None else above @ layers[index + 1]
    return products


def _update(
    beta: float,
    above: np.ndarray | None,
    below: np.ndarray | None,
    mean: np.ndarray,
    target: np.ndarray,
    generator: np.random.Generator,
    chains: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one layer given the others; give it with E[β L | the others]."""
    rows, columns = mean.shape
    if above is None:
        above = np.broadcast_to(np.eye(rows), (chains, rows, rows))
    if below is None:
        below = np.broadcast_to(np.eye(columns), (chains, columns, columns))
    u, s, vt = np.linalg.svd(above)
    p, r, qt = np.linalg.svd(below)
    residual = target - above @ mean @ below
    # In the singular bases each entry of W has its own target: the matrix is cut to the part
    # that both factors reach; what is outside is a loss that W cannot change.
    rotated = np.swapaxes(u, 1, 2) @ residual @ np.swapaxes(qt, 1, 2)
    gains = np.zeros_like(rotated)
    gains[:, : s.shape[1], : r.shape[1]] = s[:, :, None] * r[:, None, :]
    precision = 1 + beta * gains**2
    # (target - gain · mean) = target / precision: written so that nothing cancels.
    energy = 0.5 * beta * (gains**2 / precision + (rotated / precision) ** 2).sum(axis=(1, 2))
    inside_rows, inside_columns = s.shape[1], r.shape[1]
    draw = generator.standard_normal((chains, rows, columns))
    cut = (slice(None), slice(inside_rows), slice(inside_columns))
    draw[cut] = draw[cut] / np.sqrt(precision[cut]) + (
        beta * gains[cut] * rotated[cut] / precision[cut]
    )
    return mean + np.swapaxes(vt, 1, 2) @ draw @ np.swapaxes(p, 1, 2), energy


def summarise(trace: np.ndarray) -> GibbsEstimate:
    """Average the second half; its error is between chains, or the drift if that is larger."""
    kept = trace[len(trace) // 2 :]
    middle = len(kept) // 2
    chains = trace.shape[1]
    means = kept.mean(axis=0)
    spread = float(means.std(ddof=1)) / math.sqrt(chains)
    drift = kept[:middle].mean(axis=0) - kept[middle:].mean(axis=0)
    moved = abs(float(drift.mean()))
    # Twice the standard error of the drift is chance; what is beyond it is a bias.
    excess = max(0.0, moved - 2 * float(drift.std(ddof=1)) / math.sqrt(chains))
    return GibbsEstimate(float(means.mean()), math.hypot(spread, excess), len(trace), chains)
