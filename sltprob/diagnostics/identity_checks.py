"""The checks that are tests: a mean that the density fixes, against the mean of the draws.

Integration by parts, E[∇·φ - φ·∇U] = 0 with U = -log p, holds for every density p and every smooth
vector field φ that grows slowly. The fields here need nothing but what every run records.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps

import numpy as np

from sltprob.diagnostics.base import GEWEKE, STEIN, Check, Run, above, below, ratio, statistic
from sltprob.diagnostics.mean_tests import error_of_mean, judge_score, mean_is_zero, number_of_tests

__all__ = [
    "configurational_temperature",
    "drift",
    "energy_excess",
    "loss_virial",
    "mean_gradient",
    "needs_no_jumps",
    "tilted_virial",
    "virial",
    "virial_convergence",
    "virials",
]

# Limit of `mean_gradient` beside that of the other tests. Its direction is that in which the chains
# began, so that its mean is not zero until flat directions have mixed, whatever λ̂ is: on the
# training models it found no wrong run alone, and at the limit of the others 14 right ones.
_OWN_DIRECTION = 2.0
# Steepness of the weight of `loss_virial`, which is the logarithm of the loss but for the least.
_WEIGHT_SCALE = 5.0
# A jump of log p, found where an identity failed, that is none of rounding.
_JUMP = 1e-3
# Names of the identities that jumps break.
_BY_PARTS: list[str] = []
# What flat directions that have hardly moved show.
_VIRIAL_RHAT, _VIRIAL_ESS = 1.5, 7.5
# A bias of the spread that a step may have, when an advice says how far to go.
_GOOD_EXCESS = 0.05


GELFAND = "Gelfand, Smith, J. Amer. Statist. Assoc. 85 (1990) 398-409 (Rao-Blackwell)"
BUTLER = "Butler, Ayton, Jepps, Evans, J. Chem. Phys. 109 (1998) 6519-6522"
GORHAM = "Gorham, Mackey, Measuring sample quality with Stein's method, NIPS 2015"


def _by_parts(check: Callable[[Run], list[Check]]) -> Callable[[Run], list[Check]]:
    """Leave an identity out where log p jumps: there it does not hold, whatever the draws are."""
    _BY_PARTS.append(check.__name__)

    @wraps(check)
    def unless_it_jumps(run: Run) -> list[Check]:
        jump = float(run.attributes.get("largest_jump", 0.0))  # type: ignore[arg-type]
        return [] if jump > _JUMP else check(run)

    return unless_it_jumps


def needs_no_jumps(name: str) -> bool:
    """Say of the name of a check whether it holds only where log p does not jump."""
    return name.partition("[")[0] in _BY_PARTS


def virials(run: Run) -> dict[str, np.ndarray]:
    """Give the virial trace of every site, about the center of least variance.

    E[∇U] = 0, so the part along the center is a control variate: any multiple of it may be
    taken off without a change of the mean.

    References
    ----------
    .. [1] C. Stein, "A bound for the error in the normal approximation", Sixth Berkeley Symposium
       (1972), volume 2, 583-602.
    """
    if "virial" not in run.stats or not run.sites:
        return {}
    traces = {}
    for index, site in enumerate(run.sites):
        traces[site] = run.stats["virial"][..., index]
        if "virial_offset" in run.stats:
            offset = run.stats["virial_offset"][..., index]
            covariance = np.cov(traces[site].ravel(), offset.ravel())
            slope = ratio(covariance[0, 1], covariance[1, 1])
            if np.isfinite(slope):
                traces[site] = traces[site] - slope * offset
    return traces


@_by_parts
def virial(run: Run) -> list[Check]:
    """Compare the virial with the dimension, for every site and in total."""
    traces = virials(run)
    dimensions = dict(run.sites)
    if len(traces) > 1:
        traces["total"] = sum(traces.values(), np.zeros_like(run.loss))
        dimensions["total"] = sum(run.sites.values())
    checks = []
    for site, trace in traces.items():
        dimension = dimensions[site]
        excess = ratio(float(np.mean(trace)), dimension)
        where = "all sites" if site == "total" else f"site {site}"
        checks.append(
            mean_is_zero(
                run,
                "virial" if site == "total" else f"virial[{site}]",
                trace - dimension,
                f"how far the spread of {where} ({excess:.3g} times what the density demands) is "
                "off, in standard errors",
                _advice_on_spread(run, excess),
                STEIN,
            )
        )
    return checks


def _advice_on_spread(run: Run, excess: float) -> str:
    """Say what to do about a spread that is so many times the right one."""
    if not run.number("unadjusted"):
        return (
            f"Lambda-hat may be {'too high' if excess > 1 else 'too low'}: run longer from "
            f"init='prior', or take {_another(run)}."
        )
    name = _sampler(run)
    if not excess > 1:
        return (
            "Lambda-hat may be too low: run longer from init='prior', or take mala or hmc, which "
            "have a Metropolis test."
        )
    # Euler's rule on a mode of curvature c has 1/(1 - εc/2) times its spread.
    halvings = max(1, round(math.log2((1 - 1 / excess) / _GOOD_EXCESS)))
    return (
        f"Lambda-hat is too high, as the step of {name} is about {2**halvings} times too large: "
        f"halve it {_times(halvings)}, or take mala, which has a Metropolis test."
    )


def _remedy(run: Run) -> str:
    """Say what to take instead, in words that follow "take"."""
    if run.number("unadjusted"):
        return "a smaller step size, or a sampler with a Metropolis test such as hmc"
    return f"more draws, or {_another(run)}"


def _another(run: Run) -> str:
    """Name a way of moving farther that the run has not taken: no sampler instead of itself."""
    name = _sampler(run)
    if name in ("hmc", "dynamic_hmc", "nuts"):
        return "a higher target_acceptance_rate, so that the step fits the stiffest places"
    return "a sampler that moves farther, such as hmc"


def _sampler(run: Run) -> str:
    return str(run.attributes.get("sampler", "the sampler")).partition("[")[0]


def _times(count: int) -> str:
    words = {1: "once", 2: "twice", 3: "three times", 4: "four times", 5: "five times"}
    return words.get(count, f"{count} times")


@_by_parts
def mean_gradient(run: Run) -> list[Check]:
    """Compare the mean gradient of -log p with zero, along the mean position of every site."""
    if "virial" not in run.stats or "virial_offset" not in run.stats:
        return []
    return [
        mean_is_zero(
            run,
            f"mean_gradient[{site}]",
            run.stats["virial_offset"][..., index],
            f"how far the draws of site {site} lie beside where the density demands, in standard "
            "errors",
            "Lambda-hat may be too high, as chains that are still on their way make it: take a "
            f"longer warm-up, {_remedy(run)}.",
            STEIN,
            slack=_OWN_DIRECTION,
        )
        for index, site in enumerate(run.sites)
    ]


@_by_parts
def tilted_virial(run: Run) -> list[Check]:
    """Compare the virial with the dimension where the density is large.

    The field φ = g(U) θ gives E[g (d - V) + g' V] = 0, V the virial. With
    g = exp(-(U - Ū)/s), s the standard deviation of U, it is the virial of a colder density.
    """
    if "virial" not in run.stats or "lp" not in run.stats:
        return []
    potential = -run.stats["lp"]
    width = float(np.std(potential)) if potential.size else math.nan
    weight = np.exp(-(potential - np.mean(potential)) / width) if potential.size else potential
    return [
        mean_is_zero(
            run,
            f"tilted_virial[{site}]",
            weight * (dimension - run.stats["virial"][..., index] * (1 + ratio(1, width))),
            f"how far the spread of site {site} is off where the density is large, in standard "
            "errors",
            f"Lambda-hat may be off either way: take {_remedy(run)}.",
            f"{STEIN}; {GORHAM}",
        )
        for index, (site, dimension) in enumerate(run.sites.items())
    ]


def energy_excess(run: Run) -> list[Check]:
    """Compare βL with its mean over the readout, all other sites as they are.

    Where the loss is quadratic in a site, that conditional mean is known in closed form. The
    difference has all that is random about βL but the other sites, and its mean is zero.
    """
    if "energy_excess" not in run.stats:
        return []
    return [
        mean_is_zero(
            run,
            "energy_excess",
            run.stats["energy_excess"],
            "how far βL is from its mean over the readout, in standard errors",
            f"Lambda-hat is off by as much: take {_remedy(run)}, and check that the sampler draws "
            "at this beta.",
            GELFAND,
            sees_loss=True,
        )
    ]


@_by_parts
def loss_virial(run: Run) -> list[Check]:
    """Compare the virial with the dimension, each draw weighed by the logarithm of its loss.

    The field φ = g(βL) θ gives E[(g - E g)(d - V) + g' W] = 0, W = θ·∇βL. A weight that sees only
    the loss mixes as fast as the loss does, and cancels flat directions to first order: what is
    left is sensitive to beta itself.
    """
    if "loss_virial" not in run.stats or "virial" not in run.stats or not run.sites:
        return []
    excess = run.loss - np.min(run.loss, initial=math.inf)
    scale = float(np.mean(excess)) / _WEIGHT_SCALE if excess.size else math.nan
    weight = np.log1p(excess / scale)
    slope = 1 / (scale + excess)
    distance = sum(run.sites.values()) - run.stats["virial"].sum(axis=-1)
    values = (weight - np.mean(weight)) * distance + slope * run.stats["loss_virial"].sum(axis=-1)
    return [
        mean_is_zero(
            run,
            "loss_virial",
            values,
            "how far the losses are spread beside what this beta demands, in standard errors",
            f"Lambda-hat may be off either way: take {_remedy(run)}, and check that the sampler "
            "draws at this beta.",
            f"{STEIN}; {GORHAM}",
            sees_loss=True,
        )
    ]


@_by_parts
def configurational_temperature(run: Run) -> list[Check]:
    """Compare βL with what the curvature of the loss says that its mean must be.

    The field φ = βL g / (|g|² + c), with g = ∇βL and βL counted from its least draw, gives
    E[φ·g] = E[∇·φ + φ·∇log p]. With c = 0 the left side is λ̂ itself; c, about what |g|² is, keeps
    the variance finite where the gradient vanishes. It needs no optimum and no coordinates in
    which the loss is simple, and no direction in which the loss is flat has a part in it.
    """
    if "loss_field" not in run.stats or "loss_field_energy" not in run.stats:
        return []
    excess = run.loss - np.min(run.loss, initial=math.inf)
    values = excess * run.stats["loss_field"] + run.stats["loss_field_energy"]
    return [
        mean_is_zero(
            run,
            "configurational_temperature",
            values,
            "how far lambda-hat is from what the slope of the loss says, in standard errors",
            f"Lambda-hat may be off either way: take {_remedy(run)}, and check that the sampler "
            "draws at this beta.",
            f"{STEIN}; {BUTLER}",
            sees_loss=True,
        )
    ]


def virial_convergence(run: Run) -> list[Check]:
    """Require that every site's virial has converged: flat directions mix last."""
    checks = []
    for site, trace in virials(run).items():
        checks.append(
            below(
                f"virial_rhat[{site}]",
                statistic("rhat", trace),
                _VIRIAL_RHAT,
                f"R-hat of the virial of site {site}",
                f"The flat directions of {site} have not mixed, though the loss may look "
                "calm: take longer trajectories (hmc), run longer, and compare init='prior' "
                "with init='optimum'.",
                STEIN,
            )
        )
        checks.append(
            above(
                f"virial_ess[{site}]",
                statistic("ess", trace, method="bulk"),
                _VIRIAL_ESS,
                f"effective sample size of the virial of site {site}",
                f"The flat directions of {site} have few independent draws: take longer "
                "trajectories (hmc) or run longer.",
                STEIN,
            )
        )
    return checks


def drift(run: Run) -> list[Check]:
    """Compare the first half of the loss trace with the second."""
    half = run.chains_and_draws[1] // 2
    first, second = run.loss[:, :half], run.loss[:, half:]
    (error, ess), (other_error, other_ess) = error_of_mean(first), error_of_mean(second)
    difference = abs(float(first.mean()) - float(second.mean())) if half else math.nan
    return [
        judge_score(
            run,
            "drift",
            ratio(difference, math.hypot(error, other_error)),
            ess + other_ess,
            number_of_tests(run)[1],
            "how far the means of the two halves of the trace are apart, in standard errors",
            "The loss still drifts: run a longer warm-up.",
            GEWEKE,
            evidence=False,
        )
    ]
