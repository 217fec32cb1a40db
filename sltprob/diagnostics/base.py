"""What a check reads of a run, and what it says about it."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from sltprob.array_statistics import array_stats
from sltprob.diagnostics.kept import KeptSite

# Distance of the quartiles of a standard normal variable.
_QUARTILES = 1.349

#: Statistics with an axis of sites.
BY_SITE = frozenset({"virial", "virial_offset", "loss_virial", "squared_distance"})

__all__ = ["BY_SITE", "Check", "Run", "above", "below", "is_sampled", "ratio", "statistic"]

VEHTARI = "Vehtari, Gelman, Simpson, Carpenter, Buerkner, Bayesian Analysis 16 (2021) 667-718"
STEIN = "Stein's identity E[(θ-c)·∇U] = d, U = -log p; integration by parts"
BETANCOURT = "Betancourt, A conceptual introduction to HMC, arXiv 1701.02434"
BIAS = "Vollmer, Zygalakis, Teh, JMLR 17 (2016) 159: invariant law of SGLD to first order in step"
ROBNIK = "Robnik, De Luca, Silverstein, Seljak, Microcanonical HMC, JMLR 24 (2023) 311"
GEWEKE = "Geweke, Bayesian Statistics 4 (1992) 169-193"
BASELINE = "Watanabe, JMLR 14 (2013) 867-897: lambda-hat is taken against the least loss"
HIGHAM = "Higham, Accuracy and Stability of Numerical Algorithms (2002), section 1"


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
    false_alarm_rate : float or None
        How often a right run fails, where the check is a test of a stated level; None where the
        limit is one of quality, whose alarms are only counted (`sltprob calibrate`).
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
    false_alarm_rate: float | None = None

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
    """What the checks read of a run."""

    loss: np.ndarray  # shape (chain, draw): β (L - L*), or β L where L* is not known
    stats: dict[str, np.ndarray]  # Every variable of ``sample_stats``
    sites: dict[str, int]  # Dimension of every site
    attributes: dict[str, object]  # of the run
    # Shape (rung,): Inverse temperatures of its ladder; empty where it has none
    betas: np.ndarray = field(default_factory=lambda: np.zeros(0))
    # Of a local run at half the step, where it was made
    half_step: dict[str, np.ndarray] = field(default_factory=dict)
    # What scouts saw: β (L - L*), shape (scout, draw), and log weights, shape (scout,)
    scouts: dict[str, np.ndarray] = field(default_factory=dict)
    # The draws themselves, where they were kept: a check that has failed may say where
    posterior: xr.DataTree | None = None

    @classmethod
    def of(cls, draws: xr.DataTree) -> Run:
        """Read a run."""
        node = draws["sample_stats"]
        stats = {
            str(name): np.asarray(node.variables[name].values, dtype=float)
            for name in node.data_vars
        }
        minimum_loss = float(draws.attrs["minimum_loss"])
        shift = 0.0 if math.isnan(minimum_loss) else minimum_loss
        sites = {}
        has_constants = "constant_data" in draws.children
        constants = draws.children["constant_data"].variables if has_constants else {}
        if "site_dimension" in constants:
            values = constants["site_dimension"].values
            # An edited file may have lost the names; its virials are judged all the same.
            names = constants["site"].values if "site" in constants else range(len(values))
            sites = {str(name): int(value) for name, value in zip(names, values, strict=True)}
            # A site without coordinates, as of a table without covariates, has no identities.
            kept = [index for index, size in enumerate(sites.values()) if size]
            for name in BY_SITE & stats.keys() if len(kept) < len(sites) else ():
                stats[name] = stats[name][..., kept]
            sites = {name: size for name, size in sites.items() if size}
        with np.errstate(all="ignore"):
            loss = float(draws.attrs["beta"]) * (stats["loss"] - shift)
        attributes = {str(name): value for name, value in draws.attrs.items()}
        rungs = node.variables["beta"].values if "beta" in node.variables else []
        betas = np.asarray(rungs, dtype=float)
        halved = {}
        if "half_step_sample_stats" in draws.children:
            other = draws["half_step_sample_stats"]
            halved = {
                str(n): np.asarray(other[str(n)].values, dtype=float) for n in other.data_vars
            }
        scouts = {}
        if "scouts" in draws.children:
            seen = draws["scouts"]
            scouts = {str(n): np.asarray(seen[str(n)].values, dtype=float) for n in seen.data_vars}
            with np.errstate(all="ignore"):
                for name in {"loss", "least_loss", "attained_loss"} & scouts.keys():
                    scouts[name] = float(draws.attrs["beta"]) * (scouts[name] - shift)
        posterior = draws.children.get("posterior")
        return cls(loss, stats, sites, attributes, betas, halved, scouts, posterior)

    @property
    def kept(self) -> list[KeptSite]:
        """The draws of every site that were kept; none in many files."""
        sites = {} if self.posterior is None else self.posterior.data_vars
        kept = [KeptSite(str(name), sites[name].variable) for name in sites]
        return [site for site in kept if site.variable.shape[:2] == self.chains_and_draws]

    def number(self, name: str) -> float:
        """Give an attribute as a number."""
        return float(self.attributes[name])  # type: ignore[arg-type]

    @property
    def lambda_hat(self) -> float:
        """The mean of the scaled loss."""
        return float(self.loss.mean()) if self.loss.size else math.nan

    @property
    def scale(self) -> float:
        """What errors are relative to: |lambda-hat|, or Var(βL) where that is larger.

        The two are equal for a quadratic loss; on a noisy data set lambda-hat can be near zero
        or negative, and its size is then no scale; without L* there is none. Var(βL) is that of a
        normal variable with the same quartiles, so that a few huge values do not make every error
        look small.
        """
        if not self.loss.size:
            return math.nan
        if self.is_local:  # the choice of rows spreads the loss as well
            return abs(self.lambda_hat)
        low, high = np.quantile(self.loss, [0.25, 0.75])
        spread = float(np.square((high - low) / _QUARTILES))
        return max(abs(self.lambda_hat), spread) if self.knows_minimum else spread

    @cached_property
    def mcse(self) -> float:
        """The Monte Carlo standard error of lambda-hat, NaN where there is none."""
        with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
            return statistic("mcse", self.loss, method="mean")

    @cached_property
    def step_bias(self) -> float:
        """The bias of lambda-hat by the step of an unadjusted sampler, to first order; at least 0.

        The invariant law is tilted by exp(T), T the run's ``log_tilt``, and the noise of the
        gradient adds ``noise_bias``. The weights exp(-T) undo the tilt: what they do to lambda-hat
        is its bias. They are small where T is large, so that rare steep points do no harm;
        Cov(βL, T), the same to first order, is several times too large there. 0 where there is a
        Metropolis test or another measure of the step, NaN where a run recorded nothing.
        """
        if not self.number("unadjusted") or "energy_variance" in self.stats or self.is_local:
            return 0.0
        tilt = self.stats.get("log_tilt", np.full_like(self.loss, np.nan))
        noise = float(np.mean(self.stats.get("noise_bias", np.zeros(1))))
        weights = np.exp(np.min(tilt, initial=math.inf) - tilt)
        untilted = ratio(float(np.sum(weights * self.loss)), float(np.sum(weights)))
        return abs(self.lambda_hat - untilted) + noise

    @property
    def is_local(self) -> bool:
        """Whether it is a run around trained parameters, which has checks of its own."""
        return bool(self.attributes.get("local", 0))

    @property
    def knows_minimum(self) -> bool:
        """Whether L* is known."""
        return not math.isnan(self.number("minimum_loss"))

    @property
    def chains_and_draws(self) -> tuple[int, int]:
        """Number of chains and of draws."""
        return self.loss.shape[0], self.loss.shape[1]


def below(
    name: str,
    value: float,
    limit: float,
    meaning: str,
    advice: str,
    reference: str,
    *,
    evidence: bool = False,
    false_alarm_rate: float | None = None,
) -> Check:
    """Pass if a value lies below a limit; NaN does not."""
    passed = bool(value < limit)
    return Check(
        name, value, limit, "<", passed, evidence, meaning, advice, reference, false_alarm_rate
    )


def above(
    name: str,
    value: float,
    limit: float,
    meaning: str,
    advice: str,
    reference: str,
    *,
    evidence: bool = False,
) -> Check:
    """Pass if a value lies above a limit; NaN does not."""
    return Check(name, value, limit, ">", bool(value > limit), evidence, meaning, advice, reference)


def statistic(kind: str, values: np.ndarray, **options: Any) -> float:
    """Compute an ArviZ statistic, NaN where it does not exist.

    ArviZ calls a frozen trace perfect and lets an infinity pass, so both are settled first.

    References
    ----------
    .. [1] A. Vehtari et al., "Rank-normalization, folding, and localization: an improved R-hat",
       Bayesian Analysis 16 (2021) 667-718.
    """
    if not is_sampled(values) or (kind == "rhat" and values.shape[0] < 2):
        return math.nan
    return float(getattr(array_stats, kind)(values, chain_axis=0, draw_axis=1, **options))


def is_sampled(values: np.ndarray) -> bool:
    """Say whether a trace has what it takes to speak of its mean."""
    chains, draws = values.shape
    enough = chains >= 1 and draws >= 4
    return bool(enough and np.all(np.isfinite(values)) and np.all(np.ptp(values, axis=1) > 0))


def ratio(numerator: float, denominator: float) -> float:
    """Divide, NaN where there is nothing to divide by."""
    return float(numerator) / float(denominator) if denominator != 0 else math.nan
