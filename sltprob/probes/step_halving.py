"""Halve the step: an unadjusted sampler's answer must not move, nor an adjusted one's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import xarray as xr

from sltprob.diagnostics import Check
from sltprob.diagnostics.base import Run
from sltprob.estimation import LambdaHat
from sltprob.probes.rerun import StoredRun, lambda_hat_of
from sltprob.probes.significance import FALSE_ALARM_RATE, normal_limit, standard_errors

__all__ = ["Extrapolation", "extrapolate", "halve_step", "reason_against", "step_checks"]

RICHARDSON = (
    "Richardson, Phil. Trans. R. Soc. A 210 (1911) 307; for samplers: Durmus, Simsekli, "
    "Moulines, Badeau, Richard, Stochastic gradient Richardson-Romberg MCMC, NIPS 2016"
)

_LARGEST_ERROR = 0.1


@dataclass(frozen=True)
class Extrapolation:
    """λ̂ at step size zero, from two step sizes."""

    value: float
    mcse: float
    order: int  # the power of the step size with which the bias is taken to vanish

    def __str__(self) -> str:
        return f"{self.value:.4g} ± {self.mcse:.2g}"


def reason_against(stored: StoredRun) -> str | None:
    """Say why a run's step cannot be halved, if it cannot."""
    if "step_size" not in stored.parameters:
        return f"{stored.name} has no step size"
    return None


def halve_step(stored: StoredRun, **options: Any) -> xr.DataTree:
    """Run at half the step, with all else as it was tuned.

    Every draw is two of the sampler's, so that a draw of Langevin or Hamiltonian dynamics spans
    the same time as before. The chains start where those of the run ended, if it tells.
    """
    halved = {**stored.parameters, "step_size": stored.parameters["step_size"] / 2}
    return stored.again(
        "half the step",
        parameters=halved,
        repeats=2,
        init=stored.last(),
        chains=stored.chains,
        **options,
    )


def extrapolate(coarse: LambdaHat, fine: LambdaHat, order: int) -> Extrapolation:
    """Extrapolate λ̂ to step size zero.

    References
    ----------
    .. [1] L. F. Richardson, "The approximate arithmetical solution by finite differences of
       physical problems", Philosophical Transactions of the Royal Society A 210 (1911) 307-357.
    .. [2] A. Durmus et al., "Stochastic gradient Richardson-Romberg Markov chain Monte Carlo",
       NIPS 2016.
    """
    weight = 2**order
    return Extrapolation(
        (weight * fine.value - coarse.value) / (weight - 1),
        math.hypot(weight * fine.mcse, coarse.mcse) / (weight - 1),
        order,
    )


def step_checks(stored: StoredRun, halved: xr.DataTree) -> list[Check]:
    """Compare λ̂ of a run with that at half the step."""
    coarse, fine = lambda_hat_of(stored.draws), lambda_hat_of(halved)
    move = coarse.value - fine.value
    z = float(standard_errors(move, (coarse.mcse, coarse.ess), (fine.mcse, fine.ess)))
    limit = normal_limit()
    scale = Run.of(stored.draws).scale
    if stored.sampler.unadjusted:
        # Half the step leaves 1/2^order of the bias; an unknown order is taken for the lowest.
        factor = 1 / (1 - 2.0 ** -(stored.sampler.step_order or 1))
        means = f", a bias of {factor * move / scale:+.1%}" if scale > 0 else ""
        advice = (
            "The step biases lambda-hat: take the extrapolated value, divide step_size by 4, or "
            "use an adjusted sampler such as mala."
        )
    else:
        factor, means = 1.0, ""
        advice = (
            "A sampler with a Metropolis test has no bias from its step, so one of the two runs "
            "has not converged: run longer, with a longer warm-up."
        )
    error = factor * math.hypot(coarse.mcse, fine.mcse) / scale if scale > 0 else math.nan
    return [
        Check(
            "step_halving",
            z,
            limit,
            "<",
            bool(z < limit),
            True,
            f"standard errors between lambda-hat at the step ({coarse.value:.4g}) and at half of "
            f"it ({fine.value:.4g}{means})",
            advice,
            RICHARDSON,
            FALSE_ALARM_RATE,
        ),
        Check(
            "step_halving_error",
            error,
            _LARGEST_ERROR,
            "<",
            bool(error < _LARGEST_ERROR),
            False,
            "standard error of the bias that halving the step can see, relative to lambda-hat",
            "The two runs are too short to tell: give the probe, or the run, four times the draws.",
            RICHARDSON,
        ),
    ]
