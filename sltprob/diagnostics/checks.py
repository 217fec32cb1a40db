"""The checks that a run must pass, one small function each. None needs the true answer.

A check says ``passed = value < limit`` or ``value > limit``, never the negation, so that NaN
fails. What it found when it fails is either *evidence* that the number is wrong, or only that
the evidence for it is *insufficient*.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from arviz_stats.base import array_stats

__all__ = ["CHECKS", "Check", "Run"]

VEHTARI = "Vehtari, Gelman, Simpson, Carpenter, Buerkner, Bayesian Analysis 16 (2021) 667-718"
STEIN = "Stein's identity E[(θ-c)·∇U] = d, U = -log p; integration by parts"
BETANCOURT = "Betancourt, A conceptual introduction to HMC, arXiv 1701.02434"
BIAS = "Vollmer, Zygalakis, Teh, JMLR 17 (2016) 159: invariant law of SGLD to first order in step"
ROBNIK = "Robnik, De Luca, Silverstein, Seljak, Microcanonical HMC, JMLR 24 (2023) 311"
GEWEKE = "Geweke, Bayesian Statistics 4 (1992) 169-193"
HIGHAM = "Higham, Accuracy and Stability of Numerical Algorithms (2002), section 1"

# The bias of lambda-hat is about 0.26 V^(1/3) on a stiff Gaussian of 256 dimensions (2.1 % at 5e-4
# and 0.5 % at 1e-5, measured), which makes 1.2 % here, and less on Gaussians of few dimensions.
MICROCANONICAL_LIMIT = 1e-4


@dataclass(frozen=True)
class Check:
    """The outcome of one check.

    Parameters
    ----------
    name : str
        Stable; part of the interface.
    value : float
        What was measured.
    limit : float
    relation : str
        ``"<"`` or ``">"``: how the value must stand to the limit.
    passed : bool
    evidence : bool
        Whether failing is evidence of a wrong number, not only a lack of evidence. A value
        that cannot be computed is no evidence.
    meaning : str
        What was measured, in words.
    advice : str
        One sentence: what to do when it fails.
    reference : str
    """

    name: str
    value: float
    limit: float
    relation: str
    passed: bool
    evidence: bool
    meaning: str
    advice: str
    reference: str

    @property
    def finding(self) -> str:
        """What was found and what should have been, with digits that tell the two apart."""
        side = "below" if self.relation == "<" else "above"
        limit = f"{self.limit:g}"
        if math.isnan(self.value):
            return f"{self.meaning}: cannot be computed, must be {side} {limit}"
        texts = (f"{self.value:.{digits}g}" for digits in (3, 4, 5, 17))
        value = next((text for text in texts if text != limit), limit)
        return f"{self.meaning}: {value}, must be {side} {limit}"

    def __str__(self) -> str:
        state = "ok" if self.passed else "FAILED"
        return f"{self.name}: {self.value:.4g} {self.relation} {self.limit:g} {state}"


@dataclass(frozen=True)
class Run:
    """What the checks read of a run.

    Parameters
    ----------
    loss : array, shape (chain, draw)
        β (L - L*), or β L where L* is not known.
    stats : mapping of str to array
        Every variable of ``sample_stats``.
    sites : mapping of str to int
        Dimension of every site.
    attributes : mapping
        Of the run.
    """

    loss: np.ndarray
    stats: dict[str, np.ndarray]
    sites: dict[str, int]
    attributes: dict[str, object]

    @classmethod
    def of(cls, draws: xr.DataTree) -> Run:
        """Read a run.

        Parameters
        ----------
        draws : xarray.DataTree

        Returns
        -------
        Run
        """
        stats = {
            str(name): np.asarray(variable.values, dtype=float)
            for name, variable in draws["sample_stats"].data_vars.items()
        }
        minimum_loss = float(draws.attrs["minimum_loss"])
        shift = 0.0 if math.isnan(minimum_loss) else minimum_loss
        sites = {}
        if "constant_data" in draws.children and "site_dimension" in draws["constant_data"]:
            dimension = draws["constant_data"].to_dataset()["site_dimension"]
            names, values = dimension["site"].values, dimension.values
            sites = {str(name): int(value) for name, value in zip(names, values, strict=True)}
        loss = float(draws.attrs["beta"]) * (stats["loss"] - shift)
        attributes = {str(name): value for name, value in draws.attrs.items()}
        return cls(loss, stats, sites, attributes)

    def number(self, name: str) -> float:
        """Give an attribute as a number.

        Parameters
        ----------
        name : str

        Returns
        -------
        float
        """
        return float(self.attributes[name])  # type: ignore[arg-type]

    @property
    def lambda_hat(self) -> float:
        """The mean of the scaled loss."""
        return float(self.loss.mean()) if self.loss.size else math.nan

    @property
    def scale(self) -> float:
        """What errors are relative to: |lambda-hat|, or Var(βL) where that is larger.

        The two are equal for a quadratic loss; on a noisy data set lambda-hat can be near zero
        or negative, and its size is then no scale.
        """
        return max(abs(self.lambda_hat), float(np.var(self.loss))) if self.loss.size else math.nan

    @property
    def knows_minimum(self) -> bool:
        """Whether L* is known."""
        return not math.isnan(self.number("minimum_loss"))

    @property
    def chains_and_draws(self) -> tuple[int, int]:
        """Number of chains and of draws."""
        return self.loss.shape[0], self.loss.shape[1]


def _below(
    name: str,
    value: float,
    limit: float,
    meaning: str,
    advice: str,
    reference: str,
    *,
    evidence: bool = False,
) -> Check:
    return Check(name, value, limit, "<", bool(value < limit), evidence, meaning, advice, reference)


def _above(
    name: str,
    value: float,
    limit: float,
    meaning: str,
    advice: str,
    reference: str,
    *,
    evidence: bool = False,
) -> Check:
    return Check(name, value, limit, ">", bool(value > limit), evidence, meaning, advice, reference)


def _statistic(kind: str, values: np.ndarray, **options: Any) -> float:
    """Compute an ArviZ statistic, NaN where it does not exist.

    ArviZ calls a frozen trace perfect and lets an infinity pass, so both are settled first.
    """
    chains, draws = values.shape
    if draws < 4 or (kind == "rhat" and chains < 2) or not np.all(np.isfinite(values)):
        return math.nan
    if not np.all(np.ptp(values, axis=1) > 0):
        return math.nan
    return float(getattr(array_stats, kind)(values, chain_axis=0, draw_axis=1, **options))


def _ratio(numerator: float, denominator: float) -> float:
    """Divide, NaN where there is nothing to divide by."""
    return float(numerator) / float(denominator) if denominator != 0 else math.nan


def _z(values: np.ndarray, expected: float) -> float:
    mcse = _statistic("mcse", values, method="mean")
    return _ratio(abs(float(values.mean()) - expected), mcse)


def finite(run: Run) -> list[Check]:
    """Count draws in which something that was recorded is not finite."""
    watched = [run.loss, *run.stats.values()]
    bad = max(int(np.sum(~np.isfinite(values))) for values in watched)
    return [
        _below(
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
    """Count chains whose loss moved in fewer than one draw in 20."""
    chains, draws = run.chains_and_draws
    moved = np.diff(run.loss, axis=1) != 0
    moving = np.mean(moved, axis=1) if draws > 1 else np.zeros(chains)
    return [
        _below(
            "alive",
            float(np.sum(~(moving > 0.05))) if chains else math.nan,
            1,
            "chains that stand still",
            "A chain is stuck: take a smaller step size, a longer warm-up, or init='prior'.",
            VEHTARI,
            evidence=True,
        )
    ]


def rhat(run: Run) -> list[Check]:
    """Compare the chains' losses by rank-normalised split R-hat."""
    return [
        _below(
            "rhat",
            _statistic("rhat", run.loss),
            1.01,
            "rank-normalised split R-hat of the loss",
            "The chains disagree about the loss: run longer, or take a sampler that mixes "
            "better, such as hmc.",
            VEHTARI,
        )
    ]


