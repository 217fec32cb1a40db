"""Models by which nothing was chosen, mended or looked at: written after the last change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from scipy import stats
from scipy.optimize import minimize
from scipy.special import digamma, gammaln

from sltprob.calibration.families.case import Case, Integral, least, over_prior
from sltprob.calibration.families.data_sets import group_data, groups_exactly
from sltprob.models._potential import Potential

__all__ = ["FAMILY", "cases"]

FAMILY = "not seen before"
_ONE = np.zeros(1)


def frequency(t: Any, y: Any) -> None:
    """Look for a frequency, of which the loss has many local minima."""
    a = numpyro.sample("a", dist.Normal(0.0, 2.0))
    omega = numpyro.sample("omega", dist.Uniform(0.5, 8.0))
    numpyro.sample("y", dist.Normal(a * jnp.sin(omega * t), 1.0), obs=y)


def decay(t: Any, y: Any) -> None:
    """Fit an exponential decay."""
    a = numpyro.sample("a", dist.Normal(0.0, 2.0))
    k = numpyro.sample("k", dist.LogNormal(0.0, 1.0))
    numpyro.sample("y", dist.Normal(a * jnp.exp(-k * t), 0.5), obs=y)


def neuron(x: Any, y: Any) -> None:
    """Fit one rectified neuron, whose weights are a product on either side of a kink."""
    a = numpyro.sample("a", dist.Normal(0.0, 1.0))
    w = numpyro.sample("w", dist.Normal(0.0, 1.0))
    numpyro.sample("y", dist.Normal(a * jax.nn.relu(w * x), 1.0), obs=y)


def two_lines(x: Any, y: Any) -> None:
    """Mix two lines through the origin, of which nobody knows which is which."""
    slopes = numpyro.sample("slopes", dist.Normal(0.0, 2.0).expand([2]).to_event(1))
    parts = dist.Normal(x[:, None] * slopes, 0.6)
    halves = dist.Categorical(probs=jnp.full(2, 0.5))
    numpyro.sample("y", dist.MixtureSameFamily(halves, parts), obs=y)


def overdispersed(x: Any, y: Any) -> None:
    """Regress a count that varies more than Poisson's."""
    a = numpyro.sample("a", dist.Normal(0.0, 1.0))
    b = numpyro.sample("b", dist.Normal(0.0, 1.0))
    numpyro.sample("y", dist.NegativeBinomial2(jnp.exp(a + b * x), 2.0), obs=y)


def change(t: Any, y: Any) -> None:
    """Look for the place at which a mean changes: the loss jumps there."""
    place = numpyro.sample("place", dist.Uniform(0.0, 1.0))
    height = numpyro.sample("height", dist.Normal(0.0, 2.0))
    numpyro.sample("y", dist.Normal(jnp.where(t > place, height, 0.0), 1.0), obs=y)


def part(y: Any) -> None:
    """Estimate the part of successes, with Jeffreys' prior, which is infinite at both ends."""
    p = numpyro.sample("p", dist.Beta(0.5, 0.5))
    numpyro.sample("y", dist.Bernoulli(probs=p), obs=y)


def rate(y: Any) -> None:
    """Estimate a rate."""
    r = numpyro.sample("r", dist.Gamma(0.7, 0.5))
    numpyro.sample("y", dist.Exponential(r), obs=y)


def groups_apart(y: Any, errors: Any) -> None:
    """Write the groups of another family as scale * standard normal."""
    mean = numpyro.sample("mean", dist.Normal(0.0, 3.0))
    spread = numpyro.sample("spread", dist.HalfNormal(2.0))
    with numpyro.plate("group", y.shape[0]):
        z = numpyro.sample("z", dist.Normal(0.0, 1.0))
        numpyro.sample("y", dist.Normal(mean + spread * z, errors), obs=y)


