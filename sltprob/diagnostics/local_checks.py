"""The checks of a run around trained parameters, chosen by its attribute ``local``.

A wrong local λ̂ is rarely a chain that does not mix: it is a chain that has not arrived, one that
has left the basin, a step that is too large, or parameters that are no minimum.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from sltprob.diagnostics.base import (
    HIGHAM,
    STEIN,
    VEHTARI,
    Check,
    Run,
    above,
    below,
    ratio,
    statistic,
)
from sltprob.local_estimate import LocalEstimate, local_estimate

__all__ = ["LOCAL_CHECKS", "estimate_of"]

LAU = "Lau, Furman, Wang, Murfet, Wei, The local learning coefficient, arXiv 2308.12108"
STEP = (
    "Stationarity of |θ - θ*|² under Euler's step; to first order Vollmer, Zygalakis, Teh, JMLR 17 "
    "(2016) 159"
)
# Of λ̂: beyond the first the step makes the answer wrong, below the second it can be left alone.
_RHO_LIMIT, _RHO_WANTED = 0.3, 0.08
# Part of the dimension that the squared distance may still grow by.
_DRIFT_LIMIT = 0.1
# The same, give or take twice its error: of runs of 1,000 draws on the models of the calibration it
# was below 0.15, of those of 50 that had not arrived, above 0.35.
_ARRIVAL_LIMIT = 0.3
# How far the last quarter may be from the second, relative to λ̂, where errors are smaller.
_TREND_LIMIT, _ERRORS = 0.05, 4
_NOISE_LIMIT = 0.05
# How far halves of chains may be apart, where R-hat says that they are.
_SPREAD_LIMIT = 0.04
_VIRIAL_LIMIT = 0.05
# What the spacing of floating point at θ* may do to λ̂: beside steps that are resolved it is 1e-6.
_RESOLUTION_LIMIT = 0.02
_BLOCKS = 20


def estimate_of(run: Run) -> LocalEstimate:
    """Estimate λ̂ of a run from what its checks read."""
    halved = None
    if run.half_step:
        scaled = run.number("beta") * (run.half_step["loss"] - run.number("minimum_loss"))
        halved = {"scaled": scaled, "bias": run.half_step["step_bias"]}
        if "step_cooling" in run.half_step:
            halved["cooling"] = run.half_step["step_cooling"]
    return local_estimate(run.loss, run.stats["step_bias"], halved, run.stats.get("step_cooling"))


def step_bias(run: Run) -> list[Check]:
    """Bound C, by how much the step and the noise of its gradient raise λ̂, relative to λ̂."""
    found = estimate_of(run)
    rho = found.rho
    step = run.number("step_size") * (0.5 if run.half_step else 1)
    # With momentum the bias grows with the square of the step.
    power = 1.0 if run.number("step_size") == run.number("langevin_step") else 0.5
    wanted = step * (_RHO_WANTED / rho) ** power if rho > 0 and math.isfinite(rho) else step / 10
    return [
        below(
            "local_step_bias",
            rho,
            _RHO_LIMIT,
            "bias of λ̂ from the step, at most, relative to λ̂",
            f"The step is too large: write step_size={wanted:.1g}, and run "
            f"{_times(step / wanted)} as long.",
            STEP,
            evidence=True,
        )
    ]


def arrived(run: Run) -> list[Check]:
    """Bound by how much |θ - θ*|² still grows, block by block, as a part of the dimension.

    A block that has arrived has none; one that starts at θ* has all of it. In directions that the
    loss does not hold it falls like exp(-2γεT), T the number of steps. Of short runs this is known
    badly: of all blocks together, the upper end of what is possible has a limit of its own.
    """
    worst, name = _worst_drift(run)
    left = 2 * run.number("localization") * run.number("langevin_step") * _steps(run)
    longer = max(2.0, math.log(_DRIFT_LIMIT / 2) / math.log(worst)) if 0 < worst < 1 else 10.0
    gamma = run.number("localization") * longer
    if left <= 0:
        gamma = 1 / (run.number("langevin_step") * _steps(run))
    return [
        below(
            "local_arrival",
            _most_drift(run),
            _ARRIVAL_LIMIT,
            "part of the dimension by which |θ - θ*|² may still grow, at most",
            "The run is too short to say whether its chains have arrived: run 4 times as long.",
            STEP,
        ),
        below(
            f"local_drift[{name}]",
            worst,
            _DRIFT_LIMIT,
            f"part of the dimension of {name} by which |θ - θ*|² still grows",
            f"The chain is still on its way, and λ̂ grows with the length of the run: run "
            f"{_times(longer)} as long, or hold it closer with gamma={_round(gamma)}.",
            STEP,
        ),
    ]


def _steps(run: Run) -> float:
    return run.number("steps_per_draw") * max(run.chains_and_draws[1] - 1, 1)


def _worst_drift(run: Run) -> tuple[float, str]:
    """Give the block whose squared distance drifts most, beyond twice its error."""
    distance = run.stats.get("squared_distance")
    if distance is None or distance.shape[1] < 4:
        return math.nan, "all"
    chains = len(distance)
    per_step = _growth(run, distance)
    sizes = np.asarray(list(run.sites.values()), dtype=float)
    mean = np.abs(per_step.mean(axis=0)) / sizes
    error = per_step.std(axis=0, ddof=1) / math.sqrt(chains) / sizes if chains > 1 else 0.0
    left = np.maximum(mean - 2 * error, 0.0)
    if not np.all(np.isfinite(left)):
        return math.nan, "all"
    index = int(np.argmax(left))
    return float(left[index]), list(run.sites)[index]


def _growth(run: Run, distance: np.ndarray) -> np.ndarray:
    """Give by how much |θ - θ*|² grows per step, in units of what a step adds; (chain, site)."""
    draws = distance.shape[1]
    time = np.arange(draws) - (draws - 1) / 2
    slope = np.einsum("cds,d->cs", distance, time) / np.sum(time**2)
    return np.asarray(
        slope / (2 * run.number("langevin_step") * run.number("steps_per_draw")), dtype=float
    )


def _most_drift(run: Run) -> float:
    """Give the upper end of the drift of all coordinates together, as a part of the dimension."""
    distance = run.stats.get("squared_distance")
    if distance is None or distance.shape[1] < 4:
        return math.nan
    drift = _growth(run, distance).sum(axis=1) / float(sum(run.sites.values()))
    error = drift.std(ddof=1) / math.sqrt(len(drift)) if len(drift) > 1 else 0.0
    return float(drift.mean() + 2 * error)


def trend(run: Run) -> list[Check]:
    """Compare λ̂ of the last quarter of the draws with that of the second."""
    quarters = np.array_split(run.loss, 4, axis=1)
    change = math.nan
    limit = _TREND_LIMIT
    if run.chains_and_draws[1] >= 16:
        change = ratio(float(quarters[3].mean() - quarters[1].mean()), run.scale)
        error = ratio(run.mcse, run.scale)
        # A quarter has twice the error of the whole, a difference of two has three times.
        limit = max(limit, round(_ERRORS * 3 * error, 3) if error < 1 else 0)
    return [
        below(
            "local_trend",
            abs(change),
            limit,
            "change of λ̂ from the second quarter of the draws to the last, relative",
            "λ̂ still changes as the run goes on: run 4 times as long.",
            "Geweke, Bayesian Statistics 4 (1992) 169-193",
        )
    ]


def basin(run: Run) -> list[Check]:
    """Require that the loss rises along the way from θ* as it does in a basin.

    Where the loss is convex along the ray from θ*, (θ - θ*)·∇L >= L - L*, and twice that where it
    is quadratic. A chain on a plateau, such as at chance level, has lost its slope; its λ̂ counts
    dimensions and is not local.
    """
    if "loss_virial" not in run.stats:
        return []
    slope = float(np.mean(run.stats["loss_virial"].sum(axis=-1)))
    gamma = run.number("localization")
    advice = (
        f"The chain has left the basin of the trained parameters: write gamma={_round(10 * gamma)} "
        "or more, and read what local_sweep says."
    )
    value = ratio(slope, run.lambda_hat) if run.lambda_hat > 0 else math.inf
    return [
        above(
            "local_basin",
            value,
            1.0,
            "(θ - θ*)·∇L relative to L - L* (2 where the loss is quadratic)",
            advice,
            LAU,
            evidence=True,
        )
    ]


def center_is_minimum(run: Run) -> list[Check]:
    """Require that no stretch of a chain has a loss below that of θ*, beyond its noise."""
    draws = run.loss.shape[1]
    excess = math.nan
    if draws >= 1:
        count = min(_BLOCKS, draws)
        blocks = np.array_split(np.arange(draws), count)
        noise = run.stats.get("paired_variance", np.zeros_like(run.loss))
        nbeta = run.number("beta")
        low = [
            run.loss[:, block].mean(axis=1)
            + _ERRORS * nbeta * np.sqrt(noise[:, block].sum(axis=1)) / len(block)
            for block in blocks
        ]
        excess = -float(np.min(low))
    tolerance = max(0.02 * run.scale, run.mcse if math.isfinite(run.mcse) else 0.0)
    return [
        below(
            "local_minimum",
            excess,
            tolerance,
            "nβ (L* - the loss of a stretch of a chain)",
            "The trained parameters are no minimum of this loss on these data: train on, with a "
            "smaller learning rate and without what the loss leaves out, such as weight decay.",
            LAU,
            evidence=True,
        )
    ]


def record_noise(run: Run) -> list[Check]:
    """Bound the error of λ̂ from the choice of the rows on which the loss was recorded."""
    variance = run.stats.get("paired_variance", np.full_like(run.loss, np.nan))
    error = run.number("beta") * math.sqrt(float(np.sum(variance))) / max(variance.size, 1)
    relative = ratio(error, run.scale)
    factor = max(2.0, (relative / (_NOISE_LIMIT / 2)) ** 2) if math.isfinite(relative) else 4.0
    size = run.number("batch_size") * factor
    return [
        below(
            "local_record_noise",
            relative,
            _NOISE_LIMIT,
            "error of λ̂ from the rows on which the loss was recorded, relative",
            f"Too few rows tell the loss: write batch_size={_round(size)}, record='all', or run "
            f"{_times(factor)} as long.",
            LAU,
        )
    ]


def chains_agree(run: Run) -> list[Check]:
    """Compare the chains: by the means of their halves, or by R-hat and effective draws.

    The loss of a large network averages over its own directions: where halves of chains that began
    apart differ by no more than this, it does not matter that R-hat can tell them apart.
    """
    halves = [half.mean(axis=1) for half in np.array_split(run.loss, 2, axis=1)]
    means = np.concatenate(halves)
    spread = ratio(float(np.max(means) - np.min(means)), run.scale)
    if len(run.loss) > 1 and run.loss.shape[1] >= 100 and spread < _SPREAD_LIMIT:
        return [
            below(
                "local_spread",
                spread,
                _SPREAD_LIMIT,
                "difference between the means of half chains, at most, relative to λ̂",
                "The chains disagree: run 4 times as long.",
                VEHTARI,
            )
        ]
    return [
        below(
            "rhat",
            statistic("rhat", run.loss),
            1.05,
            "rank-normalised split R-hat of the paired loss",
            "The chains disagree: run 4 times as long.",
            VEHTARI,
        ),
        above(
            "ess_bulk",
            statistic("ess", run.loss, method="bulk"),
            100,
            "bulk effective sample size of the paired loss",
            "The paired loss has too few independent draws: run longer, or raise steps_per_draw.",
            VEHTARI,
        ),
    ]


def virial(run: Run) -> list[Check]:
    """Require u·ĝ, less what Euler's rule adds, to be the dimension less the drift."""
    values = run.stats["virial"].sum(axis=-1)
    dimension = float(sum(run.sites.values()))
    distance = run.stats["squared_distance"].sum(axis=-1)
    steps = 2 * run.number("langevin_step") * _steps(run)
    # Chain by chain: one that comes out further than others has a smaller virial for it.
    gone = (distance[:, -1] - distance[:, 0]) / steps if steps > 0 else np.nan
    by_chain = values.mean(axis=1) + gone - dimension
    off = ratio(float(by_chain.mean()), dimension)
    chains = len(by_chain)
    # Where a chain is at either end is chance, by as much as |θ - θ*|² spreads within a run.
    ends = float(distance.std(axis=1).mean()) * math.sqrt(2 / chains) / steps if steps > 0 else 0.0
    error = math.hypot(statistic("mcse", values, method="mean"), ends)
    if chains > 1:
        # Of a few chains, the spread is known to some tens of percent.
        error = max(error, 1.5 * float(by_chain.std(ddof=1)) / math.sqrt(chains))
    error = ratio(error, dimension)
    limit = max(_VIRIAL_LIMIT, round(_ERRORS * error, 3) if error < 1 else 0)
    return [
        below(
            "local_virial",
            abs(off),
            limit,
            "E[(θ-θ*)·ĝ] with the terms of Euler's rule and of the drift, relative to the "
            "dimension, less 1",
            "The chain does not follow its own rule, as where the step is at the edge of "
            "stability: divide step_size by 4.",
            STEIN,
            evidence=True,
        )
    ]


