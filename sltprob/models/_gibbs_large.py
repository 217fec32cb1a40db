"""Block Gibbs sampling of large deep linear networks, by eigenvectors instead of singular ones.

It is the update of `sltprob.models._gibbs`: given all layers but one the posterior is Gaussian, and
diagonal in the right bases. Large networks average over themselves, so a few chains of a few dozen
sweeps from draws of the prior do; a factor costs one symmetric eigenproblem.
"""

from __future__ import annotations

import numpy as np

from sltprob.models._gibbs import GibbsEstimate, summarise

__all__ = ["block_gibbs_large"]

# After a quarter of 64 sweeps what is left of the start is below a thousandth of λ̂.
_CHAINS, _SWEEPS, _MOST = 4, 64, 1024


def block_gibbs_large(
    beta: float,
    target: np.ndarray,
    *,
    prior_means: tuple[np.ndarray, ...],
    tolerance: float,
    seed: int = 20240607,
) -> GibbsEstimate:
    """Sample the posterior of ½ ‖W_L … W_1 - target‖² with unit normal priors.

    The number of sweeps doubles until the standard error between chains, or the drift within them,
    is small enough; the first half is left out.

    References
    ----------
    .. [1] S. Geman, D. Geman, "Stochastic relaxation, Gibbs distributions, and the Bayesian
       restoration of images", IEEE PAMI 6 (1984) 721-741.
    .. [2] A. Gelfand, A. Smith, JASA 85 (1990) 398-409 (averaging conditional expectations).
    """
    generators = [np.random.default_rng([seed, chain]) for chain in range(_CHAINS)]
    layers = [
        [mean + generator.standard_normal(mean.shape) for mean in prior_means]
        for generator in generators
    ]
    trace: list[list[float]] = []
    while True:
        for _ in range(max(_SWEEPS, len(trace))):
            trace.append(
                [
                    _sweep(beta, target, own, prior_means, generator)
                    for own, generator in zip(layers, generators, strict=True)
                ]
            )
        found = summarise(np.asarray(trace))
        if found.mcse <= tolerance * abs(found.lambda_hat) or len(trace) >= _MOST:
            return found


def _sweep(
    beta: float,
    target: np.ndarray,
    layers: list[np.ndarray],
    prior_means: tuple[np.ndarray, ...],
    generator: np.random.Generator,
) -> float:
    """Draw every layer once; give E[β L | all others], averaged over the layers."""
    above: list[np.ndarray | None] = [None] * len(layers)
    for index in range(len(layers) - 2, -1, -1):
        product = above[index + 1]
        above[index] = layers[index + 1] if product is None else product @ layers[index + 1]
    below: np.ndarray | None = None
    expected = 0.0
    for index, mean in enumerate(prior_means):
        left, vectors = _basis(above[index], mean.shape[0], left=True)
        right, others = _basis(below, mean.shape[1], left=False)
        residual = target - _times(above[index], _times_right(mean, below))
        slope = _times_transposed(above[index], residual)
        slope = slope if below is None else slope @ below.T
        slope = vectors.T @ slope @ others
        precision = 1 + beta * np.outer(left, right)
        gain = np.outer(left, right) / precision
        # |residual|²/precision² summed over all directions, written with those that W reaches.
        energy = np.sum(gain) + np.sum(residual**2)
        energy -= beta * np.sum(slope**2 * (1 + precision) / precision**2)
        expected += 0.5 * beta * float(energy) / len(layers)
        draw = generator.standard_normal(mean.shape) / np.sqrt(precision)
        draw += beta * slope / precision
        layers[index] = mean + vectors @ draw @ others.T
        below = _times_right(layers[index], below)
    return expected


def _basis(factor: np.ndarray | None, size: int, *, left: bool) -> tuple[np.ndarray, np.ndarray]:
    """Give squared singular values and the vectors on the side of the layer."""
    if factor is None:
        return np.ones(size), np.eye(size)
    values, vectors = np.linalg.eigh(factor.T @ factor if left else factor @ factor.T)
    return np.maximum(values, 0.0), vectors


def _times(factor: np.ndarray | None, value: np.ndarray) -> np.ndarray:
    return value if factor is None else factor @ value


def _times_transposed(factor: np.ndarray | None, value: np.ndarray) -> np.ndarray:
    return value if factor is None else factor.T @ value


def _times_right(value: np.ndarray, factor: np.ndarray | None) -> np.ndarray:
    return value if factor is None else value @ factor
