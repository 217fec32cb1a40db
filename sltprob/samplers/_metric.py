"""Metrics of Hamiltonian samplers: a unit of length for each direction, learned from draws."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from blackjax.adaptation.mass_matrix import welford_algorithm
from blackjax.adaptation.metric_estimators import select_top_eigenvalues_by_informativeness
from blackjax.mcmc.metrics import LowRankInverseMassMatrix, default_metric
from blackjax.util import generate_gaussian_noise
from jax.scipy.linalg import solve_triangular
from scipy import special

from sltprob.posterior import TemperedPosterior

__all__ = [
    "METRICS",
    "empty_moments",
    "energy_of_draw",
    "form_in",
    "form_of",
    "identity_metric",
    "learn_metric",
    "metric_change",
    "metric_of",
    "metric_parameters",
    "metric_scales",
    "update_moments",
]

#: The forms of a metric, by the names that users write.
METRICS = ("diagonal", "dense", "low_rank")
# Up to this dimension the draws of a warm-up know all correlations, and a matrix times a vector is
# cheap beside a gradient of as many data; it is not where all of it takes a microsecond.
_LARGEST_DENSE, _LEAST_WORK = 64, 1000
# Directions of a low-rank metric that differ from the diagonal one.
_RANK = 10
# Draws that the diagonal counts for beside the correlations, as in Stan's shrinkage.
_SHRINKAGE = 5.0
# R-hat of a coordinate below which its chains cover the same range.
_AGREEMENT = 1.1


def form_of(metric: str, posterior: TemperedPosterior) -> str:
    """Choose the form of a metric that is to follow from the posterior, by its shapes alone.

    The stiff directions of a network turn from place to place, and no constant metric knows them.
    """
    if metric != "auto":
        return metric
    dimension, model = posterior.dimension, posterior.structure.model
    count = len(posterior.weights)
    pays = dimension <= _LARGEST_DENSE and dimension <= count and dimension * count >= _LEAST_WORK
    network = model is not None and model.readout() is not None
    return "dense" if pays and not network else "diagonal"


def form_in(parameters: Mapping[str, Any]) -> str | None:
    """Say which form the metric has that is among the parameters of a sampler, if one is."""
    if "metric_scale" in parameters:
        return "low_rank"
    if "inverse_mass_matrix" not in parameters:
        return None
    return "dense" if parameters["inverse_mass_matrix"].ndim == 2 else "diagonal"


def identity_metric(metric: str, dimension: int) -> dict[str, Any]:
    """Give the metric that knows nothing."""
    if metric == "diagonal":
        return {"inverse_mass_matrix": jnp.ones(dimension)}
    if metric == "dense":
        return {"inverse_mass_matrix": jnp.eye(dimension), "momentum_factor": jnp.eye(dimension)}
    rank = min(_RANK, dimension)
    return {
        "metric_scale": jnp.ones(dimension),
        "metric_vectors": jnp.eye(dimension, rank),
        "metric_values": jnp.ones(rank),
    }


def metric_of(parameters: Mapping[str, Any]) -> Any:
    """Read a metric from the parameters of a sampler, as BlackJAX's kernels take it."""
    if "momentum_factor" in parameters:
        # BlackJAX would factorise the matrix at every draw.
        factor = parameters["momentum_factor"]
        return default_metric(parameters["inverse_mass_matrix"])._replace(
            sample_momentum=lambda key, place: generate_gaussian_noise(key, place, sigma=factor)
        )
    if "inverse_mass_matrix" in parameters:
        return parameters["inverse_mass_matrix"]
    return LowRankInverseMassMatrix(
        parameters["metric_scale"], parameters["metric_vectors"], parameters["metric_values"]
    )


