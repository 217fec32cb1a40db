"""Which form of lambda-hat against log beta the measurements support, by Bayesian comparison.

Each form of `sltprob.theory.ansatz` is a small NumPyro model with the errors of the measurements
and a relative misfit of its own, so that a form that is only nearly right is not excluded by errors
of a thousandth. They are compared by the expected log predictive density of a left-out measurement.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.infer import MCMC, NUTS, init_to_value

from sltprob.theory.ansatz import FORMS, AnsatzFit, fit_forms

__all__ = ["FormComparison", "FormResult", "compare_forms"]

# Above this Pareto k a measurement is left out in truth: its importance weights have no mean error.
_LARGEST_K = 0.7
#: Differences of elpd below this many standard errors exclude nothing.
_DECISIVE = 3.0
#: Below this difference of elpd its standard error is too optimistic (Sivula et al. 2020).
_LEAST_DIFFERENCE = 4.0


@dataclass(frozen=True, kw_only=True)
class FormResult:
    """One form with its posterior."""

    name: str
    formula: str
    # Expected log predictive density by PSIS-LOO, higher is better; a measurement with a Pareto k
    # above 0.7 was left out in truth
    elpd: float
    elpd_error: float
    difference: float  # from the best form
    difference_error: float  # from the best form
    largest_k: float  # Largest Pareto k
    num_refits: int  # Measurements that were left out in truth
    # Median of the relative misfit that the form needs beyond the errors of measurement
    misfit: float
    parameters: dict[str, tuple[float, float]]  # Posterior mean and standard deviation
    # 5 %, 50 % and 95 % of the log10 beta at which lambda-hat gets to the level; infinite where it
    # never does
    log10_beta: tuple[float, float, float] | None
    # 5 %, 50 % and 95 % of the limit of infinite beta; None for a form that has none
    plateau: tuple[float, float, float] | None
    rhat: float
    divergences: int

    @property
    def excluded(self) -> bool:
        """Whether the best form predicts decisively better."""
        clear = self.difference > _LEAST_DIFFERENCE
        return clear and self.difference > _DECISIVE * self.difference_error


@dataclass(frozen=True, kw_only=True)
class FormComparison:
    """The forms, best first."""

    results: tuple[FormResult, ...]
    fits: tuple[AnsatzFit, ...]  # Least squares, for comparison
    decades: float  # what the measurements span
    level: float | None  # To which lambda-hat is extrapolated

    headings: ClassVar[tuple[str, ...]] = (
        "form",
        "elpd",
        "Δ elpd",
        "±",
        "Pareto k",
        "misfit",
        "log₁₀ β at h/2",
    )

    def table(self) -> list[list[str]]:
        """Write one row for each form."""
        return [
            [
                row.name,
                f"{row.elpd:.1f}",
                f"{row.difference:.1f}",
                f"{row.difference_error:.1f}",
                f"{row.largest_k:.2f}",
                f"{100 * row.misfit:.2g} %",
                _interval(row.log10_beta),
            ]
            for row in self.results
        ]

    def sentences(self) -> list[str]:
        """Say what the measurements can and cannot exclude."""
        best = self.results[0]
        excluded = [row.name for row in self.results if row.excluded]
        others = [row.name for row in self.results[1:] if not row.excluded]
        found = [
            f"Over {self.decades:.3g} decades of β the simplest of the best forms is {best.name}, "
            f"λ̂ = {best.formula} with l = log β, and a misfit of {100 * best.misfit:.2g} %."
        ]
        if excluded:
            found.append(f"Excluded (Δ elpd above 3 standard errors): {', '.join(excluded)}.")
        if others:
            found.append(f"Cannot be told from it: {', '.join(others)}.")
        refitted = [f"{row.name} {row.num_refits}" for row in self.results if row.num_refits]
        if refitted:
            found.append(
                f"Where Pareto k is above {_LARGEST_K} (measurements: {', '.join(refitted)}), the "
                "fit was repeated without the measurement."
            )
        for row in self.results:
            if row.rhat > 1.05 or row.divergences > 20:
                found.append(
                    f"The posterior of {row.name} was not sampled well (R-hat {row.rhat:.2f}, "
                    f"{row.divergences} divergences): do not use its interval."
                )
            if row.plateau is not None:
                found.append(
                    f"A {row.name} form puts the plateau at {_interval(row.plateau)}: "
                    + (
                        "the data do not bound it, it may not exist at all."
                        if row.plateau[2] > 3.0 * row.plateau[0]
                        else "the interval holds within this form only."
                    )
                )
        if self.level is not None:
            found.append(
                f"Extrapolation to λ̂ = {self.level:g} differs between forms that fit alike, and "
                "theory puts the limit elsewhere: forms fitted at a finite scale do not know the "
                "learning coefficient."
            )
        return found

    def as_json(self) -> dict[str, Any]:
        """Give everything as plain data."""
        return {
            "decades": self.decades,
            "level": self.level,
            "forms": [{**vars(row), "excluded": row.excluded} for row in self.results],
            "least_squares": [vars(fit) for fit in self.fits],
            "sentences": self.sentences(),
        }


def _interval(values: tuple[float, float, float] | None) -> str:
    if values is None:
        return "–"
    low, middle, high = (f"{value:.3g}" if math.isfinite(value) else "∞" for value in values)
    return f"{middle} [{low}, {high}]"


def compare_forms(
    betas: Sequence[float],
    lambda_hats: Sequence[float],
    mcse: Sequence[float],
    *,
    level: float | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> FormComparison:
    """Fit every form by NUTS and compare them by PSIS-LOO.

    References
    ----------
    .. [1] A. Vehtari, A. Gelman, J. Gabry, "Practical Bayesian model evaluation using leave-one-out
       cross-validation and WAIC", Statistics and Computing 27 (2017) 1413-1432.
    .. [2] T. Sivula, M. Magnusson, A. Vehtari, "Uncertainty in Bayesian leave-one-out
       cross-validation based model comparison", arXiv:2008.10296 (2020).
    .. [3] A. Vehtari, D. Simpson, A. Gelman, Y. Yao, J. Gabry, "Pareto smoothed importance
       sampling", JMLR 25 (72) (2024) (the limit of k).
    """
    fits = fit_forms(betas, lambda_hats, mcse)
    logs = np.log(np.asarray(betas, dtype=float))
    values, errors = np.asarray(lambda_hats, dtype=float), np.asarray(mcse, dtype=float)
    found = []
    for place, fit in enumerate(fits):
        found.append(_sample(fit, logs, values, errors, draws, seed + place))
    best = max(found, key=lambda item: float(item[1].elpd.sum()))
    results = [_result(item, best, level) for item in found]
    # Among forms that predict alike, the simplest comes first.
    results.sort(key=lambda row: (max(0.0, row.difference - 1.0), len(row.parameters)))
    decades = float(np.ptp(logs)) / math.log(10.0)
    return FormComparison(results=tuple(results), fits=fits, decades=decades, level=level)


@dataclass(frozen=True, eq=False)
class _Pointwise:
    """Hold elpd and Pareto k of each measurement."""

    elpd: np.ndarray
    k: np.ndarray


def _program(fit: AnsatzFit, logs: Any, errors: Any, values: Any, kept: Any) -> None:
    form = FORMS[fit.name]
    parameters = []
    for name, middle, error in zip(form.parameters, fit.parameters, fit.errors, strict=True):
        # Wide beside what the data say, but proper: scaled to the fit.
        width = 5.0 * max(error, 0.2 * abs(middle), 1e-3)
        prior = (
            dist.LogNormal(math.log(max(middle, 1e-6)), 1.5)
            if name in form.positive
            else dist.Normal(middle, width)
        )
        parameters.append(numpyro.sample(name, prior))
    misfit = numpyro.sample("misfit", dist.HalfNormal(0.1))
    curve = form.evaluate(logs, jnp, *parameters)
    scale = jnp.sqrt(errors**2 + (misfit * curve) ** 2)
    numpyro.sample("lambda_hat", dist.Normal(curve, scale).mask(kept), obs=values)


def _sample(
    fit: AnsatzFit,
    logs: np.ndarray,
    values: np.ndarray,
    errors: np.ndarray,
    draws: int,
    seed: int,
) -> tuple[AnsatzFit, _Pointwise, dict[str, np.ndarray], int, float]:
    sampler, key = _sampler(fit, draws), jax.random.key(seed)

    def draw(key: Any, kept: np.ndarray) -> Any:
        sampler.run(key, *map(jnp.asarray, (logs, errors, values, kept)))
        chains = {name: np.asarray(item) for name, item in sampler.get_samples(True).items()}
        density = _log_likelihood(fit, chains, logs, values, errors)
        return az.from_dict({"posterior": chains, "log_likelihood": {"lambda_hat": density}})

    tree = draw(key, np.ones(len(logs), bool))
    divergences = int(np.sum(np.asarray(sampler.get_extra_fields()["diverging"])))
    without = _Without(
        lambda place: draw(jax.random.fold_in(key, place), np.arange(len(logs)) != place), tree
    )
    with warnings.catch_warnings():
        # What a large Pareto k says of a measurement is undone here.
        warnings.simplefilter("ignore")
        loo = az.loo(tree, pointwise=True)
        exact = az.reloo(without, loo_orig=loo, k_threshold=_LARGEST_K, pointwise=True)
        rhat = max(float(value) for value in az.rhat(tree["posterior"]).values())
    pointwise = _Pointwise(np.asarray(exact.elpd_i).ravel(), np.asarray(loo.pareto_k).ravel())
    chains = {name: values.to_numpy() for name, values in tree["posterior"].data_vars.items()}
    return fit, pointwise, chains, divergences, rhat


class _Without(az.SamplingWrapper):
    """Fit again without one measurement, as ArviZ asks for it; the model is the fit by place."""

    def sel_observations(self, idx: int) -> tuple[int, int]:
        return idx, idx

    def sample(self, modified_observed_data: int) -> Any:
        return self.model(modified_observed_data)

    def get_inference_data(self, fitted_model: Any) -> Any:
        return fitted_model

    def log_likelihood__i(self, excluded_obs: int, idata__i: Any) -> Any:
        return idata__i["log_likelihood"]["lambda_hat"][..., excluded_obs]


def _sampler(fit: AnsatzFit, draws: int) -> MCMC:
    start = dict(zip(FORMS[fit.name].parameters, fit.parameters, strict=True))
    start = {name: max(value, 1e-6) if value > 0 else value for name, value in start.items()}
    kernel = NUTS(
        functools.partial(_program, fit),
        target_accept_prob=0.95,
        dense_mass=True,
        max_tree_depth=8,
        init_strategy=init_to_value(values={**start, "misfit": 0.02}),
    )
    # Chains one after the other: they take a second each, and this needs no second device.
    return MCMC(
        kernel,
        num_warmup=1000,
        num_samples=draws,
        num_chains=2,
        chain_method="sequential",
        progress_bar=False,
        # What is left out is an argument, so that all fits of a form share one compilation.
        jit_model_args=True,
    )


def _log_likelihood(
    fit: AnsatzFit,
    chains: dict[str, np.ndarray],
    logs: np.ndarray,
    values: np.ndarray,
    errors: np.ndarray,
) -> np.ndarray:
    """Give the density of every measurement, left out or not, in every draw."""
    form = FORMS[fit.name]
    columns = [chains[name][..., None] for name in form.parameters]
    curves = np.asarray(form.evaluate(logs, np, *columns))
    scale = np.sqrt(errors**2 + (chains["misfit"][..., None] * curves) ** 2)
    normalised = -np.log(scale) - 0.5 * math.log(2 * math.pi)
    return normalised - 0.5 * ((values - curves) / scale) ** 2


def _result(item: Any, best: Any, level: float | None) -> FormResult:
    fit, pointwise, chains, divergences, rhat = item
    form = FORMS[fit.name]
    differences = best[1].elpd - pointwise.elpd
    count = len(differences)
    draws = [chains[name].ravel() for name in form.parameters]
    reached = None
    if level is not None:
        with np.errstate(all="ignore"):
            logs = [form.reach(level, *row) for row in zip(*draws, strict=True)]
        reached = _quantiles(np.array(logs) / math.log(10.0))
    return FormResult(
        name=fit.name,
        formula=form.formula,
        elpd=float(pointwise.elpd.sum()),
        elpd_error=float(math.sqrt(count) * pointwise.elpd.std()),
        difference=float(differences.sum()),
        difference_error=float(math.sqrt(count) * differences.std()),
        largest_k=float(pointwise.k.max()),
        num_refits=int(np.sum(pointwise.k > _LARGEST_K)),
        misfit=float(np.median(chains["misfit"])),
        parameters={
            name: (float(chains[name].mean()), float(chains[name].std()))
            for name in form.parameters
        },
        log10_beta=reached,
        plateau=_quantiles(chains["c"].ravel()) if "c" in form.parameters else None,
        rhat=rhat,
        divergences=divergences,
    )


def _quantiles(values: np.ndarray) -> tuple[float, float, float]:
    # Not np.quantile: interpolating between infinities gives NaN.
    ordered = np.sort(values)
    low, middle, high = (float(ordered[int(q * (len(values) - 1))]) for q in (0.05, 0.5, 0.95))
    return low, middle, high
