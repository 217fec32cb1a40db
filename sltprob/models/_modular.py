"""Modular addition on two residues, learnt by quadratic units: all of it in nine dimensions.

Residues a and b mod p, all pairs alike, enter as x = (cos A, sin A, cos B, sin B), A = 2π a/p and B
likewise. With units (w.x)² the network is a quadratic form, f = x^T M x with M = Σ c_i w_i w_i^T,
and the target cos(A + B) is one too, M0, with eigenvalues ½, ½, -½, -½. Of the ten entries of M one
combination is not seen: K = diag(1, 1, -1, -1), since x^T K x = 0. The other nine give the
functions 1, cos 2A, sin 2A, cos 2B, sin 2B, cos(A ± B) and sin(A ± B), which are orthogonal for
every odd p; p itself does not matter.

Where the target is learnt: det(M0 + tK) = (t² + ¼)² is never zero, so that the weights of every
solution span R⁴, and there M can be moved in all of its directions by moving w. The loss is
nondegenerate in nine directions: λ = 9/2, m = 1, from four units on, of both signs.

Where zero is learnt: with w given the readout is regular, and Z is β^(-h/2) times the mean over w
of det G^(-½), G the Gram matrix of the units, while that mean is finite. det G^½ vanishes
like the square of w near w = 0 in R⁴, like the angle between two units in R³, and where h units lie
in h - 1 of the nine dimensions, which is one condition for h = 9, two for 8, three for 7. So
λ = h/2 up to h = 8, and at h = 9 a logarithm comes on top. More units have a Gram matrix of rank 9,
which falls to 8 on h - 8 conditions: λ = 9/2.

References
----------
A. Gromov, "Grokking modular arithmetic" (arXiv 2301.02679): quadratic units solve it by Fourier
modes.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from sltprob.models.base import Truth

__all__ = ["FEWEST_UNITS", "modular_solution", "modular_target", "quadratic_truth", "residue_pairs"]

FEWEST_UNITS = 4  # That reach the target: M0 + tK has rank four.
_FUNCTIONS = 9


def residue_pairs(residues: int) -> np.ndarray:
    """Give the embeddings of all pairs of residues, shape (residues², 4)."""
    angles = 2 * np.pi / residues * np.arange(residues)
    a, b = (part.ravel() for part in np.meshgrid(angles, angles))
    return np.stack([np.cos(a), np.sin(a), np.cos(b), np.sin(b)], axis=1)


def modular_target(x: Any) -> Any:
    """Evaluate cos(A + B) at embeddings x, shape (n, 4), of NumPy or JAX."""
    return x[:, 0] * x[:, 2] - x[:, 1] * x[:, 3]


def modular_solution(scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Give four readout and first weights, of size scale / 2, that reach the target."""
    readout = np.array([1.0, -1.0, -1.0, 1.0]) / scale**2
    weights = np.array([[1, 0, 1, 0], [1, 0, -1, 0], [0, 1, 0, 1], [0, 1, 0, -1]])
    return readout, 0.5 * scale * weights


def quadratic_truth(width: int, *, learns: bool) -> Truth:
    """Give λ of quadratic units that learn the target, or zero."""
    full = Fraction(_FUNCTIONS, 2)
    if learns:
        return Truth(full, 1, "nine functions, in all of which every solution is regular")
    # Conditions are counted, which is no proof, and exact values agree.
    source = "a regular readout in nine functions, and the conditions on which its rank falls"
    multiplicity = 2 if width == _FUNCTIONS else 1
    return Truth(min(Fraction(width, 2), full), multiplicity, source, "numerical")
