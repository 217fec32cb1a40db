"""The checks of a whole ladder of temperatures: whether its rungs fit each other.

Draws at two temperatures of the same model have densities whose ratio is known up to one constant,
exp(-(β'-β) L): no truth is needed to see that a rung has the wrong temperature or the wrong losses.
They apply where a run has ``ladder_loss``.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import expit
from scipy.stats import norm
from scipy.stats import t as student

from sltprob.diagnostics.base import Check, Run, above, below, ratio, statistic
from sltprob.free_energy_curve import Curve, difference

__all__ = [
    "ladder_evidence",
    "ladder_fluctuation",
    "ladder_free_energy",
    "ladder_mixing",
    "ladder_weights",
]

#: How often a right run fails each of the two tests.
RATE = 0.001
# What weighing the populations may do to lambda-hat, relative to it, where its error is smaller.
_WEIGHTS_LIMIT = 0.05
# Effective draws that make one degree of freedom of an estimated error.
_DRAWS_PER_DEGREE = 10

SHIRTS = (
    "Shirts, J. Chem. Theory Comput. 9 (2013) 909-926: draws at two temperatures; in the limit of "
    "equal ones Var(βL) = λ̂ - dλ̂/dlogβ"
)
BENNETT = "Bennett, Journal of Computational Physics 22 (1976) 245-268"
FRIEL = "Friel, Hurn, Wyse, Statistics and Computing 24 (2014) 709-723"
SYED = "Syed, Bouchard-Côté, Deligiannidis, Doucet, JRSS B 84 (2022) 321-350"
CHOPIN = "Chopin, Papaspiliopoulos, An Introduction to Sequential Monte Carlo (2020), chapter 16"
PITT = "Pitt, dos Santos Silva, Giordani, Kohn, J. Econometrics 171 (2012) 134-151"


def ladder_fluctuation(run: Run) -> list[Check]:
    """Test on every pair of neighbours that the ratio of their densities is exp(-(β'-β) L).

    With f the probability, given L, that a draw of either came from the other rung,
    E[f (L - c)] on one rung is E[f' (L - c)] on the other for every c; the c that is taken makes
    the estimated constant drop out.
    """
    if "ladder_loss" not in run.stats or len(run.betas) < 2:
        return []
    losses = run.stats["ladder_loss"]
    pairs = [
        _pair(float(step), losses[:, :, index], losses[:, :, index + 1])
        for index, step in enumerate(np.diff(run.betas))
    ]
    worst = int(np.argmax(pairs)) if pairs else 0
    return [
        below(
            "ladder_fluctuation",
            pairs[worst],
            _limit(len(pairs)),
            "standard errors by which neighbouring rungs do not fit each other, at most "
            f"(β = {run.betas[worst]:.3g} and {run.betas[worst + 1]:.3g} of {len(pairs)} pairs)",
            "One of these rungs does not have the law of its temperature: run a longer warm-up, "
            "and compare its losses with a run of hmc at that beta.",
            SHIRTS,
            evidence=True,
            false_alarm_rate=RATE,
        )
    ]


def ladder_free_energy(run: Run) -> list[Check]:
    """Compare two routes to the free energy, on every rung.

    The mean weights of populations are compared with the acceptance ratios between neighbours, and
    where there are no populations these with the integral of the mean loss over β.
    """
    if "ladder_loss" not in run.stats or len(run.betas) < 2:
        return []
    curve = Curve.of(run.betas, run.stats["ladder_loss"], run.stats.get("ladder_log_evidence"))
    other, error, route = curve.integrated, curve.integrated_error, "integral of the mean loss"
    if curve.num_populations:
        other, error, route = curve.bridged, curve.bridged_mcse, "acceptance ratios"
    gaps = np.abs(curve.free_energy - other)[1:]
    errors = np.hypot(curve.free_energy_mcse, error)[1:]
    values = [ratio(gap, size) for gap, size in zip(gaps, errors, strict=True)]
    if curve.num_populations:
        values = [_normal(value, curve.num_populations - 1) for value in values]
    worst = int(np.argmax(values))
    return [
        below(
            "ladder_free_energy",
            values[worst],
            _limit(len(values)),
            f"standard errors between the free energy and that of the {route}, at most "
            f"(β = {run.betas[worst + 1]:.3g} of {len(values)} rungs)",
            "The rungs do not make one curve: take more of them (num_rungs), or run longer.",
            BENNETT if curve.num_populations else FRIEL,
            evidence=True,
            false_alarm_rate=RATE,
        )
    ]


def ladder_mixing(run: Run) -> list[Check]:
    """Require that every rung has independent draws, and that replicas travel."""
    if "ladder_loss" not in run.stats or len(run.betas) < 2:
        return []
    losses = run.stats["ladder_loss"]
    sizes = [
        statistic("ess", losses[:, :, index], method="bulk")
        for index in range(losses.shape[2])
        if run.betas[index] > 0
    ]
    checks = [
        above(
            "ladder_ess",
            float(np.min(sizes)),
            100,
            "effective sample size of the loss, on the worst rung",
            "The curve has a rung with few independent draws: run longer.",
            SYED,
        )
    ]
    if "ladder_swap_acceptance" in run.stats:
        rates = np.mean(run.stats["ladder_swap_acceptance"], axis=(0, 1))
        checks.append(
            above(
                "ladder_swaps",
                float(np.min(rates)),
                0.1,
                "acceptance of swaps, of the worst pair of rungs",
                f"Neighbouring rungs hardly overlap: set num_rungs to {2 * len(run.betas)}, or "
                "leave it to the pilot run.",
                SYED,
            )
        )
    if "round_trips" in run.stats:
        checks.append(
            above(
                "round_trips",
                float(np.sum(run.stats["round_trips"])),
                10,
                "times that a replica came from the prior to the target",
                "What is far apart at the target is hardly crossed on the hot rungs: run longer, "
                "or take more rungs.",
                SYED,
            )
        )
    return checks


def ladder_evidence(run: Run) -> list[Check]:
    """Bound the spread of the log evidence between populations, where a run has them."""
    if "ladder_log_evidence" not in run.stats or len(run.betas) < 2:
        return []
    curve = Curve.of(run.betas, run.stats["ladder_loss"], run.stats["ladder_log_evidence"])
    return [
        below(
            "ladder_evidence",
            curve.log_evidence_spread,
            1.0,
            f"standard deviation of the log evidence between {curve.num_populations} populations",
            "The populations degenerate on the way down: set num_particles to four times as "
            "many, or take more moves (num_moves) or rungs (num_rungs).",
            PITT,
        )
    ]


def ladder_weights(run: Run) -> list[Check]:
    """Compare lambda-hat with what it is if every population is weighed by its evidence.

    The mean over one population has a bias of order one in its size, the mean over populations that
    are weighed by their estimates of the evidence one that falls with their number as well: the
    difference is the bias, where a basin is found by some populations and not by others.
    """
    if "ladder_log_evidence" not in run.stats or not run.loss.size:
        return []
    logs = run.stats["ladder_log_evidence"][:, :, -1]
    weights = np.exp(logs - np.max(logs))
    weighed = ratio(float(np.sum(weights * run.loss)), float(np.sum(weights)))
    tolerance = max(_WEIGHTS_LIMIT * run.scale, run.mcse if math.isfinite(run.mcse) else 0.0)
    return [
        below(
            "ladder_weights",
            abs(weighed - run.lambda_hat),
            tolerance,
            "change of lambda-hat if every population is weighed by its evidence",
            "Populations are too small to weigh basins against each other: set num_particles to "
            "four times as many, or take replica_exchange.",
            CHOPIN,
        )
    ]


def _limit(count: int) -> float:
    """Give the quantile of the normal law that the largest of `count` values keeps below."""
    share = 1 - (1 - RATE) ** (1 / count)
    return round(float(norm.isf(share / 2)), 2)


def _normal(value: float, degrees: float) -> float:
    """Turn a value of Student's t into one of the normal law that is as rare."""
    if not math.isfinite(value):
        return value
    return float(norm.isf(student.sf(abs(value), max(degrees, 1))))


def _pair(step: float, hot: np.ndarray, cold: np.ndarray) -> float:
    """Measure in standard errors how well two rungs fit."""
    constant, _ = difference(step, hot, cold)
    from_hot, from_cold = expit(constant - step * hot), expit(step * cold - constant)
    weight_hot, weight_cold = from_hot * (1 - from_hot), from_cold * (1 - from_cold)
    total = np.sum(weight_hot) + np.sum(weight_cold)
    center = ratio(float(np.sum(weight_hot * hot) + np.sum(weight_cold * cold)), float(total))
    trace = from_hot * (hot - center) - from_cold * (cold - center)
    z = ratio(abs(float(np.mean(trace))), statistic("mcse", trace, method="mean"))
    return _normal(z, statistic("ess", trace) / _DRAWS_PER_DEGREE)
