"""Make one run of the study of the verdict's errors."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Iterator
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from sltprob import samplers
from sltprob.calibration.altered import Altered, AlteredPosterior, NeverRejects
from sltprob.calibration.families import catalogue
from sltprob.calibration.settings import OwnProgram, Plan
from sltprob.exact import Exact
from sltprob.posterior import TemperedPosterior
from sltprob.problem import Problem, problem
from sltprob.reference import reference
from sltprob.samplers._ladder import LadderSampler
from sltprob.samplers.base import Sampler
from sltprob.sampling import sample

__all__ = ["applies", "damaged", "make_run"]

# Where a chain dies, as a part of the draws.
_DEATH = {"dead": 0.0, "freezing": 0.5, "nan": 0.7}


def make_run(plan: Plan) -> xr.DataTree:
    """Sample as a plan says, and put the exact value beside the draws."""
    setting = plan.setting
    exact = _exact(plan.model, plan.beta, plan.own)
    base = _sampler(plan.sampler)
    if setting.plain:
        return _plain_run(plan, base, exact)
    with _precision(setting.dtype):
        posterior = _posterior(plan.model, setting.dtype, plan.own)
        altered = AlteredPosterior.of(
            # Past the test of `at`: a run in float32 that is too cold is one of the bad ones.
            replace(posterior, beta=jnp.asarray(plan.beta, dtype=float)),
            step_factor=setting.step_factor,
            warmup_draws=setting.warmup,
            restart=setting.restart,
            start_factor=setting.start_factor,
            beta_factor=setting.beta_factor,
            prior_factor=setting.prior_factor,
            jacobian_factor=setting.jacobian_factor,
        )
        draws = sample(
            altered,
            Altered(base=base),
            draws=setting.draws,
            warmup=20,
            seed=plan.seed,
            init=setting.init,
            keep="loss",
        )
    draws.attrs |= {
        "sampler": plan.sampler,
        "unadjusted": int(base.unadjusted),
        "warmup": setting.warmup,
        **_truth(exact),
        "plan": plan.key,
    }
    return damaged(draws, setting.damage)


def _plain_run(plan: Plan, base: Sampler, exact: Exact) -> xr.DataTree:
    """Sample as anybody does, by the defaults of `sltprob.sample`."""
    setting = plan.setting
    posterior = _problem(plan.model, plan.own, "float64").at(plan.beta)
    if setting.minimum_shift:
        shift = setting.minimum_shift / plan.beta
        posterior = replace(posterior, minimum_loss=posterior.minimum_loss + shift)
    draws = sample(
        posterior,
        base,
        draws=setting.draws,
        warmup=setting.warmup,
        seed=plan.seed,
        init=setting.init,
        keep="loss",
    )
    draws.attrs |= {**_truth(exact), "plan": plan.key}
    return draws


def _truth(exact: Exact) -> dict[str, object]:
    return {
        "exact": exact.lambda_hat,
        "exact_mcse": exact.mcse,
        "exact_method": exact.method,
    }


def applies(plan: Plan) -> bool:
    """Say whether the sampler can draw from the model at all, and be altered as the plan says."""
    sampler = _sampler(plan.sampler)
    if isinstance(sampler, LadderSampler) and not plan.setting.plain:
        return False  # A rung has a density of its own, under which no other one can be put.
    return sampler.applies_to(_posterior(plan.model, "float64", plan.own)) is None


def _sampler(name: str) -> Sampler:
    return NeverRejects() if name == "NeverRejects" else samplers.get(name)


@functools.cache
def _problem(model: str, own: OwnProgram | None, dtype: str) -> Problem:
    # The precision is a part of the key, as the arrays have it.
    if own is not None:
        return problem(own.program, own.data)
    found = catalogue.case(model)
    if found is None:
        return problem(model)
    # What finds L* by itself does so once for all its runs, as the command line does.
    known = None if found.finds_minimum else found.minimum_loss
    return problem(found.program, found.arguments, minimum_loss=known)


@functools.cache
def _exact(model: str, beta: float, own: OwnProgram | None) -> Exact:
    chosen = _problem(model, own, "float64")
    case = catalogue.case(model) if own is None else None
    if case is not None:
        return case.exact(beta)
    if own is None:
        exact = chosen.exact(beta, 0.003)
        assert exact is not None
        return exact
    found = reference(chosen, own.betas)
    if len(found) < len(own.betas):
        raise ValueError(
            f"no run of a ladder from the prior is trusted for {chosen.name} at all of beta = "
            f"{', '.join(f'{beta:g}' for beta in own.betas)}, so nothing can be called wrong"
        )
    return next(answer for answer in found if answer.beta == beta)


def _posterior(model: str, dtype: str, own: OwnProgram | None) -> TemperedPosterior:
    chosen = _problem(model, own, dtype)
    return chosen.posterior if chosen.model is not None else chosen.at(1.0)


@contextlib.contextmanager
def _precision(dtype: str) -> Iterator[None]:
    """Compute in this precision; the threads that sample see the global switch only."""
    before = jax.config.read("jax_enable_x64")
    jax.config.update("jax_enable_x64", dtype == "float64")
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)


def damaged(draws: xr.DataTree, damage: str) -> xr.DataTree:
    """Do to the records of the second chain what a broken chain does to them."""
    if damage == "none":
        return draws
    statistics = draws["sample_stats"].to_dataset().copy(deep=True)
    for name, variable in statistics.data_vars.items():
        values = np.array(variable.values, dtype=float)
        count = values.shape[1]
        if damage == "inf":
            if name == "loss":
                values[1, count // 2] = np.inf
        else:
            death = int(_DEATH[damage] * count)
            values[1, death:] = np.nan if damage == "nan" else values[1, death]
        statistics[name] = (variable.dims, values)
    draws = draws.copy()
    draws["sample_stats"] = xr.DataTree(statistics)
    # The chain broke while it was sampled: what the sampler says of the losses says so too.
    sampled = json.loads(draws.attrs["as_sampled"])
    with np.errstate(all="ignore"):
        sampled["mean_loss"] = float(np.mean(statistics["loss"].values))
    draws.attrs["as_sampled"] = json.dumps(sampled)
    return draws
