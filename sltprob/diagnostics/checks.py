"""The checks that a run must pass, one small function each. None needs the true answer.

A check says ``passed = value < limit`` or ``value > limit``, never the negation, so that NaN
fails. What it found when it fails is either *evidence* that the number is wrong, or only that
the evidence for it is *insufficient*.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from sltprob.diagnostics.base import (
    BETANCOURT,
    BIAS,
    HIGHAM,
    ROBNIK,
    STEIN,
    VEHTARI,
    Check,
    Run,
    above,
    below,
    ratio,
    statistic,
)
from sltprob.diagnostics.baseline_checks import as_sampled, attained, least_draw, minimum_loss
from sltprob.diagnostics.identity_checks import (
    configurational_temperature,
    drift,
    energy_excess,
    loss_virial,
    mean_gradient,
    tilted_virial,
    virial,
    virial_convergence,
    virials,
)
from sltprob.diagnostics.ladder_checks import (
    ladder_evidence,
    ladder_fluctuation,
    ladder_free_energy,
    ladder_mixing,
    ladder_weights,
)
from sltprob.diagnostics.scout_checks import scouts
from sltprob.diagnostics.where import scaled_site, where

__all__ = ["CHECKS", "NUMERICAL_CHECKS", "STEIN", "VEHTARI", "Check", "Run", "virials"]

# The bias of lambda-hat is about 0.26 V^(1/3) on a stiff Gaussian of 256 dimensions (2.1 % at 5e-4
# and 0.5 % at 1e-5, measured), and less on Gaussians of few dimensions.
_MICROCANONICAL_BIAS = 0.26
# What rounding may add to a rate of acceptance.
_TOLD_ERROR = 1e-6
# Draws in a row without a move, as a part of all, that make a chain stuck.
_LONGEST_REST = 0.2
# A bias below this, or within four standard errors, makes no answer wrong.
_BIAS_LIMIT, _BIAS_IN_ERRORS = 0.05, 4
# Divergences are no accidents where they come back: one in a thousand, and more than a few.
_DIVERGENT_LIMIT, _FEW_DIVERGENCES = 0.001, 4.5
# An error bar wider than this says little, even where it is right.
_WIDEST_ERROR = 0.15
#: Effective draws of the loss in the bulk that a verdict asks for.
LEAST_ESS = 400


def finite(run: Run) -> list[Check]:
    """Count draws in which something that was recorded is not finite."""
    watched = [run.loss, *run.stats.values()]
    bad = max(int(np.sum(~np.isfinite(values))) for values in watched)
    return [
        below(
            "finite",
            float(bad) if run.loss.size else math.nan,
            1,
            "draws that are not finite",
            "The chain left the range of numbers: take a smaller step size, or an adjusted "
            "sampler such as hmc.",
            HIGHAM,
            evidence=True,
        )
    ]


def alive(run: Run) -> list[Check]:
    """Count chains that moved in fewer than one draw in 20, or rested for a fifth of them.

    One that rests at the least loss drawn may move on a flat bottom, as log p tells.
    """
    chains, draws = run.chains_and_draws
    least = np.min(run.loss, initial=math.inf)
    traces = zip(run.loss, run.stats.get("lp", run.loss), strict=True)
    stuck = [
        _is_stuck(loss) and (np.median(loss) > least or _is_stuck(log_density))
        for loss, log_density in (traces if draws > 1 else ())
    ] or [True] * chains
    return [
        below(
            "alive",
            float(sum(stuck)) if chains else math.nan,
            1,
            "chains that stand still",
            "A chain is stuck: take a smaller step size, a longer warm-up, or init='prior'.",
            VEHTARI,
            evidence=True,
        )
    ]


def _is_stuck(chain: np.ndarray) -> bool:
    """Say whether a chain hardly moves, or stops moving for a long while."""
    moves = np.flatnonzero(np.diff(chain) != 0)
    rest = np.max(np.diff([-1, *moves, len(chain) - 1]))
    # In a short run a few rejections in a row are no long while.
    return bool(len(moves) <= 0.05 * (len(chain) - 1) or rest > max(_LONGEST_REST * len(chain), 20))


def rhat(run: Run) -> list[Check]:
    """Compare the chains' losses by rank-normalised split R-hat."""
    advice = (
        "The chains remember whether they started at the prior or at the optimum: run a longer "
        "warm-up, or take a sampler that crosses barriers, such as replica_exchange."
        if run.attributes.get("init") == "both"
        else "The chains disagree about the loss: run longer, or take a sampler that mixes "
        "better, such as hmc."
    )
    return [
        below(
            "rhat",
            statistic("rhat", run.loss),
            1.02,
            "rank-normalised split R-hat of the loss",
            advice,
            VEHTARI,
        )
    ]


