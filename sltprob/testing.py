"""Contract tests for samplers and models of other packages: what ours must do, theirs must do too.

In a test file of yours::

    from sltprob.testing import check_sampler


    def test_my_sampler():
        check_sampler(MySampler())
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import numpy as np

from sltprob.diagnostics import diagnose
from sltprob.draws import check
from sltprob.estimation import estimate
from sltprob.models import Model
from sltprob.models.regular import Regular
from sltprob.samplers.base import Sampler
from sltprob.sampling import sample
from sltprob.tempering import temper

__all__ = ["check_model", "check_sampler"]

# Standard errors: a right sampler is farther off once in two million runs.
_FARTHEST = 5.0
_STEP = 1e-3


def check_sampler(sampler: Sampler, *, draws: int = 2000, warmup: int = 500) -> None:
    """Hold a sampler to the contract: a value, the same draws for a seed, and the right density.

    Parameters
    ----------
    sampler : Sampler
    draws, warmup : int
        Of a run on a Gaussian of three dimensions, whose λ̂ is known exactly.

    Raises
    ------
    AssertionError
        If it breaks the contract; the message says where.

    References
    ----------
    .. [1] J. Geweke, "Getting it right: joint distribution tests of posterior simulators", J. Amer.
       Statist. Assoc. 99 (2004) 799-804.
    """
    _check_value(sampler, Sampler)
    model = Regular(dimension=3)
    posterior = temper(model, beta=10.0)
    reason = sampler.applies_to(posterior)
    assert reason is None, f"it must apply to a Gaussian posterior, and says: {reason}"
    # All as long, so that each program is compiled once.
    run, again, another = (
        sample(posterior, sampler, draws=draws, warmup=warmup, seed=seed) for seed in (1, 1, 2)
    )
    check(run)
    losses, same, other = (
        np.asarray(each["sample_stats"]["loss"]) for each in (run, again, another)
    )
    assert np.array_equal(losses, same, equal_nan=True), "the same seed must give the same draws"
    assert not np.array_equal(losses, other), "another seed must give other draws"
    found, exact = estimate(run), model.exact(10.0)
    assert exact is not None
    assert math.isfinite(found.value), f"the draws are not finite, or stand still: {diagnose(run)}"
    z = (found.value - exact.lambda_hat) / math.hypot(found.mcse, exact.mcse)
    assert abs(z) < _FARTHEST, (
        f"λ̂ is {found.value:.4g} ± {found.mcse:.2g} where {exact.lambda_hat:.4g} is exact: "
        f"{z:+.1f} standard errors, so that another density was sampled"
    )


def check_model(model: Model, *, beta: float = 10.0, sampler: Sampler | str = "hmc") -> None:
    """Hold a model to the contract: its loss, its optimum, its exact answer, and draws from it.

    Parameters
    ----------
    model : Model
    beta : float, dimensionless
        At which the exact answer is compared with draws.
    sampler : Sampler or str
        One that draws from the model well.

    Raises
    ------
    AssertionError
        If it breaks the contract; the message says where.

    References
    ----------
    .. [1] D. Frenkel, B. Smit, "Understanding Molecular Simulation" (2002), section 7.1, for
       dF/dβ = E[L].
    """
    _check_value(model, Model)
    posterior = temper(model, beta=beta)
    best = posterior.unconstrain(model.optimum())
    for key in jax.random.split(jax.random.key(0), 4):
        position = posterior.draw_prior(key)
        value, gradient = jax.value_and_grad(posterior.logdensity)(position)
        finite = all(bool(np.all(np.isfinite(leaf))) for leaf in jax.tree.leaves((value, gradient)))
        assert finite, f"density or gradient is not finite at a draw of the prior: {position}"
        higher = float(posterior.loss(position)) - float(posterior.loss(best))
        assert higher >= -1e-9, f"a draw of the prior has a loss {-higher:.3g} below the optimum's"
    if model.n is None:
        least = float(posterior.loss(best))
        assert math.isclose(least, model.minimum_loss, rel_tol=1e-6, abs_tol=1e-9), (
            f"the loss at the optimum is {least:.6g}, and minimum_loss {model.minimum_loss:.6g}"
        )
    exact = model.exact(beta)
    if exact is None:
        return
    below, above = (model.exact(beta * math.exp(step)) for step in (-_STEP, _STEP))
    assert below is not None, f"an exact answer is known at beta={beta:g}, and not just below"
    assert above is not None, f"an exact answer is known at beta={beta:g}, and not just above"
    slope = (above.free_energy - below.free_energy) / (2 * _STEP)
    wanted = exact.lambda_hat + beta * model.minimum_loss
    error = math.hypot(above.free_energy_mcse, below.free_energy_mcse) / (2 * _STEP)
    assert abs(slope - wanted) < 1e-4 * abs(wanted) + _FARTHEST * math.hypot(error, exact.mcse), (
        f"dF/dlog(beta) is {slope:.6g} ± {error:.2g}, and lambda-hat + beta L* is {wanted:.6g}"
    )
    run = sample(posterior, sampler, draws=2000, warmup=500, seed=1)
    found = estimate(run)
    z = (found.value - exact.lambda_hat) / math.hypot(found.mcse, exact.mcse)
    assert abs(z) < _FARTHEST, (
        f"draws give λ̂ = {found.value:.4g} ± {found.mcse:.2g}, and exact says "
        f"{exact.lambda_hat:.4g}: {z:+.1f} standard errors ({diagnose(run).status})"
    )


def _check_value(thing: Any, base: type) -> None:
    """Require a frozen dataclass that equals its own copy, whose options have defaults."""
    name = type(thing).__name__
    assert not isinstance(thing, type), f"{thing.__name__} is a class; write {thing.__name__}()"
    assert isinstance(thing, base), f"{name} is no {base.__name__}"
    assert dataclasses.is_dataclass(type(thing)), f"{name} must be a dataclass"
    again = dataclasses.replace(thing)  # type: ignore[type-var]
    assert again == thing, f"two {name} with the same options must be equal"
    assert hash(again) == hash(thing), f"two equal {name} must have the same hash"
    for field in dataclasses.fields(type(thing)):  # type: ignore[arg-type]
        if field.init:
            missing = field.default is field.default_factory is dataclasses.MISSING
            assert not missing, f"option {field.name} of {name} has no default"
