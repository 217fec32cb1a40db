"""What is known about the learning coefficient of a model, or of a program of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from sltprob.data import Data
from sltprob.models import Model
from sltprob.optimum import find_optimum, hessian_eigenvalues
from sltprob.posterior import TemperedPosterior
from sltprob.problem import Problem, problem
from sltprob.reference import reference

__all__ = ["KnownCoefficient", "learning_coefficient"]

# Eigenvalues of the Hessian below this part of the largest are zero within rounding.
_ZERO = 1e-8
# A direction is resolved at beta when its eigenvalue, in units of the prior's spread, times beta is
# at least this: it then counts at least nine tenths of the 1/2 that it counts in the end.
_RESOLVED = 10.0
_WATANABE = (
    "S. Watanabe, Algebraic Geometry and Statistical Learning Theory, Cambridge (2009): λ = d/2 "
    "where the Hessian has full rank, and rank/2 <= λ <= d/2 elsewhere"
)


@dataclass(frozen=True)
class KnownCoefficient:
    """What is known about a learning coefficient.

    Parameters
    ----------
    value : Fraction or None
        λ, where theory gives it.
    multiplicity : int or None
    status : str
        ``"proved"``, ``"upper bound"``, ``"numerical"``, ``"regular"`` (the Hessian at the optimum
        has full rank), ``"singular"`` (it has not) or ``"none"``.
    low, high : float or None
        Bounds of λ of a program of the user's own, from the rank of the Hessian.
    unresolved : int
        Directions that are flat at β = n: there λ̂ is still less than d/2.
    measured, measured_mcse : float or None
        λ̂ at β = n by a ladder from the prior, where not all directions are resolved.
    source : str
    """

    value: Fraction | None
    multiplicity: int | None
    status: str
    source: str
    low: float | None = None
    high: float | None = None
    unresolved: int = 0
    measured: float | None = None
    measured_mcse: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Give the fields as what JSON can say.

        Returns
        -------
        dict
        """
        value = {} if self.value is None else {"value": float(self.value)}
        exact = None if self.value is None else str(self.value)
        return {**asdict(self), "learning_coefficient": exact, "value": None, **value}

    def __str__(self) -> str:
        if self.value is not None:
            found = f"λ = {self.value}, m = {self.multiplicity}  ({self.status})"
        elif self.low is not None and self.high is not None:
            found = f"{self.low:g} <= λ <= {self.high:g}  ({self.status}: the Hessian lacks rank)"
        else:
            found = f"λ is not known  ({self.status})"
        if self.unresolved:
            many = "directions are" if self.unresolved > 1 else "direction is"
            found += f"\n{self.unresolved} {many} flat at β = n: there λ̂ is still below d/2"
        if self.measured is not None:
            found += f"\nλ̂(n) = {self.measured:.4g} ± {self.measured_mcse:.2g}, by a reference run"
        return found


def learning_coefficient(
    model: Model | TemperedPosterior | Callable[..., Any] | str,
    *,
    data: Data | Mapping[str, Any] | str | Path | None = None,
) -> KnownCoefficient:
    """Say what is known about λ: by theorem for a model, by the Hessian for a program of your own.

    Of a program it is the λ of the loss on the data that are given, at the best optimum that was
    found: d/2 where the Hessian there has full rank. Where it has not, or where some directions
    are flat at β = n, λ̂(n) is measured by a ladder of temperatures from the prior.

    Parameters
    ----------
    model : Model, TemperedPosterior, callable or str
        Such as ``"tanh_zero[width=2]"``, or ``"mine.py:function"``.
    data : Data, mapping of str to array, data frame, or path, optional
        The arguments of a program of your own.

    Returns
    -------
    KnownCoefficient

    Raises
    ------
    ValueError
        If data are missing, or the loss has no least value.

    References
    ----------
    .. [1] S. Watanabe, "Algebraic Geometry and Statistical Learning Theory", Cambridge (2009).
    """
    chosen = problem(model, data)
    if chosen.model is not None:
        truth = chosen.model.truth()
        return KnownCoefficient(
            truth.learning_coefficient, truth.multiplicity, truth.status, truth.source
        )
    return _by_hessian(chosen)


def _by_hessian(chosen: Problem) -> KnownCoefficient:
    posterior = chosen.posterior
    best = find_optimum(posterior)
    eigenvalues = hessian_eigenvalues(posterior, best.values)
    dimension = len(eigenvalues)
    rank = int(np.sum(eigenvalues > _ZERO * np.max(eigenvalues, initial=0.0)))
    size = posterior.num_rows
    unresolved = int(np.sum(eigenvalues * size < _RESOLVED))
    regular = rank == dimension
    measured = measured_mcse = None
    if unresolved:
        for value in reference(chosen, [float(size)]):
            measured, measured_mcse = value.lambda_hat, value.mcse
    return KnownCoefficient(
        Fraction(dimension, 2) if regular else None,
        1 if regular else None,
        "regular" if regular else "singular",
        _WATANABE,
        rank / 2,
        dimension / 2,
        unresolved,
        measured,
        measured_mcse,
    )