def effective_sample_size(run: Run) -> list[Check]:
    """Require 400 effective draws of the loss in the bulk, and 100 in the tails."""
    advice = "The loss trace has too few independent draws: run longer."
    return [
        above(
            f"ess_{method}",
            statistic("ess", run.loss, method=method, **options),
            limit,
            f"{method} effective sample size of the loss",
            advice,
            VEHTARI,
        )
        for method, limit, options in (
            ("bulk", LEAST_ESS, {}),
            ("tail", 100, {"prob": (0.05, 0.95)}),
        )
    ]


def relative_error(run: Run) -> list[Check]:
    """Require a Monte Carlo error of at most 15 % of lambda-hat."""
    if not run.knows_minimum:
        return []
    return [
        below(
            "mcse",
            ratio(run.mcse, run.scale),
            _WIDEST_ERROR,
            "Monte Carlo standard error, relative to lambda-hat",
            "The error bar is wide: run longer; four times the draws halve it.",
            VEHTARI,
        )
    ]


def acceptance(run: Run) -> list[Check]:
    """Bound the acceptance from below, of the worst chain."""
    if "acceptance_rate" not in run.stats:
        return []
    worst = float(np.min(np.mean(run.stats["acceptance_rate"], axis=1), initial=math.inf))
    if run.number("unadjusted"):
        return [
            above(
                "acceptance",
                worst,
                0.9,
                "acceptance that the unadjusted steps would have had (worst chain)",
                "The step is too large for a sampler without a Metropolis test: divide it by "
                "4, or use mala.",
                BIAS,
                evidence=True,
            )
        ]
    return [
        above(
            "acceptance",
            worst,
            0.005,
            "acceptance rate (worst chain)",
            "Nearly all proposals are rejected: take a smaller step size or a longer warm-up.",
            BETANCOURT,
        )
    ]


def told(run: Run) -> list[Check]:
    """Require that what a kernel tells of its draws can be: counts, and rates from 0 to 1."""
    counts = run.stats.get("num_gradients", np.zeros(1))
    rates = run.stats.get("acceptance_rate", np.zeros(1))
    possible = np.sum(counts >= 0) + np.sum(np.abs(rates - 0.5) <= 0.5 + _TOLD_ERROR)
    impossible = counts.size + rates.size - possible
    if not impossible:
        return []
    return [
        below(
            "told",
            float(impossible),
            1,
            "numbers of gradients below 0 and acceptance rates outside of 0 to 1",
            "The kernel counts wrongly, so that its costs and rates mean nothing: repair the info "
            "that its step returns.",
            BETANCOURT,
        )
    ]


def step_bias(run: Run) -> list[Check]:
    """Bound the bias that the step size of an unadjusted sampler puts on lambda-hat.

    To first order in the step an invariant law is tilted by exp(T), and the noise of the gradient
    adds to that. A sampler records T as ``log_tilt`` and the part of the noise as ``noise_bias``.
    For SGLD T = ε |∇U|²/4 - ε ΔU/2, and the part of the noise is (ε/4) E|ĝ - g|² in the directions
    that the loss sees. What four standard errors of lambda-hat hide is allowed.
    """
    if not run.number("unadjusted") or "energy_variance" in run.stats:
        return []
    # A sampler that records neither cannot be judged, and NaN fails.
    bias = ratio(run.step_bias, run.scale)
    factor = 2 ** max(1, math.ceil(math.log2(bias / 0.02))) if 0 < bias < 1e12 else 4
    return [
        below(
            "step_bias",
            float(bias),
            _bias_limit(run),
            "bias of lambda-hat from the step size, to first order, relative",
            f"Without a Metropolis test this step biases the answer: divide step_size by "
            f"{factor}, or use mala.",
            BIAS,
            evidence=True,
        )
    ]


