"""One-dimensional integrals over exp(-β L), from β = 0.1 to 10^12, with error estimates.

Everything is done on logarithms of the integrand, so nothing overflows, and every function
returns an `Integral`: log Z and λ̂ = E[β (L - L*)], each with the difference to a coarser rule.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import legendre
from scipy import optimize, special

from sltprob.exact import Exact

__all__ = [
    "Integral",
    "Well",
    "as_exact",
    "box_power",
    "log_trapezoid",
    "mellin_barnes",
    "wells",
]

# exp(-60) is 1e-26: what lies beyond is lost in rounding.
_NEGLIGIBLE = 60.0
_ROUNDING = 16 * float(np.finfo(float).eps)


@dataclass(frozen=True)
class Integral:
    """log Z and λ̂ at one inverse temperature, with error estimates."""

    log_partition: float
    lambda_hat: float
    # Absolute
    log_partition_error: float
    lambda_hat_error: float


def as_exact(beta: float, integral: Integral, method: str, *, improper: bool = False) -> Exact:
    """Turn an integral into an exact answer."""
    if improper:
        method += "; the prior is improper, so the free energy is undefined"
    return Exact(
        beta=beta,
        lambda_hat=integral.lambda_hat,
        mcse=integral.lambda_hat_error,
        free_energy=math.nan if improper else -integral.log_partition,
        free_energy_mcse=math.nan if improper else integral.log_partition_error,
        method=method,
    )


def _two_rules(
    log_fine: np.ndarray, energy_fine: np.ndarray, log_coarse: np.ndarray, energy_coarse: np.ndarray
) -> Integral:
    """Sum exp(log terms) by a fine rule; its error is the difference to a coarse one."""
    log_z, lambda_hat = _sums(log_fine, energy_fine)
    other_log_z, other_lambda_hat = _sums(log_coarse, energy_coarse)
    return Integral(
        log_z,
        lambda_hat,
        abs(log_z - other_log_z) + _ROUNDING * (1 + abs(log_z)),
        abs(lambda_hat - other_lambda_hat) + _ROUNDING * (1 + abs(lambda_hat)),
    )


def _sums(log_terms: np.ndarray, energies: np.ndarray) -> tuple[float, float]:
    top = float(np.max(log_terms))
    terms = np.exp(log_terms - top)
    total = math.fsum(terms.ravel())
    # A term of weight zero may have an infinite energy.
    weighted = np.where(terms > 0, terms * energies, 0.0)
    return top + math.log(total), math.fsum(weighted.ravel()) / total


def log_trapezoid(
    log_density: Callable[[np.ndarray], np.ndarray],
    energy: Callable[[np.ndarray], np.ndarray],
    lower: float,
    upper: float,
    step: float = 0.04,
) -> Integral:
    """Integrate over u, usually u = log w, by the trapezoidal rule with equally spaced nodes.

    It converges exponentially for an integrand that is analytic in a strip around the real axis
    and vanishes at both ends; the error estimate is the difference to twice the spacing, which
    is the square root of the true error.

    References
    ----------
    .. [1] L. N. Trefethen, J. A. C. Weideman, "The exponentially convergent trapezoidal rule",
       SIAM Review 56 (2014) 385-458.
    """
    nodes = np.arange(math.floor(lower / step), math.ceil(upper / step) + 1) * step
    logs = log_density(nodes)
    energies = energy(nodes)
    return _two_rules(
        logs + math.log(step), energies, logs[::2] + math.log(2 * step), energies[::2]
    )


@dataclass(frozen=True)
class Well:
    """A local minimum of a polynomial loss on a line, with its neighbourhood."""

    height: float  # Loss of the minimum above the global one
    taylor: tuple[float, ...]  # Coefficients of δ, δ², δ³, … in L(centre + δ) - L(centre)
    # How far the neighbourhood reaches on either side; may be infinite or zero
    left: float
    right: float


def wells(beta: float, minima: Sequence[Well]) -> Integral:
    """Integrate exp(-β L) over a line that is cut into the neighbourhoods of its minima.

    Each neighbourhood is covered by panels that grow with the distance from its minimum, with
    Gauss-Legendre rules on them; the error estimate is the difference between two orders.

    References
    ----------
    .. [1] P. J. Davis, P. Rabinowitz, Methods of Numerical Integration (Academic Press, 1984),
       section 2.12 (graded meshes).
    """
    rules = []
    for order in (24, 16):
        logs, energies = [], []
        for well in minima:
            for sign, reach in ((-1.0, well.left), (1.0, well.right)):
                if reach <= 0:
                    continue
                offsets, weights = _graded(beta, well.taylor, reach, order)
                rise = offsets * 0.0
                for coefficient in reversed(well.taylor):
                    rise = (rise + coefficient) * (sign * offsets)
                energy = beta * (well.height + rise)
                energies.append(energy)
                logs.append(np.log(weights) - energy)
        rules += [np.concatenate(logs), np.concatenate(energies)]
    return _two_rules(*rules)


def _graded(
    beta: float, taylor: tuple[float, ...], reach: float, order: int
) -> tuple[np.ndarray, np.ndarray]:
    """Make panels from the width of the minimum outwards, four to each doubling."""
    # Where the first of the terms reaches β |c_k| δ^k = 1.
    width = min(
        (beta * abs(coefficient)) ** (-1 / power)
        for power, coefficient in enumerate(taylor, start=1)
        if coefficient
    )
    # The last coefficient is that of an even, or one-sided, leading term; far out it rules.
    doublings = 40 + math.log2(
        max(1.0, (_NEGLIGIBLE / (beta * abs(taylor[-1]))) ** (1 / len(taylor)) / width)
    )
    edges = width * np.concatenate([[0.0], 2.0 ** np.arange(-2, doublings, 0.25)])
    edges = np.append(edges[edges < reach], min(reach, edges[-1]))
    nodes, weights = legendre.leggauss(order)
    half = np.diff(edges)[:, None] / 2
    keep = half[:, 0] > 0
    middle = (edges[1:] + edges[:-1])[:, None] / 2
    return (middle + half * nodes)[keep].ravel(), (half * weights)[keep].ravel()


def box_power(beta: float, power: float) -> tuple[float, float]:
    """Solve one coordinate with loss |w|^power and the uniform prior on [-1, 1].

    References
    ----------
    .. [1] NIST Digital Library of Mathematical Functions, section 8.2: both are incomplete gamma
       functions, Z = s β^(-s) γ(s, β) with s = 1/power.
    """
    s = 1 / power
    lower = float(special.gammainc(s, beta))
    log_z = math.log(s) + float(special.gammaln(s)) + math.log(lower) - s * math.log(beta)
    # E[β w^p] = γ(s + 1, β)/γ(s, β): the ratio has no cancellation at small β.
    return log_z, s * float(special.gammainc(s + 1, beta)) / lower


def mellin_barnes(
    beta: float, log_moment: Callable[[np.ndarray], np.ndarray], ceiling: float
) -> Integral:
    """Compute Z = E exp(-β L) from the moments of L, by the Mellin-Barnes integral.

    Z = (1/2πi) ∫ Γ(s) β^(-s) E[L^(-s)] ds on a vertical line 0 < Re s < λ, and the same with
    Γ(s + 1) gives λ̂ Z. The line goes through the saddle point, so that there is no cancellation,
    and the trapezoidal rule on it converges exponentially.

    References
    ----------
    .. [1] R. B. Paris, D. Kaminski, Asymptotics and Mellin-Barnes Integrals (Cambridge, 2001).
    """
    log_z, error_z = _vertical_line(beta, log_moment, ceiling, 0)
    log_top, error_top = _vertical_line(beta, log_moment, ceiling, 1)
    lambda_hat = math.exp(log_top - log_z)
    return Integral(log_z, lambda_hat, error_z, lambda_hat * (error_z + error_top))


def _vertical_line(
    beta: float, log_moment: Callable[[np.ndarray], np.ndarray], ceiling: float, shift: int
) -> tuple[float, float]:
    """Integrate Γ(s + shift) β^(-s) E[L^(-s)] / 2πi; give the log and its absolute error."""
    log_beta = math.log(beta)

    def log_integrand(s: np.ndarray) -> np.ndarray:
        return special.loggamma(s + shift) - s * log_beta + log_moment(s)

    def on_axis(position: float) -> float:
        # position in (0, 1) maps to the strip; squared at both ends to reach near the poles.
        c = _between(position, -shift, ceiling)
        return float(log_integrand(np.array([c + 0j]))[0].real)

    found = optimize.minimize_scalar(
        on_axis, bounds=(1e-9, 1 - 1e-9), method="bounded", options={"xatol": 1e-8}
    )
    c = _between(float(found.x), -shift, ceiling)
    top = on_axis(float(found.x))
    last = 1.0
    while log_integrand(np.array([c + 1j * last]))[0].real > top - 45:
        last *= 1.5
    count, previous, rounding = 256, math.nan, 0.0
    for _ in range(12):
        t = np.linspace(0.0, last, count + 1)
        values = np.exp(log_integrand(c + 1j * t) - top)
        values[0] *= 0.5
        total = math.fsum(values.real) * last / count / math.pi
        # The phase t log β is known to a relative rounding error only.
        sizes = np.abs(values) * (1 + t * (abs(log_beta) + 3))
        rounding = _ROUNDING * float(np.sum(sizes)) * last / count / math.pi
        if abs(total - previous) <= rounding:
            break
        previous, count = total, 2 * count
    return top + math.log(total), (abs(total - previous) + rounding) / total + _ROUNDING * abs(top)


def _between(position: float, lower: float, upper: float) -> float:
    return lower + (upper - lower) * position * position * (3 - 2 * position)
