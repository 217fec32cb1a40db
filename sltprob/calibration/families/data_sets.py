"""Small data sets: regressions and groups, as somebody would write them in NumPyro."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from scipy import stats
from scipy.optimize import minimize
from scipy.special import gammaln

from sltprob.calibration.families.case import Case, Integral, average, over_prior

__all__ = ["cases", "group_data", "groups_exactly"]

_FAMILY = "data sets"
_ROWS = 40


def line(x: Any, y: Any) -> None:
    """Regress on three columns, the noise known."""
    w = numpyro.sample("w", dist.Normal(0.0, 2.0).expand([3]).to_event(1))
    numpyro.sample("y", dist.Normal(x @ w, 0.5), obs=y)


def _line(x: np.ndarray, y: np.ndarray) -> tuple[Integral, Callable[[], float]]:
    """Give the conjugate answer."""
    size = len(y)
    constant = 0.5 * np.log(2 * np.pi * 0.25)

    def loss(w: np.ndarray) -> float:
        return float(np.mean((y - x @ w) ** 2) / 0.5 + constant)

    def mean_loss(beta: float) -> tuple[float, float]:
        gram = x.T @ x / (size * 0.25)
        covariance = np.linalg.inv(np.eye(3) / 4 + beta * gram)
        mean = covariance @ (beta * x.T @ y / (size * 0.25))
        return loss(mean) + 0.5 * float(np.trace(gram @ covariance)), 0.0

    return mean_loss, lambda: loss(np.linalg.lstsq(x, y, rcond=None)[0])


def logistic(x: Any, y: Any) -> None:
    """Regress a label, with an intercept."""
    a = numpyro.sample("a", dist.Normal(0.0, 2.0))
    b = numpyro.sample("b", dist.Normal(0.0, 2.0))
    numpyro.sample("y", dist.Bernoulli(logits=a + b * x), obs=y)


def counts(x: Any, y: Any) -> None:
    """Regress a count, with an intercept."""
    a = numpyro.sample("a", dist.Normal(0.0, 1.0))
    b = numpyro.sample("b", dist.Normal(0.0, 1.0))
    numpyro.sample("y", dist.Poisson(jnp.exp(a + b * x)), obs=y)


def robust(x: Any, y: Any) -> None:
    """Draw a line through outliers: noise of two degrees of freedom, its scale unknown."""
    b = numpyro.sample("b", dist.Normal(0.0, 2.0))
    scale = numpyro.sample("scale", dist.LogNormal(0.0, 1.0))
    numpyro.sample("y", dist.StudentT(2.0, b * x, scale), obs=y)


def _logistic(a: Any, b: Any, x: float, y: float) -> Any:
    return np.logaddexp(0, a + b * x) - y * (a + b * x)


def _counts(a: Any, b: Any, x: float, y: float) -> Any:
    return np.exp(a + b * x) - y * (a + b * x) + gammaln(y + 1)


def _robust(b: Any, scale: Any, x: float, y: float) -> Any:
    with np.errstate(all="ignore"):
        return 1.5 * np.log1p((y - b * x) ** 2 / (2 * scale**2)) + np.log(np.sqrt(8) * scale)


def groups(y: Any, errors: Any) -> None:
    """Give eight groups a common mean and spread, centred: a funnel made by data."""
    mean = numpyro.sample("mean", dist.Normal(0.0, 3.0))
    spread = numpyro.sample("spread", dist.HalfNormal(2.0))
    with numpyro.plate("group", y.shape[0]):
        effect = numpyro.sample("effect", dist.Normal(mean, spread))
        numpyro.sample("y", dist.Normal(effect, errors), obs=y)


def groups_exactly(y: np.ndarray, errors: np.ndarray) -> tuple[Integral, Callable[[], float]]:
    """Integrate the effects in closed form, mean and spread by quadrature."""
    constant = float(np.mean(0.5 * np.log(2 * np.pi * errors**2)))

    def inner(x: Any, beta: float) -> tuple[Any, Any]:
        log_weight, loss = 0.0, constant
        for value, error in zip(y, errors, strict=True):
            scaled = beta / len(y) / error**2  # precision that the datum has at this beta
            growth = 1 + scaled * x[1] ** 2
            miss = (value - x[0]) / growth
            log_weight = log_weight - 0.5 * np.log(growth) - 0.5 * scaled * miss**2 * growth
            loss = loss + (miss**2 + x[1] ** 2 / growth) / (2 * len(y) * error**2)
        return log_weight, loss

    return average(inner, [stats.norm(0, 3), stats.halfnorm(0, 2)], 1200), lambda: constant


def group_data(generator: np.random.Generator, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw what is seen of eight groups, and the errors of it."""
    errors = generator.uniform(0.5, 2.0, size=8)
    return generator.normal(1.0, spread, size=8) + errors * generator.normal(size=8), errors


