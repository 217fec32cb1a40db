"""Models that are a loss: several modes, tails, edges, jumps and kinks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from scipy import stats
from scipy.optimize import minimize

from sltprob.calibration.families.case import Case, average, over_prior, separable
from sltprob.models._potential import Potential

__all__ = ["cases"]

_ONE = np.zeros(1)


def wells(y: Any, centres: Any, widths: Any, heights: Any) -> None:
    """Dig four Gaussian wells in the plane."""
    x = numpyro.sample("x", dist.Normal(0.0, 1.5).expand([2]).to_event(1))
    squares = jnp.sum((x - centres) ** 2, axis=-1)
    loss = -jnp.log(jnp.sum(jnp.exp(heights - squares / (2 * widths**2))))
    numpyro.sample("y", Potential(loss[None]), obs=y)


def _wells(
    name: str, betas: tuple[float, ...], *wells_: tuple[float, ...], finds: bool = False
) -> Case:
    """Make a case of up to four wells: (x, y, width, height)."""
    padded = np.array([*wells_, *[(0.0, 0.0, 1.0, -50.0)] * (4 - len(wells_))])
    centres, widths, heights = padded[:, :2], padded[:, 2], padded[:, 3]

    def loss(a: Any, b: Any) -> Any:
        total = sum(
            np.exp(h - ((a - c[0]) ** 2 + (b - c[1]) ** 2) / (2 * w**2))
            for c, w, h in zip(centres, widths, heights, strict=True)
        )
        return -np.log(total + 1e-300)

    laws = [stats.norm(0, 1.5)] * 2
    return Case(
        name=f"wells[{name}]",
        family="needles" if name.startswith("needle") else "several modes",
        program=wells,
        arguments={"y": _ONE, "centres": centres, "widths": widths, "heights": heights},
        betas=betas,
        mean_loss=over_prior(loss, laws, 1600),
        least=lambda: min(_descended(loss, centre) for centre in centres),
        finds_minimum=finds,
    )


def _descended(loss: Callable[..., Any], start: np.ndarray) -> float:
    options = {"xatol": 1e-10, "fatol": 1e-15}
    end = minimize(lambda x: float(loss(*x)), start, method="Nelder-Mead", options=options)
    return float(end.fun)


def rugged(y: Any, quartic: Any, root: Any, tilt: Any, height: Any, pitch: Any) -> None:
    """Sum double wells and ripples, one for each coordinate."""
    x = numpyro.sample("x", dist.Normal(0.0, 2.0).expand([3]).to_event(1))
    loss = jnp.sum(_rugged(x, quartic, root, tilt, height, pitch))
    numpyro.sample("y", Potential(loss[None]), obs=y)


def _rugged(x: Any, quartic: Any, root: Any, tilt: Any, height: Any, pitch: Any) -> Any:
    ripples = height * (1 - jnp.cos(pitch * x))
    return quartic * (x**2 - root**2) ** 2 + tilt * x + x**2 / 20 + ripples


def tails(y: Any, degrees: Any, logarithm: Any, bound: Any) -> None:
    """Join a prior of heavy tails to a loss that grows slowly or not at all."""
    x = numpyro.sample("x", dist.StudentT(degrees, 0.0, 1.0).to_event(1))
    numpyro.sample("y", Potential(jnp.sum(_tails(x, logarithm, bound))[None]), obs=y)


def _tails(x: Any, logarithm: Any, bound: Any) -> Any:
    return logarithm * jnp.log1p(x**2) + bound * x**2 / (1 + x**2)


def edges(y: Any, slope: Any, curvature: Any, place: Any) -> None:
    """Put the mass at the edges of a box, or within."""
    x = numpyro.sample("x", dist.Uniform(0.0, 1.0).expand([3]).to_event(1))
    numpyro.sample("y", Potential(jnp.sum(_edges(x, slope, curvature, place))[None]), obs=y)


def _edges(x: Any, slope: Any, curvature: Any, place: Any) -> Any:
    return slope * x + curvature * (x - place) ** 2


def positive(y: Any, shape: Any, slope: Any, place: Any) -> None:
    """Take a prior on the half line whose density may be infinite at its edge."""
    x = numpyro.sample("x", dist.Gamma(shape, 1.0).expand([2]).to_event(1))
    numpyro.sample("y", Potential(jnp.sum(_positive(x, slope, place))[None]), obs=y)


def _positive(x: Any, slope: Any, place: Any) -> Any:
    return slope * x + 0.5 * (x - place) ** 2


def kinks(y: Any, absolute: Any, place: Any, jump: Any, flat: Any) -> None:
    """Sum absolute values, a jump at |x| = 1, and a flat bottom."""
    x = numpyro.sample("x", dist.Laplace(0.0, 1.0).expand([2]).to_event(1))
    numpyro.sample("y", Potential(jnp.sum(_kinks(x, absolute, place, jump, flat))[None]), obs=y)


def _kinks(x: Any, absolute: Any, place: Any, jump: Any, flat: Any) -> Any:
    step = jump * (jnp.abs(x) > 1)
    return absolute * jnp.abs(x - place) + step + flat * jnp.maximum(jnp.abs(x) - 0.7, 0.0)


def funnel(y: Any, width: Any, target: Any) -> None:
    """Draw from Neal's funnel in four coordinates, and say where they should be."""
    v = numpyro.sample("v", dist.Normal(0.0, width))
    x = numpyro.sample("x", dist.Normal(0.0, jnp.exp(v / 2)).expand([4]).to_event(1))
    numpyro.sample("y", Potential(0.5 * jnp.sum((x - target) ** 2)[None]), obs=y)


