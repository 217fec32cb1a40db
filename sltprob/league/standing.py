"""How well a sampler did: the runs of several seeds against the exact value, in one row."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from scipy import stats

from sltprob import draws as schema
from sltprob.cell import summarise

__all__ = ["STANDING_FIELDS", "Standing", "draws_to_accuracy", "score"]

#: The relative error that a sampler races to.
_ACCURACY = 0.05
#: A number is off when it is further from the exact one than this many standard errors, and
#: than the accuracy above.
_OFF = 4.0
#: A run that is refused although its number agrees to this many standard errors, and its draws
#: are worth this many, is a false alarm.
_AGREES = 3.0
_ENOUGH = 400.0
_NORMAL_95 = 1.959963984540054


@dataclass(frozen=True, kw_only=True)
class Standing:
    r"""A sampler on one model at one temperature, over all seeds.

    A number that does not exist is None: a run whose λ̂ is no number leaves the errors of the
    row without a value, since leaving it out would flatter. Rates are for all chains together.
    """

    model: str
    sampler: str
    beta: float
    # Why the sampler does not apply to the model; every number is None or 0 then
    reason: str | None = None
    seeds: int = 0  # Runs
    exact: float | None = None  # λ̂ at this beta, computed without sampling the posterior
    exact_mcse: float | None = None
    exact_method: str | None = None  # how it was found
    relative_error: float | None = None  # Root mean square over the seeds of (λ̂ - exact) / exact
    relative_bias: float | None = None  # Mean over the seeds, with its sign
    # Root mean square over the seeds of (λ̂ - exact) / standard error; 1 for honest errors
    rms_z: float | None = None
    covered: int = 0  # Seeds whose 95 % interval, λ̂ ± 1.96 standard errors, holds the exact value
    coverage_low: float | None = None  # 95 % interval of the coverage, by Clopper and Pearson
    coverage_high: float | None = None  # 95 % interval of the coverage, by Clopper and Pearson
    ess: float | None = None  # Effective draws of the loss in one run, mean over the seeds
    ess_per_second: float | None = None  # seconds: While sampling
    # Seconds: Of one run alone, with its warm-up and the compilation
    ess_per_second_in_all: float | None = None
    # For each gradient on all data while sampling; a minibatch counts by its size
    ess_per_gradient: float | None = None
    # Seconds: Of sampling until the expected error is 5 % and stays there: see `draws_to_accuracy`.
    # None if it never does.
    gradients_to_accuracy: float | None = None
    # Seconds: Of sampling until the expected error is 5 % and stays there: see `draws_to_accuracy`.
    # None if it never does.
    seconds_to_accuracy: float | None = None
    trusted: int = 0  # Seeds with this verdict
    doubtful: int = 0  # Seeds with this verdict
    wrong: int = 0  # Seeds with this verdict
    false_trust: int = 0  # Seeds that are trusted, and off by more than 4 standard errors and 5 %
    # Seeds that are not trusted, though \|z| < 3 and the effective draws are 400 or more
    false_alarm: int = 0
    gradients: float | None = None  # of one run, all chains, mean over the seeds
    warmup_gradients: float | None = None  # of one run, all chains, mean over the seeds
    seconds_sampling: float | None = None  # seconds: Of one run, mean over the seeds
    seconds_warmup: float | None = None  # seconds: Of one run, mean over the seeds
    seconds_compile: float | None = None  # seconds: Once for all runs of this sampler on this model

    def with_compilation(self, seconds: float) -> Standing:
        """Set the seconds of compilation, which runs of other betas may have spent."""
        spent = (self.seconds_sampling or 0.0) + (self.seconds_warmup or 0.0) + seconds
        return dataclasses.replace(
            self, seconds_compile=seconds, ess_per_second_in_all=_ratio(self.ess, spent)
        )


#: The columns of the table as CSV and JSON, in order. They are an interface.
STANDING_FIELDS = tuple(field.name for field in dataclasses.fields(Standing))


def score(runs: Sequence[xr.DataTree]) -> Standing:
    """Score the runs of one sampler on one model at one beta, which differ by their seeds.

    References
    ----------
    .. [1] C. J. Clopper and E. S. Pearson, "The use of confidence or fiducial limits illustrated
       in the case of the binomial", Biometrika 26 (1934) 404-413.
    .. [2] A. Vehtari et al., "Rank-normalization, folding, and localization: an improved R-hat",
       Bayesian Analysis 16 (2021), for the effective sample size.
    """
    if not runs:
        raise ValueError("runs is empty: a score needs at least one run, such as [measure(...)]")
    for run in runs:
        schema.check(run)
    kinds = {(run.attrs["model"], run.attrs["sampler"], float(run.attrs["beta"])) for run in runs}
    if len(kinds) > 1:
        raise ValueError(
            f"the runs are of {len(kinds)} kinds, such as {sorted(kinds)[:2]}; score those of one "
            "model, sampler and beta at a time"
        )
    cells = [summarise(run) for run in runs]
    exact = cells[0]["exact"]
    if exact is None or not exact > 0:
        raise ValueError(
            f"the exact value of {cells[0]['model']} is {exact}: errors relative to it do not "
            "exist; take a model with an exact answer, and measure(..., exact=model.exact(beta))"
        )
    count = len(cells)
    errors = np.array([_number(cell["lambda_hat"]) / exact - 1 for cell in cells])
    z = np.array([_number(cell["z"]) for cell in cells])
    ess = np.array([cell["ess"] or 0.0 for cell in cells])
    trusted = np.array([cell["verdict"] == "trusted" for cell in cells])
    covered = int(np.sum(np.abs(z) <= _NORMAL_95))
    interval = stats.binomtest(covered, count).proportion_ci(0.95, method="exact")
    gradients = _mean(cell["gradients"] for cell in cells)
    sampling = _mean(cell["seconds_sampling"] for cell in cells)
    warmup = _mean(cell["seconds_warmup"] for cell in cells)
    effective = _known(float(np.mean(ess))) if np.any(ess > 0) else None
    share = _cost_share(runs)
    standing = Standing(
        model=cells[0]["model"],
        sampler=cells[0]["sampler"],
        beta=cells[0]["beta"],
        seeds=count,
        exact=exact,
        exact_mcse=cells[0]["exact_mcse"],
        exact_method=cells[0]["exact_method"],
        relative_error=_known(float(np.sqrt(np.mean(errors**2)))),
        relative_bias=_known(float(np.mean(errors))),
        rms_z=_known(float(np.sqrt(np.mean(z**2)))),
        covered=covered,
        coverage_low=float(interval.low),
        coverage_high=float(interval.high),
        ess=effective,
        ess_per_second=_ratio(effective, sampling),
        ess_per_gradient=_ratio(effective, gradients),
        gradients_to_accuracy=None if share is None or not gradients else share * gradients,
        seconds_to_accuracy=None if share is None or sampling is None else share * sampling,
        trusted=int(np.sum(trusted)),
        doubtful=sum(cell["verdict"] == "doubtful" for cell in cells),
        wrong=sum(cell["verdict"] == "wrong" for cell in cells),
        false_trust=int(np.sum(trusted & (np.abs(z) > _OFF) & (np.abs(errors) > _ACCURACY))),
        false_alarm=int(np.sum(~trusted & (np.abs(z) < _AGREES) & (ess >= _ENOUGH))),
        gradients=gradients,
        warmup_gradients=_mean(run.attrs.get("warmup_gradients", math.nan) for run in runs),
        seconds_sampling=sampling,
        seconds_warmup=warmup,
    )
    compiling = sum(cell["seconds_compile"] for cell in cells)
    return standing.with_compilation(compiling if math.isfinite(compiling) else 0.0)


def draws_to_accuracy(
    traces: Sequence[np.ndarray], exact: float, accuracy: float = _ACCURACY
) -> int | None:
    """Count the draws until the expected error of the running mean stays below an accuracy.

    After n draws of every chain a run would report the mean of what its chains have so far. Its
    expected squared error is the variance of that mean plus its squared bias. The variance comes
    from the spread between the chains of a run; the squared bias is what the mean over the runs
    of the squared error has beyond the variance. So a start far away counts until it is
    forgotten, and a sampler whose stationary law is off by more than the accuracy never gets
    there, however many draws it makes.

    References
    ----------
    .. [1] A. Gelman and D. B. Rubin, "Inference from iterative simulation using multiple
       sequences", Statistical Science 7 (1992) 457-472, for the variance from chains.
    """
    if not traces or not exact > 0 or not accuracy > 0:
        raise ValueError(
            f"{len(traces)} traces, exact={exact}, accuracy={accuracy}: there must be a trace, "
            "and both numbers must be positive, such as accuracy=0.05"
        )
    length = min(trace.shape[1] for trace in traces)
    counts = np.arange(1, length + 1)
    squared_errors, variances = [], []
    with np.errstate(all="ignore"):
        for trace in traces:
            running = np.cumsum(trace[:, :length], axis=1) / counts / exact - 1
            squared_errors.append(np.mean(running, axis=0) ** 2)
            if len(running) > 1:
                variances.append(np.var(running, axis=0, ddof=1) / len(running))
        variance = np.mean(variances, axis=0) if variances else np.zeros(length)
        expected = variance + np.maximum(np.mean(squared_errors, axis=0) - variance, 0.0)
    # Not `expected > limit`: what is no number is not below it.
    late = np.flatnonzero(~(expected <= accuracy**2))
    first = int(late[-1]) + 2 if late.size else 1
    return first if first <= length else None


def _cost_share(runs: Sequence[xr.DataTree]) -> float | None:
    """Give the share of sampling that was needed for the accuracy, by gradients."""
    losses = [np.asarray(run["sample_stats"]["loss"].values, dtype=float) for run in runs]
    minimum, beta = float(runs[0].attrs["minimum_loss"]), float(runs[0].attrs["beta"])
    traces = [beta * (loss - minimum) for loss in losses]
    needed = draws_to_accuracy(traces, float(runs[0].attrs["exact"]))
    if needed is None:
        return None
    shares = []
    for run, loss in zip(runs, losses, strict=True):
        statistics = run["sample_stats"]
        share = needed / loss.shape[1]
        if "num_gradients" in statistics:
            # A draw of one sampler may cost ten times the next.
            spent = np.asarray(statistics["num_gradients"].values, dtype=float)
            share = float(spent[:, :needed].sum() / spent.sum()) if spent.sum() > 0 else share
        shares.append(share)
    return float(np.mean(shares))


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _mean(values: Any) -> float | None:
    return _known(float(np.mean([float(value) for value in values])))


def _ratio(value: float | None, cost: float | None) -> float | None:
    return value / cost if value is not None and cost is not None and cost > 0 else None