def _two(
    x: np.ndarray, y: np.ndarray, row: Callable[..., Any], laws: list[Any]
) -> tuple[Integral, Callable[[], float]]:
    """Sum the rows' losses over a grid of two parameters."""

    def loss(a: Any, b: Any) -> Any:
        total = sum(row(a, b, float(u), float(v)) for u, v in zip(x, y, strict=True))
        return total / len(y)

    def lowest() -> float:
        options = {"xatol": 1e-9, "fatol": 1e-14, "maxiter": 2000}
        starts = ((0.1, 0.5), (1.0, 1.0))
        ends = [
            minimize(lambda p: float(loss(*p)), start, method="Nelder-Mead", options=options)
            for start in starts
        ]
        return min(float(end.fun) for end in ends)

    return over_prior(loss, laws, 700), lowest


def cases() -> Iterator[Case]:
    """List the models, and some on data whose rows were mixed up."""
    for seed in range(3):
        generator = np.random.default_rng([26, seed])
        slope = (0.5, 1.0, 1.5)[seed]
        x = generator.normal(size=_ROWS)
        columns = generator.normal(size=(_ROWS, 3)) * [1.0, 0.5, 2.0]
        target = columns @ [1.0, -slope, 0.3] + 0.5 * generator.normal(size=_ROWS)
        labels = 1.0 * (generator.uniform(size=_ROWS) < 1 / (1 + np.exp(2 * slope * x - 0.8)))
        numbers = 1.0 * generator.poisson(np.exp(0.3 - 0.7 * slope * x))
        heavy = slope * x + 0.4 * generator.standard_t(2, size=_ROWS)
        seen, errors = group_data(generator, slope)
        wide, unit = stats.norm(0, 2), stats.norm(0, 1)
        scales = stats.lognorm(1.0)
        found: tuple[tuple[Any, dict[str, Any], Any], ...] = (
            (line, {"x": columns, "y": target}, _line(columns, target)),
            (logistic, {"x": x, "y": labels}, _two(x, labels, _logistic, [wide, wide])),
            (counts, {"x": x, "y": numbers}, _two(x, numbers, _counts, [unit, unit])),
            (robust, {"x": x, "y": heavy}, _two(x, heavy, _robust, [wide, scales])),
            (groups, {"y": seen, "errors": errors}, groups_exactly(seen, errors)),
        )
        for program, arguments, (mean_loss, minimum) in found:
            size = len(arguments["y"])
            yield (
                made := Case(
                    name=f"{program.__name__}[{seed}]",
                    family=_FAMILY,
                    program=program,
                    arguments=arguments,
                    betas=(round(float(size / np.log(size)), 2), float(size)),
                    mean_loss=mean_loss,
                    least=minimum,
                    finds_minimum=True,
                )
            )
            if program in (line, counts) and seed:
                mixed = arguments | {"y": generator.permutation(arguments["y"])}
                # L* is that of the right data, as from a table that somebody has.
                yield replace(
                    made,
                    name=f"{program.__name__}[{seed}, rows mixed up]",
                    arguments=mixed,
                    finds_minimum=False,
                    is_mistake=True,
                )