def _bias_limit(run: Run) -> float:
    error = ratio(run.mcse, run.scale)
    return max(_BIAS_LIMIT, round(_BIAS_IN_ERRORS * error, 3) if error < 1 else 0)


def energy_variance(run: Run) -> list[Check]:
    """Bound the energy error of an unadjusted microcanonical step, per dimension.

    Its variance per dimension V measures the step: the relative bias of lambda-hat grows like
    its cube root, as the bias is of second order in the step and V of sixth. What four standard
    errors of lambda-hat hide is allowed.
    """
    if "energy_variance" not in run.stats:
        return []
    return [
        below(
            "energy_variance",
            float(np.mean(run.stats["energy_variance"])),
            float(f"{(_bias_limit(run) / _MICROCANONICAL_BIAS) ** 3:.2g}"),
            "variance of the energy error of an unadjusted step, per dimension",
            "Without a Metropolis test this step biases the answer: lower desired_energy_var by "
            "a factor of 10, or use adjusted_mclmc.",
            ROBNIK,
            evidence=True,
        )
    ]


def divergences(run: Run) -> list[Check]:
    """Bound the part of the transitions that diverged."""
    if "diverging" not in run.stats:
        return []
    diverging = run.stats["diverging"]
    part = float(np.mean(diverging)) if diverging.size else math.nan
    limit = max(_DIVERGENT_LIMIT, ratio(_FEW_DIVERGENCES, diverging.size))
    place, line = "", ""
    if part >= limit:
        place, site = where(run, diverging > 0), scaled_site(run)
        if site:
            line = (
                f", as numpyro.handlers.reparam(program, config={{{site!r}: "
                "numpyro.infer.reparam.LocScaleReparam(0)}) does"
            )
    return [
        below(
            "divergences",
            part,
            limit,
            "part of the transitions that diverged",
            "The integrator breaks down in a part of the posterior that the chains may miss, such "
            f"as the neck of a funnel or a narrow arm.{place} Write a scaled site as scale * "
            f"standard normal{line}; raise target_acceptance_rate, as in "
            "'hmc[target_acceptance_rate=0.99]'; or compare with tempered_smc.",
            BETANCOURT,
        )
    ]


def energy(run: Run) -> list[Check]:
    """Bound the Bayesian fraction of missing information from below, of the worst chain."""
    if "energy" not in run.stats or run.chains_and_draws[1] < 4:
        return []
    values = run.stats["energy"]
    bfmi = np.mean(np.diff(values, axis=1) ** 2, axis=1) / np.var(values, axis=1)
    return [
        above(
            "bfmi",
            float(np.min(bfmi, initial=math.inf)),
            0.3,
            "Bayesian fraction of missing information (worst chain)",
            "The momentum is refreshed too weakly for the range of energies: reparameterise, "
            "or run longer.",
            BETANCOURT,
        )
    ]


def precision(run: Run) -> list[Check]:
    """Bound what rounding and quadrature can do to lambda-hat."""
    rounding = run.number("beta") * run.number("loss_rounding")
    if not run.knows_minimum:
        error = rounding
    else:
        error = ratio(rounding, run.scale) + run.number("data_error")
    return [
        below(
            "precision",
            float(error),
            0.01,
            "rounding of beta times the loss and error of the quadrature, relative",
            "Floating point cannot resolve this temperature: use float64, or a smaller beta.",
            HIGHAM,
            evidence=True,
        )
    ]


#: The checks that hold for any run, whatever was sampled.
NUMERICAL_CHECKS: tuple[Callable[[Run], list[Check]], ...] = (
    finite,
    alive,
    precision,
    relative_error,
)

#: All checks, in the order in which a verdict shows them.
CHECKS: tuple[Callable[[Run], list[Check]], ...] = (
    finite,
    alive,
    precision,
    as_sampled,
    minimum_loss,
    least_draw,
    attained,
    scouts,
    rhat,
    effective_sample_size,
    relative_error,
    step_bias,
    energy_variance,
    drift,
    virial,
    mean_gradient,
    tilted_virial,
    loss_virial,
    configurational_temperature,
    energy_excess,
    virial_convergence,
    acceptance,
    told,
    divergences,
    energy,
    ladder_fluctuation,
    ladder_free_energy,
    ladder_mixing,
    ladder_evidence,
    ladder_weights,
)