def banana(y: Any, bend: Any) -> None:
    """Bend a narrow valley."""
    x = numpyro.sample("x", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    loss = 0.5 * (x[1] - bend * x[0] ** 2) ** 2
    numpyro.sample("y", Potential(loss[None]), obs=y)


def cusp(y: Any) -> None:
    """Take a curve with a cusp as the set of the least loss."""
    x = numpyro.sample("x", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    loss = (x[0] ** 2 - x[1] ** 3) ** 2
    numpyro.sample("y", Potential(loss[None]), obs=y)


def shrunk(y: Any, wanted: Any) -> None:
    """Shrink a coefficient by a scale with a heavy tail."""
    scale = numpyro.sample("scale", dist.HalfCauchy(1.0))
    z = numpyro.sample("z", dist.Normal(0.0, 1.0))
    loss = 0.5 * (scale * z - wanted) ** 2
    numpyro.sample("y", Potential(loss[None]), obs=y)


def sphere(y: Any) -> None:
    """Take the unit sphere as the set of the least loss."""
    x = numpyro.sample("x", dist.Normal(0.0, 1.0).expand([3]).to_event(1))
    loss = (jnp.sum(x**2) - 1) ** 2
    numpyro.sample("y", Potential(loss[None]), obs=y)


def direction(y: Any, wanted: Any) -> None:
    """Pull a direction, whatever the length."""
    x = numpyro.sample("x", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    loss = 1 - (x @ wanted) / jnp.sqrt(jnp.sum(x**2))
    numpyro.sample("y", Potential(loss[None]), obs=y)


def _over_rows(
    row: Callable[..., Any], columns: tuple[np.ndarray, ...], laws: list[Any], size: int
) -> tuple[Integral, Callable[[], float]]:
    """Average a mean of rows over two parameters, and find its least value."""

    def loss(a: Any, b: Any) -> Any:
        total = sum(row(a, b, *map(float, values)) for values in zip(*columns, strict=True))
        return total / len(columns[0])

    def lowest() -> float:
        shares = (np.arange(120) + 0.5) / 120
        a, b = (axis.ravel() for axis in np.meshgrid(*(law.ppf(shares) for law in laws)))
        losses = loss(a, b)
        options = {"xatol": 1e-10, "fatol": 1e-15, "maxiter": 4000}
        return min(
            float(minimize(lambda p: float(loss(*p)), (a[i], b[i]), method="Nelder-Mead",
                           options=options).fun)
            for i in np.argsort(losses)[:5]
        )  # fmt: skip

    return over_prior(loss, laws, size), lowest


def _normal(gap: Any, scale: float) -> Any:
    return gap**2 / (2 * scale**2) + 0.5 * np.log(2 * np.pi * scale**2)


def _two_lines(a: Any, b: Any, x: float, y: float) -> Any:
    return np.log(2) - np.logaddexp(-_normal(y - a * x, 0.6), -_normal(y - b * x, 0.6))


def _overdispersed(a: Any, b: Any, x: float, y: float) -> Any:
    eta = a + b * x  # the mean is exp(eta)
    factors = gammaln(y + 1) + gammaln(2.0) - gammaln(y + 2)
    return factors + (y + 2) * np.logaddexp(eta, np.log(2.0)) - y * eta - 2 * np.log(2.0)


def _part(y: np.ndarray) -> tuple[Integral, Callable[[], float]]:
    mean = float(np.mean(y))

    def mean_loss(beta: float) -> tuple[float, float]:
        a, b = 0.5 + beta * mean, 0.5 + beta * (1 - mean)
        found = mean * digamma(a) + (1 - mean) * digamma(b) - digamma(a + b)
        return -float(found), 0.0

    return mean_loss, lambda: float(stats.entropy([mean, 1 - mean]))


def _rate(y: np.ndarray) -> tuple[Integral, Callable[[], float]]:
    mean = float(np.mean(y))

    def mean_loss(beta: float) -> tuple[float, float]:
        a, b = 0.7 + beta, 0.5 + beta * mean
        return float(mean * a / b - digamma(a) + np.log(b)), 0.0

    return mean_loss, lambda: float(1 + np.log(mean))


def _data_sets() -> Iterator[tuple[Any, dict[str, Any], Any]]:
    generator = np.random.default_rng([11, 28])
    t = np.linspace(0.0, 5.0, 24)
    x = generator.normal(size=30)
    u = np.linspace(0.02, 0.98, 25)
    uniform, wide, unit = stats.uniform(0.5, 7.5), stats.norm(0, 2), stats.norm(0, 1)
    for strength in (0.5, 1.5):
        wave = strength * np.sin(3.1 * t) + generator.normal(size=t.size)
        yield (
            frequency,
            {"t": t, "y": wave},
            _over_rows(
                lambda a, w, t, y: _normal(y - a * np.sin(w * t), 1.0),
                (t, wave),
                [wide, uniform],
                1200,
            ),
        )
        fallen = strength * np.exp(-0.8 * t) + 0.5 * generator.normal(size=t.size)
        yield decay, {"t": t, "y": fallen}, _over_rows(
            lambda a, k, t, y: _normal(y - a * np.exp(-k * t), 0.5),
            (t, fallen), [wide, stats.lognorm(1.0)], 1000,
        )  # fmt: skip
        fired = (strength - 0.5) * np.maximum(x, 0) + generator.normal(size=x.size)
        yield neuron, {"x": x, "y": fired}, _over_rows(
            lambda a, w, x, y: _normal(y - a * np.maximum(w * x, 0), 1.0), (x, fired), [unit] * 2,
            1200,
        )  # fmt: skip
        signs = generator.choice([-1.0, 1.0], size=x.size)
        mixed = strength * signs * x + 0.3 * x + 0.6 * generator.normal(size=x.size)
        yield two_lines, {"x": x, "y": mixed}, _over_rows(_two_lines, (x, mixed), [wide] * 2, 1000)
        means = np.exp(0.4 + 0.5 * strength * x)
        many = 1.0 * generator.poisson(means * generator.gamma(2.0, 0.5, size=x.size))
        yield (
            overdispersed,
            {"x": x, "y": many},
            _over_rows(_overdispersed, (x, many), [unit] * 2, 700),
        )
        level = strength * (u > 0.37) + generator.normal(size=u.size)
        yield change, {"t": u, "y": level}, _over_rows(
            lambda c, m, t, y: _normal(y - np.where(t > c, m, 0.0), 1.0),
            (u, level), [stats.uniform(0, 1), wide], 1500,
        )  # fmt: skip
        heads = 1.0 * (generator.uniform(size=40) < 0.3 * strength)
        yield part, {"y": heads}, _part(heads)
        waits = generator.exponential(strength, size=15)
        yield rate, {"y": waits}, _rate(waits)
        seen, errors = group_data(generator, strength)
        yield groups_apart, {"y": seen, "errors": errors}, groups_exactly(seen, errors)


def _losses() -> Iterator[tuple[str, Any, dict[str, Any], tuple[float, ...], Integral, Any]]:
    unit = stats.norm(0, 1)

    def cusped(a: Any, b: Any) -> Any:
        return (a**2 - b**3) ** 2

    def round_(r: Any) -> Any:
        return (r**2 - 1) ** 2

    for bend in (0.5, 3.0):
        bent = partial(lambda a, b, bend: 0.5 * (b - bend * a**2) ** 2, bend=bend)
        yield (
            f"banana[{bend:g}]", banana, {"bend": np.float64(bend)}, (10.0, 300.0),
            over_prior(bent, [unit] * 2, 2000), partial(float, 0.0),
        )  # fmt: skip
    yield (
        "cusp", cusp, {}, (10.0, 300.0),
        over_prior(cusped, [unit] * 2, 2000), partial(float, 0.0),
    )  # fmt: skip
    for wanted in (0.5, 4.0):
        gap = partial(lambda s, z, wanted: 0.5 * (s * z - wanted) ** 2, wanted=wanted)
        yield (
            f"shrunk[{wanted:g}]", shrunk, {"wanted": np.float64(wanted)}, (3.0, 50.0),
            over_prior(gap, [stats.halfcauchy(), unit], 2000), partial(float, 0.0),
        )  # fmt: skip
    yield (
        "sphere", sphere, {}, (10.0, 300.0),
        over_prior(round_, [stats.chi(3)], 400_000), partial(least, round_, stats.chi(3)),
    )  # fmt: skip
    angle = stats.uniform(0, 2 * np.pi)
    yield (
        "direction", direction, {"wanted": np.array([0.6, 0.8])}, (3.0, 100.0),
        over_prior(lambda a: 1 - np.cos(a), [angle], 400_000), partial(float, 0.0),
    )  # fmt: skip


def cases() -> Iterator[Case]:
    """List the models."""
    for name, program, arguments, betas, mean_loss, minimum in _losses():
        yield Case(
            name=name, family=FAMILY, program=program, arguments={"y": _ONE, **arguments},
            betas=betas, mean_loss=mean_loss, least=minimum,
        )  # fmt: skip
    numbers: dict[str, int] = {}
    for program, arguments, (mean_loss, minimum) in _data_sets():
        number = numbers[program.__name__] = numbers.get(program.__name__, -1) + 1
        size = len(arguments["y"])
        yield Case(
            name=f"{program.__name__}[{number}]", family=FAMILY, program=program,
            arguments=arguments, betas=(round(float(size / np.log(size)), 2), float(size)),
            mean_loss=mean_loss, least=minimum, finds_minimum=True,
        )  # fmt: skip
