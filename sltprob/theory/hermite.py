"""Hermite modes of single units and of random networks, to full relative precision.

A function f with finite ``E f(x)^2``, x ~ N(0, 1), is ``sum_k c_k he_k(x)`` with the normalised
Hermite polynomials ``he_k = He_k / sqrt(k!)`` and ``E f^2 = sum_k c_k^2``. The coefficients of
``phi(w x)`` fall off so fast that a quadrature of ``phi(w x) he_k(x)``, whose terms cancel, has no
digits left at k of a few dozen. Here they come from the sine transform of phi instead. With

    tanh(z) = integral_0^oo sin(t z) / sinh(pi t / 2) dt,
    E[sin(u x) He_k(x)] = (-1)^((k-1)/2) u^k exp(-u^2 / 2)   (k odd, else 0),

and u = t w (w > 0), the coefficient is an integral of *positive* terms,

    c_k(w) = (-1)^((k-1)/2) / sqrt(k!) integral_0^oo u^k exp(-u^2/2) / (w sinh(pi u / 2 w)) du,

which the trapezoidal rule in log u gives to about 1e-13 of itself at any k and w. The other
activations have closed forms, or reduce to this one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

__all__ = [
    "ACTIVATIONS",
    "LARGEST_ORDER",
    "SlopeFit",
    "coefficients",
    "fit_slope",
    "fourier_coefficients",
    "hermite_polynomials",
    "network_coefficients",
    "normalised_hermite",
    "predicted_slope",
    "random_networks",
    "sampled_coefficients",
]

type Array = NDArray[np.float64]

#: Smallest slope that the rule in log u serves; below it tanh(w x) is w x to double precision.
_SMALLEST_SLOPE = 1e-8
#: Largest mode that is computed.
LARGEST_ORDER = 2000


def normalised_hermite(order: int, x: ArrayLike) -> Array:
    """Evaluate he_0 ... he_order at x.

    References
    ----------
    Abramowitz, M. and Stegun, I. A. (1972). Handbook of Mathematical Functions, 22.7.14.
    """
    _check_order(order)
    return np.stack(hermite_polynomials(order, np.asarray(x, dtype=float)))


def hermite_polynomials(order: int, x: Any, module: Any = np) -> list[Any]:
    """Evaluate he_0 ... he_order at x; `module` is numpy or jax.numpy."""
    values = [module.ones_like(x), x]
    for k in range(1, order):
        # Degree and values grow together: this recurrence, unlike that of He_k, does not overflow.
        values.append((x * values[k] - math.sqrt(k) * values[k - 1]) / math.sqrt(k + 1))
    return values[: order + 1]


def coefficients(slopes: ArrayLike, order: int, activation: str = "tanh") -> Array:
    """Compute the normalised Hermite coefficients of ``phi(w x)`` for x ~ N(0, 1).

    References
    ----------
    Boyd, J. P. (1984). Asymptotic coefficients of Hermite function series. Journal of
    Computational Physics 54, 382-410.
    Gradshteyn, I. S. and Ryzhik, I. M. (2007). Table of Integrals, Series, and Products, 3.981.1.
    """
    _check_order(order)
    w = np.atleast_1d(np.asarray(slopes, dtype=float))
    if w.ndim != 1 or not np.isfinite(w).all():
        raise ValueError("slopes must be finite numbers along one axis; write slopes=[0.5, 1.0].")
    if activation not in ACTIVATIONS:
        raise ValueError(
            f"activation={activation!r}, but it must be one of {', '.join(ACTIVATIONS)}."
        )
    return ACTIVATIONS[activation](w, order)


def network_coefficients(
    readouts: ArrayLike, slopes: ArrayLike, order: int, activation: str = "tanh"
) -> Array:
    """Compute the Hermite coefficients of networks ``f(x) = sum_i a_i phi(w_i x)``.

    References
    ----------
    Boyd, J. P. (1984). Asymptotic coefficients of Hermite function series. Journal of
    Computational Physics 54, 382-410.
    """
    a, w = np.asarray(readouts, dtype=float), np.asarray(slopes, dtype=float)
    if a.shape != w.shape or a.ndim != 2:
        raise ValueError(
            f"readouts have shape {a.shape} and slopes {w.shape}, but both must have the same "
            "shape (networks, h)."
        )
    rows = [one @ coefficients(other, order, activation) for one, other in zip(a, w, strict=True)]
    return np.array(rows)


def sampled_coefficients(function_values: ArrayLike, x: ArrayLike, order: int) -> Array:
    """Estimate Hermite coefficients from random inputs, as an empirical loss would.

    References
    ----------
    Owen, A. B. (2013). Monte Carlo theory, methods and examples, chapter 2.
    """
    values, points = np.asarray(function_values, dtype=float), np.asarray(x, dtype=float)
    if values.shape != points.shape or points.ndim != 1 or not len(points):
        raise ValueError(
            f"function_values have shape {values.shape} and x {points.shape}, but both must have "
            "the same shape (n,)."
        )
    estimate: Array = normalised_hermite(order, points) @ values / len(points)
    return estimate


def fourier_coefficients(slopes: ArrayLike, order: int) -> Array:
    """Compute the Fourier coefficients of ``tanh(r cos t)``, t uniform on the circle.

    Notes
    -----
    The path of integration goes nine tenths of the way to the pole, where the terms have the size
    of the result, so that small coefficients keep their digits.

    References
    ----------
    Trefethen, L. N. and Weideman, J. A. C. (2014). The exponentially convergent trapezoidal rule.
    SIAM Review 56, 385-458.
    """
    _check_order(order)
    lengths = np.atleast_1d(np.asarray(slopes, dtype=float))
    if not (np.isfinite(lengths).all() and (lengths > 0).all()):
        raise ValueError("slopes of the circle are lengths: finite numbers above 0, such as [1.0].")
    found = np.zeros((len(lengths), order + 1))
    orders = np.arange(order + 1)
    for row, length in zip(found, lengths, strict=True):
        depth = 0.9 * math.asinh(math.pi / (2.0 * length))
        # The pole is at a tenth of the depth from the path.
        count = 2 * math.ceil(0.5 * max(4 * order + 64, 400.0 / (0.1 / 0.9 * depth)))
        angles = 2.0 * math.pi * np.arange(count) / count
        values = np.tanh(length * np.cos(angles - 1j * depth))
        means = np.fft.fft(values)[: order + 1] / count
        row[:] = (means * np.exp(-orders * depth)).real
    found[:, 1:] *= math.sqrt(2.0)
    found[:, ::2] = 0.0
    return found


@dataclass(frozen=True)
class SlopeFit:
    """A straight line through log c_k^2 against the square root of k, or k itself."""

    slope: float
    error: float  # Standard error of the slope from the scatter about the line, or between networks
    intercept: float
    # The modes that were fitted
    first: int
    last: int


def fit_slope(
    log_squares: ArrayLike, first: int = 21, last: int = 199, *, root: bool = True
) -> SlopeFit:
    """Fit log c_k^2 = intercept + slope sqrt(k) over the odd k from first to last.

    References
    ----------
    Draper, N. R. and Smith, H. (1998). Applied Regression Analysis, 3rd ed., Wiley.
    """
    rows = np.atleast_2d(np.asarray(log_squares, dtype=float))
    modes = np.arange(first + 1 - first % 2, min(last, rows.shape[1] - 1) + 1, 2)
    if len(modes) < 3 or not np.isfinite(rows[:, modes]).all():
        raise ValueError(
            f"modes {first} to {last} hold {len(modes)} odd ones, and at least 3 finite values are "
            "needed; write first=21, last=199."
        )
    x = np.sqrt(modes) if root else modes.astype(float)
    design = np.stack([np.ones_like(x), x], axis=1)
    fits = np.linalg.lstsq(design, rows[:, modes].T, rcond=None)[0].T
    if len(rows) > 1:
        error = float(fits[:, 1].std(ddof=1)) / math.sqrt(len(rows))
    else:
        residuals = rows[0, modes] - design @ fits[0]
        variance = float(residuals @ residuals) / (len(modes) - 2)
        error = math.sqrt(variance / float(np.sum((x - x.mean()) ** 2)))
    intercept, slope = (float(value) for value in fits.mean(axis=0))
    return SlopeFit(slope, error, intercept, int(modes[0]), int(modes[-1]))


def predicted_slope(largest_slope: float = 1.0) -> float:
    """Predict the limit of d log c_k^2 / d sqrt(k) from the pole of tanh nearest to the real axis.

    References
    ----------
    Hille, E. (1940). Contributions to the theory of Hermitian series II. Transactions of the AMS
    47, 80-94 (coefficients fall like exp(-tau sqrt(2k + 1)) for a strip of half-width tau; in the
    probabilists' normalisation exp(-tau sqrt(k))).
    """
    if not 0 < largest_slope < math.inf:
        raise ValueError(f"largest_slope={largest_slope!r} must be above 0; write 1.0.")
    return -math.pi / largest_slope


def _check_order(order: int) -> None:
    if not 0 <= order <= LARGEST_ORDER:
        raise ValueError(
            f"order={order!r}, but it must be from 0 to {LARGEST_ORDER}; write order=250."
        )


def _signs(orders: NDArray[np.int64]) -> Array:
    return np.where(orders % 4 == 1, 1.0, -1.0)


def _tanh(w: Array, order: int) -> Array:
    found = np.zeros((len(w), order + 1))
    odd = np.arange(1, order + 1, 2)
    if not len(odd):
        return found
    sizes = np.maximum(np.abs(w), _SMALLEST_SLOPE)
    # exp(-u^2/2) u^k has the width 1/sqrt(2 k) in log u; with this step the error of the
    # trapezoidal rule is below 1e-16 of the integral.
    step = min(0.1, 0.45 / math.sqrt(order))
    top = math.sqrt(order) + 9.0
    bottom = float(sizes.min()) * 1e-17
    # Not arange(start, stop, step): that rounds the step to the digits of the start.
    logs = math.log(bottom) + step * np.arange(math.ceil(math.log(top / bottom) / step))
    u = np.exp(logs)
    # d u = u d log u. The exponent is a small difference of numbers of several hundred: it takes
    # more digits than a double has to give the power all of its own.
    fine = logs.astype(np.longdouble)
    factorials = np.cumsum(np.log(np.arange(1, order + 1, dtype=np.longdouble)))[odd - 1]
    exponents = (odd[:, None] + 1) * fine - np.exp(2.0 * fine) / 2.0 - factorials[:, None] / 2.0
    powers = np.zeros(exponents.shape)
    # Below that a double is zero; it is most of them, and more digits take their time.
    seen = exponents > -800.0
    powers[seen] = np.exp(exponents[seen])
    for rows in np.array_split(np.arange(len(w)), max(1, len(w) * len(u) // 1_000_000)):
        z = 0.5 * math.pi * u[:, None] / sizes[rows]
        # 1/sinh(z) = 2 e^-z / (1 - e^-2z), without overflow at large z.
        inverse = 2.0 * np.exp(-z) / -np.expm1(-2.0 * z) / sizes[rows]
        values = step * _signs(odd) * (powers @ inverse).T
        found[np.ix_(rows, odd)] = values * np.sign(w[rows])[:, None]
    tiny = np.abs(w) < _SMALLEST_SLOPE
    found[tiny] = 0.0
    found[tiny, 1] = w[tiny]
    return found


def _sin(w: Array, order: int) -> Array:
    found = np.zeros((len(w), order + 1))
    odd = np.arange(1, order + 1, 2)
    with np.errstate(divide="ignore"):
        logs = odd * np.log(np.abs(w))[:, None] - 0.5 * (w**2)[:, None]
    values = np.exp(logs - 0.5 * special.gammaln(odd + 1.0))
    found[:, odd] = _signs(odd) * values * np.sign(w)[:, None]
    return found


def _erf(w: Array, order: int) -> Array:
    # erf(z) = (2/pi) integral_0^oo sin(t z) exp(-t^2/4) / t dt gives a Gamma function.
    found = np.zeros((len(w), order + 1))
    odd = np.arange(1, order + 1, 2)
    with np.errstate(divide="ignore"):
        logs = 0.5 * odd * np.log(w**2 / (0.5 * w**2 + 0.25))[:, None]
    logs = logs + special.gammaln(0.5 * odd) - 0.5 * special.gammaln(odd + 1.0) - math.log(math.pi)
    found[:, odd] = _signs(odd) * np.exp(logs) * np.sign(w)[:, None]
    return found


def _relu(w: Array, order: int) -> Array:
    # The second derivative is a delta: E[relu he_k] = He_{k-2}(0) / sqrt(2 pi k!).
    found = np.zeros((len(w), order + 1))
    size = np.abs(w)
    found[:, 0] = size / math.sqrt(2.0 * math.pi)
    if order >= 1:
        found[:, 1] = 0.5 * w
    for k in range(2, order + 1, 2):
        half = (k - 2) // 2
        log = (
            special.gammaln(k - 1.0)
            - special.gammaln(half + 1.0)
            - half * math.log(2.0)
            - 0.5 * special.gammaln(k + 1.0)
        )
        found[:, k] = size * (-1.0) ** half * math.exp(log) / math.sqrt(2.0 * math.pi)
    return found


def _softplus(w: Array, order: int) -> Array:
    # Its derivative is 1/2 + tanh(z/2)/2, and sqrt(k) c_k(f) = c_{k-1}(f').
    found = np.zeros((len(w), order + 1))
    if order >= 1:
        derivative = 0.5 * _tanh(0.5 * w, order - 1)
        derivative[:, 0] += 0.5
        found[:, 1:] = w[:, None] * derivative / np.sqrt(np.arange(1, order + 1))
    nodes = 0.01 * np.arange(-1200, 1201)
    weights = np.exp(-0.5 * nodes**2)
    found[:, 0] = np.logaddexp(0.0, w[:, None] * nodes) @ (weights / weights.sum())
    return found


def _gelu(w: Array, order: int) -> Array:
    # z Phi(z), and x he_k = sqrt(k+1) he_{k+1} + sqrt(k) he_{k-1}.
    gate = 0.5 * _erf(w / math.sqrt(2.0), order + 1)
    gate[:, 0] += 0.5
    roots = np.sqrt(np.arange(order + 2))
    found = gate[:, 1:] * roots[1:]
    found[:, 1:] += gate[:, :-2] * roots[1:-1]
    return found * w[:, None]


#: Coefficients of phi(w x) by activation.
ACTIVATIONS: dict[str, Callable[[Array, int], Array]] = {
    "tanh": _tanh,
    "erf": _erf,
    "sin": _sin,
    "relu": _relu,
    "softplus": _softplus,
    "gelu": _gelu,
}


def random_networks(
    draw_slopes: Callable[[np.random.Generator, tuple[int, ...]], Array],
    *,
    width: int,
    networks: int,
    seed: int = 0,
) -> tuple[Array, Array]:
    """Draw readouts and slopes of networks from their prior.

    References
    ----------
    Neal, R. M. (1996). Bayesian Learning for Neural Networks, Springer, chapter 2.
    """
    if width < 1 or networks < 1:
        raise ValueError(f"width={width}, networks={networks}: both must be 1 or more, such as 40.")
    generator = np.random.default_rng(seed)
    slopes = draw_slopes(generator, (networks, width))
    readouts = generator.normal(0.0, 1.0, (networks, width))
    return readouts, slopes
