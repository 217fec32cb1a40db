"""How lambda-hat may grow with beta: forms to be compared, and their least-squares fits.

The claim under test is that lambda-hat is quadratic in log beta, so that its square root is a
straight line. The other forms are what else a person might draw through the same points.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize

from sltprob.exact import check_beta

__all__ = ["FORMS", "AnsatzFit", "Form", "fit_forms"]

type Array = NDArray[np.float64]


@dataclass(frozen=True)
class Form:
    """A family of curves lambda-hat(log beta)."""

    formula: str  # with ``l`` for log beta
    parameters: tuple[str, ...]  # Names; those of `positive` are above zero
    positive: tuple[str, ...]
    # ``evaluate(l, module, *parameters)``; `module` is numpy or jax.numpy
    evaluate: Callable[..., object]
    start: Callable[[Array, Array], tuple[float, ...]]  # Maps (l, values) to a first guess
    # Maps (level, *parameters) to the log beta at which the level is reached; infinite if never
    reach: Callable[..., float]


def _line(logs: Array, values: Array) -> tuple[float, float]:
    slope, intercept = np.polyfit(logs, values, 1)
    return float(intercept), max(float(slope), 1e-3)


def _saturating_start(logs: Array, values: Array) -> tuple[float, float, float]:
    return float(values[0]), 2.0 * float(values.max()), 1.0 / float(np.ptp(logs))


def _reach_saturating(level: float, a: float, c: float, b: float) -> float:
    if not level < c:
        return math.inf
    return -math.log((c - level) / (c - a)) / b if c > a else math.inf


#: The forms that are compared, by name.
FORMS: dict[str, Form] = {
    "linear": Form(
        "a + b l",
        ("a", "b"),
        ("b",),
        lambda ell, xp, a, b: a + b * ell,
        _line,
        lambda level, a, b: (level - a) / b if b > 0 else math.inf,
    ),
    "quadratic": Form(
        "(a + b l)²",
        ("a", "b"),
        ("b",),
        lambda ell, xp, a, b: (a + b * ell) ** 2,
        lambda logs, values: _line(logs, np.sqrt(np.maximum(values, 1e-6))),
        lambda level, a, b: (math.sqrt(level) - a) / b if b > 0 else math.inf,
    ),
    "power": Form(
        "a exp(b l)",
        ("a", "b"),
        ("a", "b"),
        lambda ell, xp, a, b: a * xp.exp(b * ell),
        lambda logs, values: (
            math.exp(_line(logs, np.log(np.maximum(values, 1e-6)))[0]),
            _line(logs, np.log(np.maximum(values, 1e-6)))[1],
        ),
        lambda level, a, b: math.log(level / a) / b if b > 0 and a > 0 else math.inf,
    ),
    "saturating": Form(
        "c - (c - a) exp(-b l)",
        ("a", "c", "b"),
        ("c", "b"),
        lambda ell, xp, a, c, b: c - (c - a) * xp.exp(-b * ell),
        _saturating_start,
        _reach_saturating,
    ),
}


@dataclass(frozen=True)
class AnsatzFit:
    """A form fitted by weighted least squares."""

    name: str  # in `FORMS`
    parameters: tuple[float, ...]
    errors: tuple[float, ...]
    chi_squared: float  # Sum of squared residuals in standard errors of the measurements
    degrees_of_freedom: int
    largest_residual: float  # Largest residual relative to the value

    def predict(self, beta: float) -> float:
        """Evaluate the fitted curve.

        References
        ----------
        Draper, N. R. and Smith, H. (1998). Applied Regression Analysis, 3rd ed., Wiley.
        """
        logs = np.array([math.log(check_beta(beta))])
        values = FORMS[self.name].evaluate(logs, np, *self.parameters)
        return float(np.asarray(values)[0])


def fit_forms(
    betas: Sequence[float] | Array, lambda_hats: ArrayLike, mcse: ArrayLike
) -> tuple[AnsatzFit, ...]:
    """Fit every form to measurements of lambda-hat.

    References
    ----------
    Draper, N. R. and Smith, H. (1998). Applied Regression Analysis, 3rd ed., Wiley.
    """
    ladder, values, errors = (np.asarray(item, dtype=float) for item in (betas, lambda_hats, mcse))
    if len(ladder) < 5 or not (values.shape == errors.shape == ladder.shape):
        raise ValueError(
            f"{len(ladder)} measurements are too few to tell forms apart; 5 or more would do, each "
            "with a beta, a value and an error."
        )
    if not (np.isfinite(values).all() and (errors > 0).all() and (ladder > 0).all()):
        raise ValueError("values must be finite, and betas and errors above 0.")
    logs = np.log(ladder)
    fits = [_fit(name, logs, values, errors) for name in FORMS]
    return tuple(sorted(fits, key=lambda fit: fit.chi_squared / fit.degrees_of_freedom))


def _fit(name: str, logs: Array, values: Array, errors: Array) -> AnsatzFit:
    form = FORMS[name]

    def residuals(parameters: Array) -> Array:
        curve = np.asarray(form.evaluate(logs, np, *parameters))
        return np.nan_to_num((curve - values) / errors, nan=1e9, posinf=1e9, neginf=-1e9)

    low = [1e-9 if parameter in form.positive else -np.inf for parameter in form.parameters]
    start = np.maximum(form.start(logs, values), low)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        found = optimize.least_squares(
            residuals, start, bounds=(low, np.inf), x_scale=np.abs(start) + 1e-3, max_nfev=5000
        )
        covariance = np.linalg.pinv(found.jac.T @ found.jac)
    freedom = len(logs) - len(form.parameters)
    chi_squared = float(2.0 * found.cost)
    scale = max(1.0, chi_squared / max(freedom, 1))
    largest = float(np.abs(found.fun * errors / values).max())
    return AnsatzFit(
        name,
        tuple(float(value) for value in found.x),
        tuple(float(value) for value in np.sqrt(scale * np.diagonal(covariance))),
        chi_squared,
        max(freedom, 1),
        largest,
    )