def metric_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Pick those parameters of a sampler that are its metric."""
    names = (
        *("inverse_mass_matrix", "momentum_factor"),
        *("metric_scale", "metric_vectors", "metric_values"),
    )
    return {name: parameters[name] for name in names if name in parameters}


def metric_scales(parameters: Mapping[str, Any]) -> Any:
    """Give the variance of every coordinate that a metric stands for."""
    if "metric_scale" in parameters:
        low_rank = metric_of(parameters)
        inner = 1 + jnp.square(low_rank.U) @ (low_rank.lam - 1)
        return jnp.square(low_rank.sigma) * inner
    matrix = parameters["inverse_mass_matrix"]
    return jnp.diagonal(matrix) if matrix.ndim == 2 else matrix


def metric_change(before: Mapping[str, Any], learned: Mapping[str, Any]) -> Any:
    """Compare variances of two metrics, as a logarithm: of coordinates, of most of them.

    A dense one is compared in the directions whose widths are one before. A single thin one among
    them sets the step size, so that it is the largest change there.
    """
    if "momentum_factor" in before:
        factor = before["momentum_factor"]
        variances = jnp.sum(factor * (learned["inverse_mass_matrix"] @ factor), axis=0)
        return jnp.max(jnp.abs(jnp.log(variances)))
    ratios = jnp.log(metric_scales(learned) / metric_scales(before))
    return jnp.median(jnp.abs(ratios))


def energy_of_draw(info: Any, logdensity_before: Any, metric: Any) -> Any:
    """Give the energy of the state that a Hamiltonian kernel kept.

    BlackJAX reports the energy of the proposal even when it was rejected.
    """
    stayed = default_metric(metric).kinetic_energy(info.momentum) - logdensity_before
    return jnp.where(info.is_accepted, info.energy, stayed)


def empty_moments(metric: str, chains: int, dimension: int) -> Any:
    """Give moments of no draw, for every chain."""
    init, _, _ = welford_algorithm(metric == "diagonal")
    return jax.tree.map(lambda leaf: jnp.stack([jnp.asarray(leaf)] * chains), init(dimension))


def update_moments(metric: str, moments: Any, positions: Any) -> Any:
    """Take one more draw of every chain into its moments."""
    _, update, _ = welford_algorithm(metric == "diagonal")
    return jax.vmap(update)(moments, positions)


def learn_metric(
    metric: str, moments: Any, before: Mapping[str, Any], sites: np.ndarray
) -> dict[str, Any]:
    """Learn a metric from covariances within the chains and the spread between them.

    Within a warm-up chains do not cross the flat directions of a cold posterior; how far they are
    from each other, after a start from the prior, tells the width of these. That is the variance
    of a few numbers, so that coordinates of a site that differ by no more than this explains
    share their scale.

    Correlations are those within the chains. They shrink as in Stan, but towards the diagonal: a
    posterior at low temperature has no scale that could be known beforehand. A coordinate that
    has not moved keeps its scale.

    References
    ----------
    .. [1] Stan Reference Manual, section "Euclidean metric" (regularised covariances).
    .. [2] A. Seyboldt, E. L. Carlson, B. Carpenter, "Preconditioning Hamiltonian Monte Carlo by
       minimizing Fisher divergence", arXiv 2603.18845 (low-rank metrics).
    """
    _, _, final = welford_algorithm(metric == "diagonal")
    covariances, _, means = jax.vmap(final)(moments)
    covariance = jnp.mean(covariances, axis=0)
    known = metric_scales(before)
    within = covariance if metric == "diagonal" else jnp.diagonal(covariance)
    moved = jnp.isfinite(within) & (within > 0)
    within = jnp.where(moved, within, known)
    total = variance = within
    chains = len(means)
    if chains > 1:
        between = jnp.where(moved, jnp.var(means, axis=0, ddof=1), 0.0)
        total = within + between
        shared = _share_scales(total, between / total, chains - 1, sites)
        variance = jnp.where(moved, shared, known)
    if metric == "diagonal":
        return {"inverse_mass_matrix": variance}
    count = jnp.sum(moments.sample_size)
    both = moved[:, None] & moved[None, :] & ~jnp.eye(len(variance), dtype=bool)
    # What is between the chains has the same correlations where these agree, and is taken for
    # independent where they do not: a few chains know no correlation of flat directions.
    agree = total < _AGREEMENT**2 * within
    scale, width = jnp.sqrt(variance), jnp.sqrt(jnp.where(agree, within, total))
    correlation = jnp.where(both, covariance / jnp.outer(width, width), 0.0)
    correlation *= count / (count + _SHRINKAGE)
    correlation += jnp.eye(len(variance))
    if metric == "dense":
        matrix = correlation * jnp.outer(scale, scale)
        root = jnp.linalg.cholesky(matrix)
        factor = solve_triangular(root, jnp.eye(len(scale)), lower=True, trans=1)
        return {"inverse_mass_matrix": matrix, "momentum_factor": factor}
    values, vectors = jnp.linalg.eigh(correlation)
    vectors, values = select_top_eigenvalues_by_informativeness(
        values, vectors, len(before["metric_values"]), tail_handling="mask_pad"
    )
    return {"metric_scale": scale, "metric_vectors": vectors, "metric_values": values}


def _share_scales(variances: Any, chance: Any, freedom: int, sites: np.ndarray) -> Any:
    """Shrink the logarithms of variances towards their mean over a site.

    References
    ----------
    .. [1] B. Efron, C. Morris, "Data analysis using Stein's estimator and its generalizations",
       J. Amer. Statist. Assoc. 70 (1975) 311-319 (towards the mean: p - 3 for p - 2).
    .. [2] M. S. Bartlett, D. G. Kendall, "The statistical analysis of variance-heterogeneity and
       the logarithmic transformation", Suppl. J. Roy. Statist. Soc. 8 (1946) 128-138 (moments).
    """
    count = int(sites.max()) + 1
    sizes = np.bincount(sites, minlength=count)

    def over_sites(values: Any) -> Any:
        return jax.ops.segment_sum(values, sites, num_segments=count)

    # Mean and variance of the logarithm of chi²/ν.
    low = special.digamma(freedom / 2) - math.log(freedom / 2)
    uncertainty = special.polygamma(1, freedom / 2)
    logarithms = jnp.log(variances) - low * chance
    centers = (over_sites(logarithms) / sizes)[sites]
    spread = over_sites((logarithms - centers) ** 2)
    noise = uncertainty * np.maximum(sizes - 3, 0) / sizes * over_sites(chance)
    kept = jnp.clip(1 - noise / jnp.maximum(spread, jnp.finfo(spread.dtype).tiny), 0.0, 1.0)
    return jnp.exp(centers + kept[sites] * (logarithms - centers))