def _funnel(name: str, betas: tuple[float, ...], width: float, target: Sequence[float]) -> Case:
    def inner(x: Any, beta: float) -> tuple[Any, Any]:
        """Give what the four coordinates are worth at a width: they are normal there."""
        variance = np.exp(x[0])[:, None]
        growth = 1 + beta * variance
        miss = np.asarray(target) / growth
        log_weight = -0.5 * np.log(growth) - 0.5 * beta * miss**2 * growth
        return log_weight.sum(1), 0.5 * (miss**2 + variance / growth).sum(1)

    return Case(
        name=f"funnel[{name}]",
        family="funnels and edges",
        program=funnel,
        arguments={"y": _ONE, "width": np.float64(width), "target": np.array(target)},
        betas=betas,
        mean_loss=average(inner, [stats.norm(0, width)], 200_000),
        least=lambda: 0.0,
    )


def _by_coordinate(
    name: str,
    family: str,
    program: Callable[..., None],
    loss: Callable[..., Any],
    law: Any,
    betas: tuple[float, ...],
    of_prior: dict[str, Any] | None = None,
    **parameters: Sequence[float],
) -> Case:
    """Make a case whose loss is a sum over coordinates."""
    given = {name: np.asarray(values, dtype=float) for name, values in parameters.items()}
    mean_loss, minimum = separable(lambda x, **chosen: np.asarray(loss(x, **chosen)), law, given)
    return Case(
        name=f"{program.__name__}[{name}]",
        family=family,
        program=program,
        arguments={"y": _ONE, **(of_prior or {}), **given},
        betas=betas,
        mean_loss=mean_loss,
        least=minimum,
    )


