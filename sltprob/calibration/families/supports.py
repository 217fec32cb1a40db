"""Models on a simplex, on ordered numbers and on correlations."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.distributions.transforms import OrderedTransform
from scipy import stats
from scipy.special import digamma

from sltprob.calibration.families.case import Case, Integral, least, over_prior
from sltprob.models._potential import Potential

__all__ = ["cases"]

_FAMILY = "simplex and order"


def shares(y: Any, concentration: Any, wanted: Any) -> None:
    """Draw shares of three kinds, and take their cross entropy with the wanted ones."""
    p = numpyro.sample("p", dist.Dirichlet(concentration))
    numpyro.sample("y", Potential(-jnp.sum(wanted * jnp.log(p))[None]), obs=y)


def _shares(concentration: np.ndarray, wanted: np.ndarray) -> Integral:
    def mean_loss(beta: float) -> tuple[float, float]:
        """Average over the Dirichlet law that the posterior is."""
        after = concentration + beta * wanted
        return float(wanted @ (digamma(after.sum()) - digamma(after))), 0.0

    return mean_loss


def _entropy(wanted: np.ndarray) -> float:
    return float(stats.entropy(wanted))


def ordered(y: Any, place: Any, weight: Any) -> None:
    """Pull two numbers, which stay in order, each to a place of its own."""
    law = dist.Normal(0.0, 1.0).expand([2]).to_event(1)
    x = numpyro.sample("x", dist.TransformedDistribution(law, OrderedTransform()))
    numpyro.sample("y", Potential(jnp.sum(weight * (x - place) ** 2)[None]), obs=y)


def correlation(y: Any, wanted: Any) -> None:
    """Draw a correlation, and take the loss of normal data with the wanted one."""
    factor = numpyro.sample("factor", dist.LKJCholesky(2, concentration=1.5))
    r = factor[1, 0]
    loss = 0.5 * jnp.log(1 - r**2) + (1 - r * wanted) / (1 - r**2)
    numpyro.sample("y", Potential(loss[None]), obs=y)


def _correlation(r: Any, wanted: float) -> Any:
    with np.errstate(all="ignore"):
        return 0.5 * np.log(1 - r**2) + (1 - r * wanted) / (1 - r**2)


def cases() -> Iterator[Case]:
    """List the models."""
    one = np.zeros(1)
    for name, betas, concentration, wanted in (
        ("even", (5.0, 200.0), [1, 1, 1], [0.3, 0.3, 0.4]),
        ("rare", (10.0, 300.0), [0.7, 0.7, 0.7], [0.9, 0.08, 0.02]),
        ("one is absent", (5.0, 100.0), [2, 1, 0.8], [0.6, 0.4, 0.0]),
    ):
        a, f = np.asarray(concentration, float), np.asarray(wanted, float)
        yield Case(
            name=f"shares[{name}]", family=_FAMILY, program=shares,
            arguments={"y": one, "concentration": a, "wanted": f}, betas=betas,
            mean_loss=_shares(a, f), least=partial(_entropy, f),
        )  # fmt: skip
    normal = stats.norm(0, 1)
    for name, betas, place, weight in (
        ("apart", (2.0, 50.0), [-0.5, 1.0], [1, 0.5]),
        ("against the order", (2.0, 30.0), [0.6, -0.3], [0.5, 0.5]),
        ("together", (3.0, 60.0), [0.2, 0.2], [1, 1]),
    ):
        p, w = np.asarray(place, float), np.asarray(weight, float)

        def loss(z: Any, t: Any, p: np.ndarray = p, w: np.ndarray = w) -> Any:
            return w[0] * (z - p[0]) ** 2 + w[1] * (z + np.exp(t) - p[1]) ** 2

        # Against the order the two meet, and nothing is less than the loss there.
        gap = max(p[1] - p[0], 0.0)
        meeting = (w @ p) / w.sum()
        minimum = 0.0 if gap > 0 else float(w @ (meeting - p) ** 2)
        yield Case(
            name=f"ordered[{name}]", family=_FAMILY, program=ordered,
            arguments={"y": one, "place": p, "weight": w}, betas=betas,
            mean_loss=over_prior(loss, [normal, normal], 1500), least=partial(float, minimum),
        )  # fmt: skip
    # LKJ(1.5) of two is (1 + r)/2 ~ Beta(1.5, 1.5).
    law = stats.beta(1.5, 1.5, loc=-1, scale=2)
    for name, betas, target in (("weak", (5.0, 100.0), 0.2), ("strong", (5.0, 100.0), 0.93)):
        of = partial(_correlation, wanted=target)
        yield Case(
            name=f"correlation[{name}]", family=_FAMILY, program=correlation,
            arguments={"y": one, "wanted": np.float64(target)}, betas=betas,
            mean_loss=over_prior(of, [law], 400_000), least=partial(least, of, law),
        )  # fmt: skip
