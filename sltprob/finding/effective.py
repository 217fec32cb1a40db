"""Effective theories: the loss cut to its first modes, and hard walls instead of a temperature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sltprob.collapsed import SublevelSet, sublevel_sets
from sltprob.exact import Exact
from sltprob.models import get
from sltprob.models.tanh_zero import TanhZero

__all__ = ["Truncation", "WallRow", "truncations", "walls"]

#: A truncation stops mattering where lambda-hat is that of all modes to this part of it.
_ALIKE = 0.01
_TOLERANCE = 0.01


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