def cases() -> Iterator[Case]:
    """List the models."""
    modes, heavy, edge, kink = (
        "several modes",
        "heavy tails",
        "funnels and edges",
        "jumps and kinks",
    )
    yield _wells("four", (2, 10), (2.2, 0.4, 0.5, 0), (-1.6, 1.4, 0.35, 0.4), (-1, -2, 0.7, -0.3),
                 (1.2, -1.6, 0.3, 0.7))  # fmt: skip
    yield _wells("two, far", (1, 6), (-2.8, 0, 0.4, 0), (2.8, 0.5, 0.6, 0.1))
    yield _wells("two, near", (3, 30), (-0.7, 0.2, 0.5, 0), (0.9, 0.5, 0.3, 0.15))
    yield _wells("hole", (8, 40), (0, 0, 1.3, 0), (-1.1, 1.3, 0.12, 1.1))
    yield _wells("hole, shallow", (6, 25), (0.3, 0, 1, 0), (1.9, -1.2, 0.2, 0.4), finds=True)
    yield _wells("hole, wide", (5, 20), (0, 0.5, 1.8, 0), (2, 1, 0.3, 0.9), finds=True)
    yield _wells("needle", (8, 30), (0, 0, 1.3, 0), (1.4, -0.9, 0.03, 1.5))
    yield _wells(
        "needle, L* not known", (8, 15), (0, 0, 1.3, 0), (-0.8, 1.7, 0.02, 1.7), finds=True
    )
    law = stats.norm(0, 2)
    for name, betas, quartic, root, tilt, height, pitch in (
        ("one double well", (2, 12), [0.15, 0, 0], [1.5, 0, 0], [0.05, 0, 0], [0, 0, 0], [1, 1, 1]),
        ("two tilted", (2, 12), [0.2, 0.1, 0], [1.2, 1.6, 0], [0.1, -0.2, 0], [0, 0, 0], [1, 1, 1]),
        ("ripples", (2, 15), [0, 0, 0], [0, 0, 0], [0, 0.1, 0], [0.3, 0.5, 0.2], [2, 2.7, 4]),
        ("mixed", (1, 8), [0.1, 0, 0], [1.4, 0, 0], [0.1, 0, 0.2], [0, 0.6, 0], [1, 3.1, 1]),
    ):
        yield _by_coordinate(name, modes, rugged, _rugged, law, betas, quartic=quartic, root=root,
                             tilt=tilt, height=height, pitch=pitch)  # fmt: skip
    for name, betas, degrees, logarithm, bound in (
        ("log", (2, 20), 2.0, [1, 0.6, 0.3], [0, 0, 0]),
        ("log, three degrees", (4, 60), 3.0, [0.5, 0.5, 0.5], [0.2, 0, 0.5]),
        ("bounded", (1, 10), 5.0, [0, 0, 0], [1, 2, 0.5]),
        ("bounded, three degrees", (3, 40), 3.0, [0.1, 0, 0.2], [1, 1.5, 0.5]),
    ):
        yield _by_coordinate(name, heavy, tails, _tails, stats.t(degrees), betas,
                             {"degrees": np.full(3, degrees)},
                             logarithm=logarithm, bound=bound)  # fmt: skip
    for name, betas, slope, curvature, place in (
        ("corner", (3, 100), [1, 2, 0.5], [0, 0, 0], [0, 0, 0]),
        ("edge", (5, 200), [0.5, 0, 0], [0, 1, 2], [0, 0.4, 1]),
        ("near an edge", (10, 300), [0, 0, -0.7], [1, 0.5, 0], [0.05, 0.98, 0]),
    ):
        yield _by_coordinate(name, edge, edges, _edges, stats.uniform(0, 1), betas,
                             slope=slope, curvature=curvature, place=place)  # fmt: skip
    for name, betas, shape, slope, place in (
        ("at zero", (2, 30), 0.6, [1, 0.3], [0, 0]),
        ("away", (3, 50), 0.8, [0, 0.2], [1.5, 0.8]),
        ("smooth", (3, 50), 2.5, [0.4, 0], [0, 0.3]),
    ):
        yield _by_coordinate(name, edge, positive, _positive, stats.gamma(shape), betas,
                             {"shape": np.float64(shape)}, slope=slope, place=place)  # fmt: skip
    yield _funnel("mild", (1, 10), 1.5, [0.5, -1, 0.8, 0.2])
    yield _funnel("Neal's", (1, 5), 3.0, [0, 0.3, -0.2, 0.1])
    yield _funnel("far", (2, 30), 2.0, [1.5, -2, 1, 0.4])
    for name, betas, absolute, place, jump, flat in (
        ("absolute", (2, 40), [1, 0.5], [0, 0.8], [0, 0], [0, 0]),
        ("jump", (2, 10), [0.3, 0.5], [0, 0.2], [0.4, 0.2], [0, 0]),
        ("jump, flat", (1, 5), [0, 0], [0, 0], [0.5, 0.8], [0, 0.2]),
        ("flat bottom", (3, 40), [0, 0], [0, 0], [0, 0], [1, 2]),
        ("all", (2, 8), [0.5, 0], [-0.4, 0], [0.3, 0.1], [0, 1]),
    ):
        yield _by_coordinate(name, kink, kinks, _kinks, stats.laplace(), betas,
                             absolute=absolute, place=place, jump=jump, flat=flat)  # fmt: skip
