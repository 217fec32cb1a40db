"""What reduced rank regression and deep linear networks share: priors, data and exact answers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from sltprob.data import Data
from sltprob.exact import Exact
from sltprob.models._gibbs import block_gibbs
from sltprob.models._gibbs_large import block_gibbs_large
from sltprob.models._integrals import (
    Integral,
    as_exact,
    log_trapezoid,
    mellin_barnes,
)
from sltprob.models._wishart import product_of_two

__all__ = [
    "LARGEST_GIBBS",
    "draw_data",
    "exact_linear",
    "layer_optima",
    "minibatch",
    "population",
    "prior_means",
    "true_map",
]

# Parameters beyond which few chains do, as large networks average over themselves.
LARGEST_GIBBS = 2000


def true_map(inputs: int, outputs: int, rank: int) -> np.ndarray:
    """Give C = diag(1, …, 1, 0, …), with `rank` ones."""
    c = np.zeros((outputs, inputs))
    c[range(rank), range(rank)] = 1.0
    return c


def layer_optima(widths: Sequence[int], rank: int) -> tuple[np.ndarray, ...]:
    """Give the deepest true point: every layer diag(1, …, 1, 0, …)."""
    return tuple(true_map(below, above, rank) for below, above in pairwise(widths))


def prior_means(widths: Sequence[int], rank: int, center: str) -> tuple[np.ndarray, ...]:
    """Give the means of the priors of all layers: zero, or the deepest true point."""
    return layer_optima(widths, rank if center == "optimum" else 0)


def population(inputs: int, outputs: int, rank: int) -> Data:
    """Give inputs √M e_i of weight 1/M, over which ½ E|(W - C) x|² is exactly ½ ‖W - C‖²."""
    x = math.sqrt(inputs) * np.eye(inputs)
    y = x @ true_map(inputs, outputs, rank).T
    return Data({"x": x, "y": y}, np.full(inputs, 1 / inputs))


def minibatch(rng_key: Any, size: int, inputs: int, outputs: int, rank: int) -> dict[str, Any]:
    """Draw inputs x ~ N(0, I), with y = C x."""
    x = jax.random.normal(rng_key, (size, inputs))
    return {"x": x, "y": x @ jnp.asarray(true_map(inputs, outputs, rank)).T}


def draw_data(
    generator: np.random.Generator, n: int, inputs: int, outputs: int, rank: int
) -> dict[str, Any]:
    """Draw x ~ N(0, I) and y = C x + noise of unit variance."""
    x = generator.standard_normal((n, inputs))
    noise = generator.standard_normal((n, outputs))
    return {"x": x, "y": x @ true_map(inputs, outputs, rank).T + noise}


def exact_linear(
    beta: float,
    widths: tuple[int, ...],
    rank: int,
    *,
    prior_center: str,
    prior_scale: float,
    tolerance: float,
) -> Exact | None:
    """Compute λ̂ of a deep linear network by the best route that there is for its sizes.

    Closed forms and integrals where the prior is centred at zero and one width is one, or there
    are two layers and rank 0; block Gibbs else, of a million parameters in a minute or two.

    References
    ----------
    .. [1] M. Aoyagi, Neural Networks 172 (2024) 106132, for the limit that it must tend to.
    """
    # Weights in units of the prior's standard deviation: L becomes scale^2 times the same loss
    # with a larger target, so that the scale goes into β.
    scale = prior_scale ** (len(widths) - 1)
    scaled_beta = beta * scale**2
    target = true_map(widths[0], widths[-1], rank) / scale
    means = tuple(mean / prior_scale for mean in prior_means(widths, rank, prior_center))
    centred = rank == 0 or prior_center == "zero"
    exact = None
    if len(widths) == 2:
        exact = _one_layer(scaled_beta, target - means[0])
    elif centred and rank == 0 and min(widths) == 1:
        exact = _chain(scaled_beta, widths)
    elif centred and len(widths) == 3 and min(widths[0], widths[-1]) == 1:
        size = float(np.sum(target**2))
        exact = _one_vector(scaled_beta, widths[1], max(widths[0], widths[-1]), size)
    elif centred and rank == 0 and len(widths) == 3:
        integral = product_of_two(scaled_beta, (widths[0], widths[1], widths[2]))
        # Beyond a rank of about six the Pfaffian loses its digits, and says so.
        if integral.lambda_hat_error <= min(1e-6, tolerance) * abs(integral.lambda_hat):
            exact = as_exact(beta, integral, "Pfaffian of Wishart eigenvalue integrals")
    if exact is not None:
        return dataclasses.replace(exact, beta=beta)
    small = sum(mean.size for mean in means) <= LARGEST_GIBBS
    sample = block_gibbs if small else block_gibbs_large
    found = sample(scaled_beta, target, prior_means=means, tolerance=tolerance)
    return Exact(
        beta=beta,
        lambda_hat=found.lambda_hat,
        mcse=found.mcse,
        free_energy=math.nan,
        free_energy_mcse=math.nan,
        method=f"block Gibbs, {found.chains} chains of {found.sweeps} sweeps; it does not give "
        "the free energy",
    )


def _one_layer(beta: float, target: np.ndarray) -> Exact:
    """Solve the linear model ½ ‖W - target‖²: a Gaussian integral for every entry."""
    distances, count = float(np.sum(target**2)), target.size
    shrink = beta / (1 + beta)
    # E ½β(w - c)²: the variance is 1/(1 + β), and the mean is c/(1 + β) away from c.
    lambda_hat = 0.5 * (count * shrink + shrink / (1 + beta) * distances)
    free_energy = 0.5 * (count * math.log1p(beta) + shrink * distances)
    integral = Integral(-free_energy, lambda_hat, 1e-15 * count, 1e-15 * count)
    return as_exact(beta, integral, "closed form of a Gaussian integral")


def _chain(beta: float, widths: tuple[int, ...]) -> Exact:
    """Solve rank 0 through a width of one: ‖W_L … W_1‖² is a product of independent χ².

    The norm of a vector after a layer of Gaussian weights is the norm before times a χ with as
    many degrees of freedom as the layer has outputs; a width of one cuts the network into two
    such chains.
    """
    degrees = list(widths)
    degrees.remove(1)

    def log_moment(s: np.ndarray) -> np.ndarray:
        total = s * (math.log(2) - math.log(2) * len(degrees))
        for degree in degrees:
            total = total + special.loggamma(degree / 2 - s) - special.gammaln(degree / 2)
        return total

    integral = mellin_barnes(beta, log_moment, min(degrees) / 2)
    return as_exact(beta, integral, "Mellin-Barnes integral of a product of χ²")


def _one_vector(beta: float, hidden: int, outputs: int, target: float) -> Exact:
    """Solve two layers with scalar input: given |a|² the output layer is Gaussian.

    The target enters by its squared norm.
    """

    def log_density(u: np.ndarray) -> np.ndarray:
        square = np.exp(u)
        chi_square = hidden / 2 * (u - math.log(2)) - square / 2 - special.gammaln(hidden / 2)
        t = 1 + beta * square
        return chi_square - outputs / 2 * np.log(t) - 0.5 * beta * target / t

    def energy(u: np.ndarray) -> np.ndarray:
        # 1/(1 + β l)² would overflow in the denominator at β = 1e300 only.
        t = 1 + beta * np.exp(u)
        return 0.5 * outputs * (1 - 1 / t) + 0.5 * beta * target / t**2

    lower = -math.log1p(beta) - 90 / hidden
    upper = math.log(8.0 * hidden + 400.0)
    integral = log_trapezoid(log_density, energy, lower, upper, step=0.02)
    return as_exact(beta, integral, "one-dimensional quadrature over the hidden vector's norm")
