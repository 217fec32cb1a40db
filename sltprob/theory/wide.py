"""Infinitely wide networks of any input distribution, activation and depth: their spectra.

What is resolved at inverse temperature beta are the modes of the kernel ``h sigma^2 E[phi phi']``
with ``2 beta kappa`` above one (`sltprob.theory.kernel`). For one hidden layer the kernel is an
average over its weights w, and as in that module eigenvalues are squared singular values of the
matrix of features on a rule for w and a rule for x. Priors and inputs are symmetric under the
change of sign of any coordinate, so that the matrix falls into blocks, one for each set of
coordinates in which a mode is odd.

A deeper layer sees Gaussian inputs whose covariance is the kernel of the layer below, times the
prior variance of its weights. With ``phi(s g) = sum_n c_n(s) he_n(g)`` for a normal g

    E[phi(z) phi(z')] = sum_n c_n(s) c_n(s') rho^n,

s and s' the standard deviations of z and z' and rho their correlation. Here the eigenvalues are
those of a matrix, and end at 1e-16 of the largest one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import special

from sltprob.theory import hermite
from sltprob.theory.kernel import input_rule, resolved_shares, slope_rule

__all__ = ["deep_spectrum", "shallow_spectrum", "wide_lambda_hat"]

type Array = NDArray[np.float64]
type Rule = tuple[Array, Array]  # nodes, shape (n, d), all coordinates positive, and weights

_MODES = 199


def wide_lambda_hat(eigenvalues: Array, beta: float) -> float:
    """Give half the number of resolved modes, ``1/2 sum 2 beta kappa / (1 + 2 beta kappa)``.

    References
    ----------
    Neal, R. M. (1996). Bayesian Learning for Neural Networks, Springer, chapter 2.
    """
    return float(0.5 * np.sum(resolved_shares(eigenvalues, beta)))


def shallow_spectrum(
    activation: Callable[[Array], Array],
    *,
    inputs: str,
    dimension: int,
    family: str,
    scale: float,
    fine: bool = False,
) -> Array:
    """Compute the eigenvalues of ``E_w[phi(w.x) phi(w.x')]`` for one hidden layer.

    Parameters
    ----------
    activation : callable
        phi, elementwise.
    inputs : str
        ``gaussian`` (of dimension 1), ``circle`` (2) or ``cube``, uniform on [-1, 1]^dimension.
    dimension : int
        Coordinates of x and of w.
    family : str
        ``uniform`` or ``normal``, of each coordinate of w.
    scale : float
        Bound or standard deviation of it.
    fine : bool
        Use rules for an activation with a kink.

    Returns
    -------
    array, shape (k,)
        In decreasing order.

    Raises
    ------
    ValueError
        If the inputs are not known or the dimension is not theirs.

    References
    ----------
    Williams, C. K. I. (1998). Computation with infinite neural networks. Neural Computation 10,
    1203-1216.
    """
    if inputs not in ("gaussian", "circle", "cube") or dimension < 1:
        raise ValueError(f"inputs={inputs!r}, dimension={dimension}: gaussian, circle or cube.")
    weights, prior = _orthant(_weight_axis(family, scale, dimension, fine=fine), dimension)
    nodes, masses = _input_rule(inputs, dimension, float(weights.max()), fine=fine)
    signs = np.array(list(itertools.product((1.0, -1.0), repeat=dimension)))
    values = [activation(weights @ (sign * nodes).T) for sign in signs]
    roots = np.sqrt(prior)[:, None] * np.sqrt(masses)
    found = []
    for odd in itertools.product((False, True), repeat=dimension):
        characters = np.prod(np.where(odd, signs, 1.0), axis=1) / len(signs)
        block = sum(c * value for c, value in zip(characters, values, strict=True))
        found.append(np.linalg.svd(roots * block, compute_uv=False) ** 2)
    return np.sort(np.concatenate(found))[::-1]


def deep_spectrum(activation: str, *, depth: int, family: str, scale: float) -> Array:
    """Compute the eigenvalues of the kernel of `depth` hidden layers for scalar normal inputs.

    The weights of later layers have the prior of the first, divided by the root of the width. The
    activation is odd: tanh, erf or sin.

    References
    ----------
    Lee, J. et al. (2018). Deep neural networks as Gaussian processes. ICLR.
    """
    if activation not in ("tanh", "erf", "sin") or depth < 1:
        raise ValueError(f"activation={activation!r}, depth={depth}: tanh, erf or sin, from 1 on.")
    slopes, prior = _orthant(_weight_axis(family, scale, 1, fine=False), 1)
    nodes, masses = _input_rule("gaussian", 1, float(slopes.max()), fine=False)
    functions: dict[str, Callable[[Array], Array]] = {
        "tanh": np.tanh,
        "sin": np.sin,
        "erf": special.erf,
    }
    features = np.sqrt(prior)[:, None] * functions[activation](slopes @ nodes.T)
    kernel: Array = features.T @ features
    variance = scale**2 / 3.0 if family == "uniform" else scale**2
    for _ in range(depth - 1):
        covariance = variance * kernel
        spreads = np.sqrt(np.diagonal(covariance))
        correlation = np.clip(covariance / np.outer(spreads, spreads), -1.0, 1.0)
        modes = hermite.coefficients(spreads, _MODES, activation)[:, 1::2]
        power, square = correlation.copy(), correlation**2
        kernel = np.zeros_like(correlation)
        for column in modes.T:
            kernel += np.outer(column, column) * power
            power *= square
    roots = np.sqrt(masses)
    found: Array = np.linalg.eigvalsh(kernel * np.outer(roots, roots))[::-1]
    return np.maximum(found, 0.0)


def _weight_axis(family: str, scale: float, dimension: int, *, fine: bool) -> Rule:
    """Build the positive half of the prior of one coordinate, with its mass doubled."""
    sizes = {1: 400, 2: 160, 3: 48} if family == "normal" else {1: 200, 2: 40, 3: 16}
    size = sizes.get(dimension, 12)
    nodes, weights = slope_rule(family, scale, 2 * size if fine else size)
    kept = nodes > 0
    if family == "normal":
        # A weight above 8 standard deviations does not occur.
        kept &= nodes < 8.0 * scale
    return nodes[kept], 2.0 * weights[kept]


def _input_rule(inputs: str, dimension: int, largest: float, *, fine: bool) -> Rule:
    if inputs == "gaussian":
        nodes, weights = input_rule(largest)
        positive = nodes > 0
        return _orthant((nodes[positive], 2.0 * weights[positive]), 1)
    if inputs == "circle":
        count = 256 if fine else 64
        angles = (np.arange(count) + 0.5) * (0.5 * math.pi / count)
        return np.stack([np.cos(angles), np.sin(angles)], axis=1), np.full(count, 1.0 / count)
    return _orthant(_weight_axis("uniform", 1.0, dimension, fine=fine), dimension)


def _orthant(axis: Rule, dimension: int) -> Rule:
    """Take the product of a rule on the positive half-line with itself."""
    nodes = np.array(list(itertools.product(axis[0], repeat=dimension)))
    weights = np.array([math.prod(part) for part in itertools.product(axis[1], repeat=dimension)])
    return nodes, weights