def effective_sample_size(run: Run) -> list[Check]:
    """Require 400 effective draws of the loss, in the bulk and in the tails."""
    advice = "The loss trace has too few independent draws: run longer."
    return [
        _above(
            f"ess_{method}",
            _statistic("ess", run.loss, method=method, **options),
            400,
            f"{method} effective sample size of the loss",
            advice,
            VEHTARI,
        )
        for method, options in (("bulk", {}), ("tail", {"prob": (0.05, 0.95)}))
    ]


def relative_error(run: Run) -> list[Check]:
    """Require a Monte Carlo error of at most 5 % of lambda-hat."""
    if not run.knows_minimum:
        return []
    mcse = _statistic("mcse", run.loss, method="mean")
    return [
        _below(
            "mcse",
            _ratio(mcse, run.scale),
            0.05,
            "Monte Carlo standard error, relative to lambda-hat",
            "The error bar is wide: run longer; four times the draws halve it.",
            VEHTARI,
        )
    ]


def virials(run: Run) -> dict[str, np.ndarray]:
    """Give the virial trace of every site, and in total, about the center of least variance.

    E[∇U] = 0, so the part along the center is a control variate: any multiple of it may be
    taken off without a change of the mean.
    """
    if "virial" not in run.stats or not run.sites:
        return {}
    traces = {}
    for index, site in enumerate(run.sites):
        traces[site] = run.stats["virial"][..., index]
        if "virial_offset" in run.stats:
            offset = run.stats["virial_offset"][..., index]
            covariance = np.cov(traces[site].ravel(), offset.ravel())
            slope = _ratio(covariance[0, 1], covariance[1, 1])
            if np.isfinite(slope):
                traces[site] = traces[site] - slope * offset
    return traces


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
        ratio = _ratio(float(np.mean(trace)), dimension)
        direction = "too large: halve the step" if ratio > 1 else "too small: run longer, hotter"
        checks.append(
            _below(
                "virial" if site == "total" else f"virial[{site}]",
                _z(trace, dimension),
                4.0,
                f"standard errors between the virial and the dimension {dimension} "
                f"({'all sites' if site == 'total' else 'site ' + site}: {ratio:.3g} d)",
                f"The draws do not have the spread that the density demands, {direction}, or "
                "take an adjusted sampler such as hmc.",
                STEIN,
                evidence=True,
            )
        )
    return checks


