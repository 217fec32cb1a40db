"""Rules on the input space: expectations over x ~ N(0, 1) as finite sums, with an error estimate.

The population loss of a model is ``L = E_x[f(x)^2]``. Here the expectation is a sum over fixed
nodes, never over sampled inputs, so the loss has no sampling noise. All rules in this module keep
the positive nodes only, with doubled weights: they are for *even* integrands, such as products
``tanh(w x) tanh(w' x)`` of odd functions.

Equally spaced nodes with Gaussian weights converge exponentially for functions analytic in a strip
around the real axis, as fast as the strip is wide. The poles of ``tanh(w x)`` nearest to the axis
are at ``+-i pi / (2 w)``, so the spacing that a tolerance needs is inversely proportional to the
largest slope ``|w|``. Gauss-Hermite rules spread their nodes over ``sqrt(2 Q)`` standard deviations
and need many more of them once ``|w| > 1``.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

__all__ = ["Rule", "gauss_hermite", "gaussian_half_line", "gaussian_midpoint"]

MAX_NODES = 20_000
# Double precision sums of squares carry a few 1e-16: an estimate below this would be noise.
SMALLEST_TOLERANCE = 1e-14
LARGEST_TOLERANCE = 1e-2
LARGEST_SLOPE = 2000.0
# Slopes at which the error is measured, as fractions of the largest: dense at the top, where the
# spacing matters, and log-spaced to zero, where tanh(w x) is w x and the cut-off matters.
SLOPE_FRACTIONS = np.array([1.0, 0.9, 0.8, 0.65, 0.5, 0.3, 0.1, 1e-2, 1e-4, 1e-6])
# exp(-x^2/2) x^2 is 1e-21 there.
REFERENCE_CUT_OFF = 10.0


@dataclass(frozen=True, eq=False)
class Rule:
    """Hold nodes and weights that turn an expectation over the input into a sum."""

    # Shape (Q,): Values of the input x, all positive in the rules of this module
    nodes: NDArray[np.float64]
    weights: NDArray[np.float64]  # shape (Q,), dimensionless: Weights of the nodes; they sum to 1
    error: float  # Estimate of the relative error, to two digits, see `gaussian_half_line`
    name: str  # what the rule is, for example ``"midpoint[spacing=0.2,nodes=40]"``


def gaussian_half_line(max_slope: float, tolerance: float = 1e-13) -> Rule:
    """Choose the midpoint rule with the fewest nodes for products of tanh, x ~ N(0, 1).

    The rule approximates ``G(w, w') = E[tanh(w x) tanh(w' x)]``, x ~ N(0, 1), for all ``|w|, |w'|
    <= max_slope``. Among the pairs (spacing, cut-off) it takes those with the fewest nodes whose
    error is at most `tolerance`.

    Notes
    -----
    The error is the maximum over pairs of slopes of ``|G_rule(w, w') - G(w, w')| / sqrt(G(w, w)
    G(w', w'))``, so it is relative to the own size of each product and holds for tiny slopes too. G
    is taken from a rule with a spacing and a cut-off beyond double precision; the slopes are ten
    values, log-spaced down to ``1e-6 max_slope``: an estimate, not a bound.

    What this means for ``L = E f^2``, ``f = sum_i a_i tanh(w_i x)``: the absolute error of L is at
    most ``error (sum_i |a_i| sqrt(G_ii))^2 <= error h |a|^2 max_i G_ii``. At draws from a prior,
    where the terms do not cancel, that is a relative error of the size of `error`. In *cancelling*
    combinations (a along a flat direction of G, where L is far below ``sum_i a_i^2 G_ii``) the
    relative error of L can be of any size: the rule then defines another loss, just as flat to
    within the absolute error above. A posterior at inverse temperature beta does not see that
    absolute error while ``2 beta error trace(G)`` is well below 1; beyond, it samples the model in
    which x takes the values of the nodes, which is as singular as the original but has slightly
    different small eigenvalues.

    References
    ----------
    Trefethen, L. N. and Weideman, J. A. C. (2014). The exponentially convergent trapezoidal rule.
    SIAM Review 56, 385-458.
    """
    _check_max_slope(max_slope)
    if not SMALLEST_TOLERANCE <= tolerance <= LARGEST_TOLERANCE:
        raise ValueError(
            f"tolerance={tolerance!r}, but it must be from {SMALLEST_TOLERANCE:g} to "
            f"{LARGEST_TOLERANCE:g}; write tolerance=1e-13, or build a finer rule with "
            "gaussian_midpoint(spacing, num_nodes)."
        )
    gauge = _Gauge(max_slope)
    too_few, enough = 0, 8
    best = gauge.best_rule(enough, tolerance)
    while best.error > tolerance:
        if enough == MAX_NODES:
            raise ValueError(
                f"max_slope={max_slope!r} with tolerance={tolerance!r} needs more than {MAX_NODES} "
                "nodes; slopes up to about 500 would do at tolerance=1e-13; write a smaller "
                "max_slope (6.0 for standard normal weights) or a larger tolerance."
            )
        too_few, enough = enough, min(2 * enough, MAX_NODES)
        best = gauge.best_rule(enough, tolerance)
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        candidate = gauge.best_rule(middle, tolerance)
        if candidate.error <= tolerance:
            enough, best = middle, candidate
        else:
            too_few = middle
    return best


def gaussian_midpoint(spacing: float, num_nodes: int, max_slope: float = 1.0) -> Rule:
    """Build the midpoint rule of a given spacing and number of nodes.

    References
    ----------
    Trefethen, L. N. and Weideman, J. A. C. (2014). The exponentially convergent trapezoidal rule.
    SIAM Review 56, 385-458.
    """
    _check_num_nodes(num_nodes)
    if not (math.isfinite(spacing) and spacing > 0):
        raise ValueError(
            f"spacing={spacing!r}, but it must be a finite number above 0; write spacing=0.2."
        )
    return _Gauge(_check_max_slope(max_slope)).midpoint(spacing, num_nodes)


def gauss_hermite(num_nodes: int, max_slope: float = 1.0) -> Rule:
    """Build the positive half of the Gauss-Hermite rule with twice as many nodes.

    Independent of the midpoint rules, for tests. Outer weights may underflow to zero, which is
    harmless.

    References
    ----------
    Townsend, A., Trogdon, T. and Olver, S. (2016). Fast computation of Gauss quadrature nodes and
    weights on the whole real line. IMA Journal of Numerical Analysis 36, 337-358 (as in
    scipy.special.roots_hermitenorm).
    """
    _check_num_nodes(num_nodes)
    # numpy.polynomial.hermite_e.hermegauss overflows above about 300 nodes; this one does not.
    nodes, weights = special.roots_hermitenorm(2 * num_nodes)
    nodes, weights = nodes[num_nodes:], weights[num_nodes:]
    weights = weights / weights.sum()
    error = _Gauge(_check_max_slope(max_slope)).error(nodes, weights)
    return Rule(nodes, weights, error, f"gauss_hermite[nodes={num_nodes}]")


class _Gauge:
    """Measure the error of rules for slopes up to a largest one."""

    def __init__(self, max_slope: float) -> None:
        self.slopes = max_slope * SLOPE_FRACTIONS
        # The pole at i pi / (2 w) makes the error exp(-pi^2 / (w spacing)), Gaussian decay alone
        # exp(-2 pi^2 / spacing^2): both are far below double precision here.
        spacing = min(0.35, 0.2 / max_slope)
        nodes, weights = _midpoints(spacing, math.ceil(REFERENCE_CUT_OFF / spacing))
        gram = self._gram(nodes, weights)
        self.norms = np.sqrt(np.diagonal(gram))
        self.reference = gram / np.outer(self.norms, self.norms)

    def _gram(
        self, nodes: NDArray[np.float64], weights: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        features = np.sqrt(weights) * np.tanh(self.slopes[:, None] * nodes)
        gram: NDArray[np.float64] = features @ features.T
        return gram

    def error(self, nodes: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
        """Give the largest error over all pairs of slopes, relative to the size of each pair."""
        gram = self._gram(nodes, weights) / np.outer(self.norms, self.norms)
        error = np.max(np.abs(gram - self.reference))
        # To two digits: the others differ between processors, and with them the choice of a rule.
        return float(f"{error:.1e}")

    def midpoint(self, spacing: float, num_nodes: int) -> Rule:
        """Build a midpoint rule with its error."""
        nodes, weights = _midpoints(spacing, num_nodes)
        return Rule(
            nodes,
            weights,
            self.error(nodes, weights),
            f"midpoint[spacing={spacing:.12g},nodes={num_nodes}]",
        )

    def best_rule(self, num_nodes: int, tolerance: float) -> Rule:
        """Give the rule with the smallest error for a number of nodes, over a range of cut-offs."""
        cut_offs = _cut_off(tolerance) * np.linspace(0.92, 1.05, 14)
        # Four digits, so that the name of the rule says exactly what it is.
        spacings = sorted({float(f"{cut_off / num_nodes:.4g}") for cut_off in cut_offs})
        return min((self.midpoint(s, num_nodes) for s in spacings), key=lambda rule: rule.error)


def _midpoints(spacing: float, num_nodes: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    nodes = np.asarray(spacing * (np.arange(num_nodes) + 0.5), dtype=np.float64)
    weights = np.exp(-0.5 * nodes**2)
    return nodes, np.asarray(weights / weights.sum(), dtype=np.float64)


def _cut_off(tolerance: float) -> float:
    """Solve ``2 c phi(c) = tolerance``: the part of E[x^2], the worst case, that lies beyond c."""
    cut_off = 5.0
    for _ in range(30):
        cut_off = math.sqrt(2.0 * math.log(2.0 * cut_off / (math.sqrt(2.0 * math.pi) * tolerance)))
    return cut_off


def _check_max_slope(max_slope: float) -> float:
    # Beyond the limit the reference rule, finer than any rule that is returned, costs too much.
    if not 0 < max_slope <= LARGEST_SLOPE:
        raise ValueError(
            f"max_slope={max_slope!r}, but it must be above 0 and at most {LARGEST_SLOPE:g}, or no "
            f"rule of {MAX_NODES} nodes serves; write max_slope=1.0 for weights in [-1, 1], or 6.0 "
            "for standard normal ones."
        )
    return max_slope


def _check_num_nodes(num_nodes: int) -> None:
    if not 1 <= num_nodes <= MAX_NODES:
        raise ValueError(
            f"num_nodes={num_nodes!r}, but it must be from 1 to {MAX_NODES}; write num_nodes=40."
        )