def resolution(run: Run) -> list[Check]:
    """Bound what rounding of the parameters does to λ̂, where θ* is large beside the basin.

    A displacement is kept on its own; the loss sees it added to θ*, as a multiple of the spacing of
    floating point there.
    """
    if "parameter_rounding" not in run.stats:
        return []
    dtype = str(run.attributes.get("loss_dtype", "float32"))
    wider = {
        "float64": "",
        "float32": "write local(..., dtype='float64'), or ",
    }.get(dtype, "let the loss compute in float32, or ")
    return [
        below(
            "local_resolution",
            ratio(float(np.mean(run.stats["parameter_rounding"])), run.scale),
            _RESOLUTION_LIMIT,
            f"what rounding θ to {dtype} adds to λ̂, at most, relative",
            f"The basin is about as narrow as the spacing of {dtype} at the trained parameters: "
            f"{wider}shift or scale inputs so that the parameters are smaller.",
            HIGHAM,
        )
    ]


def _times(factor: float) -> str:
    return f"{math.ceil(min(max(factor, 2.0), 1e6)):,} times"


def _round(value: float) -> str:
    """Write a number to one digit, in full."""
    if not 0 < value < math.inf:
        return "1"
    power = 10.0 ** math.floor(math.log10(value))
    rounded = math.ceil(value / power - 1e-3) * power
    return f"{rounded:,.0f}" if rounded >= 1 else f"{rounded:g}"


#: All checks of a local run beside those of numbers, in the order in which a verdict shows them.
LOCAL_CHECKS: tuple[Callable[[Run], list[Check]], ...] = (
    center_is_minimum,
    basin,
    step_bias,
    arrived,
    trend,
    chains_agree,
    record_noise,
    virial,
    resolution,
)