def virial_convergence(run: Run) -> list[Check]:
    """Require that every site's virial has converged: flat directions mix last."""
    checks = []
    for site, trace in virials(run).items():
        checks.append(
            _below(
                f"virial_rhat[{site}]",
                _statistic("rhat", trace),
                1.05,
                f"R-hat of the virial of site {site}",
                f"The flat directions of {site} have not mixed, though the loss may look "
                "calm: take longer trajectories (hmc), run longer, and compare init='prior' "
                "with init='optimum'.",
                STEIN,
            )
        )
        checks.append(
            _above(
                f"virial_ess[{site}]",
                _statistic("ess", trace, method="bulk"),
                50,
                f"effective sample size of the virial of site {site}",
                f"The flat directions of {site} have few independent draws: take longer "
                "trajectories (hmc) or run longer.",
                STEIN,
            )
        )
    return checks


def acceptance(run: Run) -> list[Check]:
    """Bound the acceptance from below, of the worst chain."""
    if "acceptance_rate" not in run.stats:
        return []
    worst = float(np.min(np.mean(run.stats["acceptance_rate"], axis=1), initial=math.inf))
    if run.number("unadjusted"):
        return [
            _above(
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
        _above(
            "acceptance",
            worst,
            0.1,
            "acceptance rate (worst chain)",
            "Nearly all proposals are rejected: take a smaller step size or a longer warm-up.",
            BETANCOURT,
        )
    ]


def step_bias(run: Run) -> list[Check]:
    """Bound the bias that the step size of an unadjusted sampler puts on lambda-hat.

    To first order in the step an invariant law is tilted by exp(T), so that λ̂ moves by
    Cov(βL, T); the noise of the gradient adds to that. A sampler records T as ``log_tilt`` and
    the part of the noise as ``noise_bias``. For SGLD T = ε |∇U|²/4 - ε ΔU/2, and the part of the
    noise is (ε/4) E|ĝ - g|² in the directions that the loss sees.
    """
    if not run.number("unadjusted") or "energy_variance" in run.stats:
        return []
    # A sampler that records neither cannot be judged, and NaN fails.
    tilt = run.stats.get("log_tilt", np.full_like(run.loss, np.nan))
    noise = np.mean(run.stats.get("noise_bias", np.zeros(1)))
    covariance = np.cov(run.loss.ravel(), tilt.ravel())[0, 1]
    bias = _ratio(abs(float(covariance)) + float(noise), run.scale)
    factor = 2 ** max(1, math.ceil(math.log2(bias / 0.02))) if 0 < bias < 1e12 else 4
    return [
        _below(
            "step_bias",
            float(bias),
            0.04,
            "bias of lambda-hat from the step size, to first order, relative",
            f"Without a Metropolis test this step biases the answer: divide step_size by "
            f"{factor}, or use mala.",
            BIAS,
            evidence=True,
        )
    ]


def energy_variance(run: Run) -> list[Check]:
    """Bound the energy error of an unadjusted microcanonical step, per dimension.

    Its variance per dimension V measures the step: the relative bias of lambda-hat grows like
    its cube root, as the bias is of second order in the step and V of sixth.
    """
    if "energy_variance" not in run.stats:
        return []
    return [
        _below(
            "energy_variance",
            float(np.mean(run.stats["energy_variance"])),
            MICROCANONICAL_LIMIT,
            "variance of the energy error of an unadjusted step, per dimension",
            "Without a Metropolis test this step biases the answer: lower desired_energy_var by "
            "a factor of 10, or use adjusted_mclmc.",
            ROBNIK,
            evidence=True,
        )
    ]


def divergences(run: Run) -> list[Check]:
    """Count divergent transitions."""
    if "diverging" not in run.stats:
        return []
    return [
        _below(
            "divergences",
            float(np.sum(run.stats["diverging"])),
            1,
            "divergent transitions",
            "The integrator broke down somewhere: raise target_acceptance_rate, or run a "
            "longer warm-up.",
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
        _above(
            "bfmi",
            float(np.min(bfmi, initial=math.inf)),
            0.3,
            "Bayesian fraction of missing information (worst chain)",
            "The momentum is refreshed too weakly for the range of energies: reparameterise, "
            "or run longer.",
            BETANCOURT,
        )
    ]


def drift(run: Run) -> list[Check]:
    """Compare the first half of the loss trace with the second."""
    half = run.chains_and_draws[1] // 2
    first, second = run.loss[:, :half], run.loss[:, half:]
    error = math.hypot(
        _statistic("mcse", first, method="mean"), _statistic("mcse", second, method="mean")
    )
    difference = abs(float(first.mean()) - float(second.mean())) if half else math.nan
    return [
        _below(
            "drift",
            _ratio(difference, error),
            4.0,
            "standard errors between the means of the two halves of the trace",
            "The loss still drifts: run a longer warm-up.",
            GEWEKE,
        )
    ]


def precision(run: Run) -> list[Check]:
    """Bound what rounding and quadrature can do to lambda-hat."""
    rounding = run.number("beta") * run.number("loss_rounding")
    if not run.knows_minimum:
        error = rounding
    else:
        error = _ratio(rounding, run.scale) + run.number("data_error")
    return [
        _below(
            "precision",
            float(error),
            0.01,
            "rounding of beta times the loss and error of the quadrature, relative",
            "Floating point cannot resolve this temperature: use float64, or a smaller beta.",
            HIGHAM,
            evidence=True,
        )
    ]


#: All checks, in the order in which a verdict shows them.
CHECKS: tuple[Callable[[Run], list[Check]], ...] = (
    finite,
    alive,
    precision,
    rhat,
    effective_sample_size,
    relative_error,
    drift,
    virial,
    virial_convergence,
    step_bias,
    energy_variance,
    acceptance,
    divergences,
    energy,
)
