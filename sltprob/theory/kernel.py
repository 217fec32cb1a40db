"""The infinitely wide network: the spectrum of its kernel, and the lambda-hat that this predicts.

With ``f(x) = sum_i a_i phi(w_i x)``, ``a_i ~ N(0, sigma^2)`` and many units that keep their prior,
``sum_i phi(w_i x) phi(w_i x')`` is close to ``h E_w[phi(w x) phi(w x')]``. Let kappa_k be the
eigenvalues of ``h sigma^2`` times this kernel on L^2 of the inputs. Then

    lambda_hat(beta) = 1/2 sum_k 2 beta kappa_k / (1 + 2 beta kappa_k),
    F(beta)          = 1/2 sum_k log(1 + 2 beta kappa_k):

half the number of resolved modes. The eigenvalues are squared singular values of the matrix
``sqrt(v_j) phi(w_j x_q) sqrt(u_q)`` with one rule for w and one for x, never eigenvalues of the
kernel matrix: these would end at 1e-16 of the largest, and at beta = 1e24 the small ones count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from sltprob.theory import hermite

__all__ = [
    "Kernel",
    "input_rule",
    "mode_amplitudes",
    "nngp_kernel",
    "resolved_shares",
    "slope_rule",
    "spectrum_of_modes",
]

type Array = NDArray[np.float64]

_FAMILIES = ("uniform", "normal")
# exp(-x^2/2) is 1e-31 there: what lies beyond is below the square of double precision.
_CUT_OFF = 12.0
_LARGEST_SLOPE = 100.0
# Beyond, 2 beta kappa_1 eps^2 is no longer small.
_LARGEST_RESOLVED = 1e-3 / np.finfo(float).eps ** 2


def resolved_shares(eigenvalues: Array, beta: float) -> Array:
    """Give the share of each mode that is resolved, ``2 beta kappa / (1 + 2 beta kappa)``.

    References
    ----------
    Rasmussen, C. E. and Williams, C. K. I. (2006). Gaussian Processes for Machine Learning, MIT
    Press, section 2.6.
    """
    resolved = 2.0 * beta * eigenvalues
    return resolved / (1.0 + resolved)


@dataclass(frozen=True, eq=False)
class Kernel:
    """Hold the spectrum of the kernel of an infinitely wide network."""

    # Shape (k,), dimensionless: kappa, ``h sigma^2`` included, in decreasing order
    eigenvalues: Array
    # Shape (k, k): E_w[v_j(w)^2 v_k(w)^2] of its eigenfunctions on the weights w
    overlaps: Array
    width: int
    name: str

    def lambda_hat(self, beta: float) -> float:
        """Predict lambda-hat.

        References
        ----------
        Neal, R. M. (1996). Bayesian Learning for Neural Networks, Springer, chapter 2.
        """
        return float(0.5 * np.sum(self._shares(beta)))

    def free_energy(self, beta: float) -> float:
        """Predict the free energy, in nats.

        References
        ----------
        Rasmussen, C. E. and Williams, C. K. I. (2006). Gaussian Processes for Machine Learning,
        MIT Press, chapter 2.
        """
        return float(0.5 * np.sum(np.log1p(self._resolved(beta))))

    def width_correction(self, beta: float) -> float:
        """Give the first term of lambda-hat in 1 / h beyond the infinitely wide network.

        Notes
        -----
        Let the Gram matrix of h units be its mean and delta. In F = -log E exp(-1/2 log det) the
        terms of second order are ``-1/4 E tr (R delta)^2 - 1/8 Var tr R delta``, with the resolvent
        R of the mean. Units are independent, so that with ``t_k = 2 beta kappa_k / (1 + 2 beta
        kappa_k)`` and the overlaps M

            F_1 = (-3/8 t'M t + 1/4 t't + 1/8 (sum t)^2) / h,

        whose derivative by log beta this is. It holds while w keeps its prior.

        References
        ----------
        Yaida, S. (2020). Non-Gaussian processes and neural networks at finite widths. PMLR 107,
        165-192 (perturbation in 1 / h).
        """
        shares = self._shares(beta)
        slopes = shares * (1.0 - shares)
        terms = -0.75 * shares @ self.overlaps @ slopes + 0.5 * shares @ slopes
        return float(terms + 0.25 * shares.sum() * slopes.sum()) / self.width

    @property
    def largest_beta(self) -> float:
        """The largest beta that double precision resolves."""
        return _LARGEST_RESOLVED / (2.0 * float(self.eigenvalues[0]))

    def _shares(self, beta: float) -> Array:
        self._resolved(beta)  # refuses a beta that is out of range
        return resolved_shares(self.eigenvalues, beta)

    def _resolved(self, beta: float) -> Array:
        top = self.largest_beta
        if not 0 < beta <= top:
            raise ValueError(
                f"beta={beta!r}, but it must be above 0 and at most {top:.2g}, where double "
                "precision ends; write beta=1e12."
            )
        return 2.0 * beta * self.eigenvalues


def slope_rule(family: str, scale: float, num_nodes: int = 200) -> tuple[Array, Array]:
    """Build a quadrature rule for the prior of an embedding weight.

    References
    ----------
    Trefethen, L. N. (2008). Is Gauss quadrature better than Clenshaw-Curtis? SIAM Review 50, 67-87.
    """
    if family not in _FAMILIES or not 0 < scale <= _LARGEST_SLOPE or num_nodes < 2:
        raise ValueError(
            f"family={family!r}, scale={scale!r}, num_nodes={num_nodes!r}: the family must be "
            f"uniform or normal, the scale from 0 to {_LARGEST_SLOPE:g}, the nodes at least 2."
        )
    nodes, weights = special.roots_legendre(num_nodes)
    if family == "uniform":
        return scale * nodes, weights / 2.0
    # Gauss-Hermite nodes lie too thin where tanh(w x) turns; equally spaced ones do not.
    nodes = _CUT_OFF * nodes
    densities = weights * np.exp(-0.5 * nodes**2)
    return scale * nodes, densities / densities.sum()


def input_rule(largest_slope: float) -> tuple[Array, Array]:
    """Build a rule on x ~ N(0, 1), both signs, whose error is near the square of double precision.

    Notes
    -----
    The product of two units has its poles at ``i pi / 2 w``, so the error is
    ``exp(-pi^2 / (w spacing))``: e^-66 here. Finer than the rules of `sltprob.quadrature`, whose
    1e-13 would show in eigenvalues below that, from beta = 1e14 on.

    References
    ----------
    Trefethen, L. N. and Weideman, J. A. C. (2014). The exponentially convergent trapezoidal rule.
    SIAM Review 56, 385-458.
    """
    if not 0 < largest_slope <= 10.0 * _LARGEST_SLOPE:
        raise ValueError(
            f"largest_slope={largest_slope!r} must be above 0 and at most "
            f"{10 * _LARGEST_SLOPE:g}; write 1.0."
        )
    spacing = 0.15 / max(1.0, largest_slope)
    count = math.ceil(_CUT_OFF / spacing)
    positive = (np.arange(count) + 0.5) * spacing
    nodes = np.concatenate([-positive[::-1], positive])
    weights = np.exp(-0.5 * nodes**2)
    return nodes, weights / weights.sum()


def nngp_kernel(
    width: int,
    family: str = "uniform",
    scale: float = 1.0,
    *,
    readout_scale: float = 1.0,
    activation: str = "tanh",
) -> Kernel:
    """Compute the spectrum of ``h sigma^2 E_w[phi(w x) phi(w x')]``, x ~ N(0, 1).

    Notes
    -----
    For odd activations the kernel is odd in x and even in w, so half of both axes serves.

    References
    ----------
    Neal, R. M. (1996). Bayesian Learning for Neural Networks, Springer, chapter 2.
    Williams, C. K. I. (1998). Computation with infinite neural networks. Neural Computation 10,
    1203-1216.
    """
    if width < 1 or not 0 < readout_scale < math.inf:
        raise ValueError(
            f"width={width!r}, readout_scale={readout_scale!r}: the width must be 1 or more and "
            "the scale finite and above 0; write width=128, readout_scale=1.0."
        )
    functions = {"tanh": np.tanh, "erf": special.erf, "sin": np.sin}
    if activation not in functions:
        raise ValueError(f"activation={activation!r} must be one of {', '.join(functions)}.")
    slopes, slope_weights = slope_rule(family, scale, 400 if family == "normal" else 200)
    kept = slopes > 0
    # A normal weight above 8 standard deviations does not occur, and would need twice the nodes.
    if family == "normal":
        kept &= slopes < 8.0 * scale
    x, x_weights = input_rule(float(slopes[kept].max()))
    positive = x > 0
    features = functions[activation](np.outer(slopes[kept], x[positive]))
    factor = (
        np.sqrt(2.0 * slope_weights[kept])[:, None]
        * features
        * np.sqrt(2.0 * x_weights[positive])
        * (readout_scale * math.sqrt(width))
    )
    # Without vectors the small values have some more digits.
    singular = np.linalg.svd(factor, compute_uv=False)
    # The eigenfunctions, squared, times the weights of the rule.
    squares = np.linalg.svd(factor, full_matrices=False)[0] ** 2
    overlaps = squares.T @ (squares / (2.0 * slope_weights[kept])[:, None])
    name = f"{activation}, h={width}, w ~ {family}[{scale:g}]"
    return Kernel(singular**2, overlaps, width, name)


def mode_amplitudes(
    width: int,
    family: str = "uniform",
    scale: float = 1.0,
    order: int = 99,
    *,
    readout_scale: float = 1.0,
) -> Array:
    """Give the odd Hermite modes of tanh(w x) over the prior of w, shape (weights, modes).

    Squares of singular values of the first K columns are the spectrum of the kernel that sees only
    these modes; the sum of squares of column k is the mean square of mode 2k + 1 of a network.

    References
    ----------
    Hille, E. (1940). Contributions to the theory of Hermitian series II. Transactions of the AMS
    47, 80-94.
    """
    slopes, weights = slope_rule(family, scale, 400 if family == "normal" else 200)
    kept = slopes > 0
    modes = hermite.coefficients(slopes[kept], order)[:, 1::2]
    factor = readout_scale * np.sqrt(2.0 * width * weights[kept])
    amplitudes: Array = factor[:, None] * modes
    return amplitudes


def spectrum_of_modes(modes: ArrayLike) -> Array:
    """Give the eigenvalues of G = C C^T for a matrix of mode coefficients C.

    References
    ----------
    Golub, G. H. and Van Loan, C. F. (2013). Matrix Computations, 4th ed., section 8.6.
    """
    matrix = np.asarray(modes, dtype=float)
    if matrix.ndim < 2:
        raise ValueError(f"modes have shape {matrix.shape}, but it must be (..., h, K).")
    squares: Array = np.linalg.svd(matrix, compute_uv=False) ** 2
    return squares
