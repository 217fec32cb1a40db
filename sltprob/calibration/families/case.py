"""What a model of the study is: a program, its arguments, and its exact answer by quadrature.

Programs are few and arguments many: all models of a program share one compilation.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize

from sltprob.exact import Exact

__all__ = ["Case", "Integral", "average", "least", "over_prior", "separable"]

#: E[L] at an inverse temperature, and the error of it.
Integral = Callable[[float], tuple[float, float]]
#: log ∫ exp(-βL) and E[L] over what is known in closed form, at values of the rest: (x, β).
Inner = Callable[[Any, float], tuple[Any, Any]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """A model of the study, with its exact answer."""

    name: str
    family: str
    program: Callable[..., None]
    arguments: dict[str, Any]
    betas: tuple[float, ...]
    mean_loss: Integral
    least: Callable[[], float]
    finds_minimum: bool = False  # whether a run looks for L* itself, as for data of a user's own
    is_mistake: bool = False  # whether the arguments are not those of the exact answer

    @functools.cached_property
    def minimum_loss(self) -> float:
        """L*, computed when it is asked for."""
        return self.least()

    def exact(self, beta: float) -> Exact:
        """Give λ̂ with the error of the quadrature."""
        value, error = self.mean_loss(beta)
        return Exact(
            beta=beta,
            lambda_hat=beta * (value - self.minimum_loss),
            mcse=beta * error,
            free_energy=np.nan,
            free_energy_mcse=np.nan,
            method="closed form" if error == 0 else "quadrature over the prior",
        )


def average(inner: Inner, laws: Sequence[Any], size: int) -> Integral:
    """Average over a grid of the prior's quantiles, its error by a grid of another size.

    `laws` are SciPy's, one for each coordinate. The midpoints of equal shares of the prior need no
    density and no Jacobian, so that neither can be wrong in the same way as in a run.
    """

    @functools.cache
    def points(count: int) -> tuple[np.ndarray, ...]:
        shares = (np.arange(count) + 0.5) / count
        axes = [law.ppf(shares) for law in laws]
        return tuple(axis.ravel() for axis in np.meshgrid(*axes, indexing="ij"))

    def value(beta: float, count: int) -> float:
        with np.errstate(all="ignore"):
            log_weight, loss = inner(points(count), beta)
            weight = np.exp(log_weight - np.max(log_weight))
            return float(np.sum(np.where(weight > 0, weight * loss, 0.0)) / np.sum(weight))

    def both(beta: float) -> tuple[float, float]:
        fine = value(beta, size)
        return fine, abs(fine - value(beta, int(0.7 * size)))

    return functools.cache(both)


def over_prior(loss: Callable[..., Any], laws: Sequence[Any], size: int) -> Integral:
    """Average a loss, a function of one or two coordinates, over the posterior."""

    def inner(x: Any, beta: float) -> tuple[Any, Any]:
        losses = loss(*x)
        return -beta * losses, losses

    return average(inner, laws, size)


def separable(
    loss: Callable[..., Any], law: Any, parameters: dict[str, np.ndarray], size: int = 400_000
) -> tuple[Integral, Callable[[], float]]:
    """Add the averages, and least values, of a loss that is a sum over independent coordinates."""
    count = len(next(iter(parameters.values())))
    each = [{name: values[i] for name, values in parameters.items()} for i in range(count)]
    losses = [functools.partial(loss, **chosen) for chosen in each]
    parts = [over_prior(part, [law], size) for part in losses]

    def total(beta: float) -> tuple[float, float]:
        values, errors = zip(*(part(beta) for part in parts), strict=True)
        return sum(values), float(np.hypot.reduce(errors))

    return total, lambda: sum(least(part, law) for part in losses)


def least(loss: Callable[[Any], Any], law: Any) -> float:
    """Find the least loss on a line, from the best of the prior's quantiles."""
    low, high = law.support()
    grid = np.r_[
        law.ppf((np.arange(4000) + 0.5) / 4000), [x for x in (low, high) if np.isfinite(x)]
    ]
    with np.errstate(all="ignore"):
        losses = np.nan_to_num(loss(grid), nan=np.inf)
        start = grid[np.argmin(losses)]
        end = minimize(
            lambda x: float(loss(x[0])),
            [start],
            method="Nelder-Mead",
            bounds=[(low, high)],
            options={"xatol": 1e-11, "fatol": 1e-15},
        )
    return min(float(np.min(losses)), float(end.fun))
