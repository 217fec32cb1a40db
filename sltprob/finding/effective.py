"""Effective theories: modes above a threshold, a loss cut to its first modes, and hard walls.

Chen and Murfet [1]_ keep the modes whose amplitude is above a threshold, which the data and the
inverse temperature set, and argue that what is measured is the geometry of what is kept. Their
modes are singular vectors of the distribution that is learnt. Here it is zero and has none, so that
the modes are those of the functions that the prior draws: ``f = sum_k f_k e_k`` with ``E f_k^2 =
kappa_k``. In the loss ``beta f_k^2`` beats the prior ``f_k^2 / 2 kappa_k`` where ``2 beta kappa_k >
1``: the threshold of the amplitude ``sqrt(kappa_k)`` is ``1 / sqrt(2 beta)``. The e_k are the
eigenfunctions of the infinitely wide network's kernel, which are the principal components of its
functions, or Hermite polynomials, whose f_k are not independent.

.. [1] Z. Chen and D. Murfet, Modes of sequence models and learning coefficients, arXiv 2504.18048
   (2025).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sltprob.collapsed import SublevelSet, sublevel_sets
from sltprob.exact import Exact
from sltprob.models import get
from sltprob.models._embedding import EmbeddingPrior
from sltprob.models.tanh_zero import TanhZero
from sltprob.theory.kernel import mode_amplitudes, nngp_kernel, resolved_shares, spectrum_of_modes

__all__ = ["EffectiveModes", "Truncation", "WallRow", "effective_modes", "truncations", "walls"]

#: A truncation stops mattering where lambda-hat is that of all modes to this part of it.
_ALIKE = 0.01
_TOLERANCE = 0.01
#: Hermite modes end here: at a beta of 1e16 the last one above the threshold is 153.
_LARGEST_MODE = 399


@dataclass(frozen=True, kw_only=True)
class EffectiveModes:
    """What is above the threshold at one inverse temperature, for the infinitely wide network."""

    beta: float
    lambda_hat: float  # Of all modes
    principal: int  # Number of principal components above the threshold
    of_principal: float  # lambda-hat of these alone
    hermite: int  # Number of Hermite modes above the threshold, and the highest of them
    highest: int
    of_hermite: float  # lambda-hat of the loss that is cut there
    enough: int | None  # Least K where the cut is within 1 %, None beyond those that are computed


@dataclass(frozen=True, kw_only=True)
class Truncation:
    """Lambda-hat at one inverse temperature for losses that see the modes up to K."""

    beta: float
    cuts: tuple[int, ...]  # the values of K
    values: tuple[Exact, ...]  # one for each K
    whole: Exact  # That of the whole loss

    @property
    def enough(self) -> int | None:
        """The least K from which on lambda-hat is that of all modes to 1 %; None if none is."""
        found = None
        for cut, value in zip(reversed(self.cuts), reversed(self.values), strict=True):
            if abs(value.lambda_hat / self.whole.lambda_hat - 1.0) > _ALIKE:
                break
            found = cut
        return found


@dataclass(frozen=True, kw_only=True)
class WallRow:
    """The volume exponent at the level 1/beta beside lambda-hat at beta."""

    beta: float
    walls: SublevelSet
    exact: Exact


def effective_modes(betas: Sequence[float], model: TanhZero) -> tuple[EffectiveModes, ...]:
    """Count the modes above the threshold, principal components and Hermite modes.

    References
    ----------
    .. [1] Z. Chen and D. Murfet, Modes of sequence models and learning coefficients, arXiv
       2504.18048 (2025).
    """
    prior = EmbeddingPrior.parse(model.embedding_prior)
    settings = (model.width, prior.family, prior.scale)
    kernel = nngp_kernel(*settings, readout_scale=model.readout_scale)
    amplitudes = mode_amplitudes(*settings, _LARGEST_MODE, readout_scale=model.readout_scale)
    variances = (amplitudes**2).sum(axis=0)
    # Each rank is kept once for all betas: the cut at K = 1, 3, 5, ….
    spectra = [spectrum_of_modes(amplitudes[:, : n + 1]) for n in range(len(variances))]
    found = []
    for beta in betas:
        shares = resolved_shares(kernel.eigenvalues, beta)
        whole = kernel.lambda_hat(beta)
        cut = np.array([0.5 * resolved_shares(spectrum, beta).sum() for spectrum in spectra])
        # A share of one half is the threshold.
        principal = shares > 0.5
        above = np.flatnonzero(2.0 * beta * variances > 1.0)
        if len(above) == len(variances):
            raise ValueError(
                f"beta={beta!r}: all {len(above)} Hermite modes that are computed are above the "
                "threshold; write a smaller beta, such as 1e12."
            )
        near = np.flatnonzero(cut >= (1.0 - _ALIKE) * whole)
        last = int(above[-1]) if len(above) else -1
        found.append(
            EffectiveModes(
                beta=float(beta),
                lambda_hat=whole,
                principal=int(principal.sum()),
                of_principal=float(0.5 * shares[principal].sum()),
                hermite=len(above),
                highest=2 * last + 1 if len(above) else 0,
                of_hermite=float(cut[last]) if len(above) else 0.0,
                enough=2 * int(near[0]) + 1 if len(near) else None,
            )
        )
    return tuple(found)


def truncations(
    betas: Sequence[float], cuts: Sequence[int], model: TanhZero
) -> tuple[Truncation, ...]:
    """Compute lambda-hat of the tanh network for several truncations of its loss.

    References
    ----------
    .. [1] S. Watanabe, Algebraic Geometry and Statistical Learning Theory (Cambridge, 2009).
    """
    options = f"width={model.width},embedding_prior={model.embedding_prior}"
    options += f",readout_scale={model.readout_scale}"
    cut_models = [get(f"tanh_zero[{options},modes={cut}]") for cut in cuts]
    return tuple(
        Truncation(
            beta=beta,
            cuts=tuple(cuts),
            values=tuple(_exact(cut, beta) for cut in cut_models),
            whole=_exact(model, beta),
        )
        for beta in betas
    )


def walls(
    betas: Sequence[float], model: TanhZero, *, population: int = 64, seed: int = 0
) -> tuple[WallRow, ...]:
    """Compute the exponents of the prior volumes of {L < 1/beta}.

    References
    ----------
    .. [1] S. Watanabe, Algebraic Geometry and Statistical Learning Theory (Cambridge, 2009).
    """
    levels = [1.0 / beta for beta in betas]
    found = sublevel_sets(levels, model.problem(), population=population, seed=seed)
    return tuple(
        WallRow(beta=beta, walls=row, exact=_exact(model, beta))
        for beta, row in zip(betas, found, strict=True)
    )


def _exact(model: object, beta: float) -> Exact:
    assert isinstance(model, TanhZero)
    value = model.exact(beta, tolerance=_TOLERANCE)
    assert value is not None
    return value
