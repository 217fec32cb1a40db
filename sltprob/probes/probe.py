"""Probe a stored run: checks that need new draws, or gradients at the old ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from sltprob.diagnostics import Check
from sltprob.posterior import TemperedPosterior
from sltprob.probes import coordinate_gradients, hot_cold, step_halving
from sltprob.probes.rerun import StoredRun, gradients_of, lambda_hat_of
from sltprob.probes.step_halving import Extrapolation
from sltprob.samplers.base import Sampler
from sltprob.sampling import Progress

__all__ = ["PROBES", "Cost", "Probe", "probe"]

#: What can be probed, in the order in which it is done.
PROBES = ("gradient", "step", "start")


@dataclass(frozen=True)
class Cost:
    """What one probe took."""

    probe: str  # one of `PROBES`
    gradients: float  # Gradient evaluations on all data, over all chains
    seconds: float  # with compilation


@dataclass(frozen=True)
class Probe:
    """What the probes of a run have found.

    Parameters
    ----------
    checks : tuple of Check
    extrapolated : Extrapolation or None
        λ̂ at step size zero, for a sampler without a Metropolis test whose order is known.
    costs : tuple of Cost
    skipped : tuple of (str, str)
        Probes that do not apply to this run, and why.
    runs : tuple of xarray.DataTree
        The new runs; their attribute ``probe`` says what is different.
    """

    checks: tuple[Check, ...]
    extrapolated: Extrapolation | None
    costs: tuple[Cost, ...]
    skipped: tuple[tuple[str, str], ...]
    runs: tuple[xr.DataTree, ...]

    @property
    def passed(self) -> bool:
        """Whether there are checks, and all have passed."""
        return bool(self.checks) and not self.failed

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that failed, evidence of a wrong number first."""
        failed = [check for check in self.checks if not check.passed]
        return tuple(sorted(failed, key=lambda check: not check.evidence))

    def __str__(self) -> str:
        lines = []
        for check in self.checks:
            lines.append(str(check))
            if not check.passed:
                lines += [f"  {check.finding}", f"  {check.advice}"]
        lines += [f"{name}: skipped, {reason}" for name, reason in self.skipped]
        if self.extrapolated is not None:
            lines.append(f"extrapolated to step size zero: {self.extrapolated}")
        return "\n".join(lines)


def probe(
    draws: xr.DataTree,
    *,
    checks: Sequence[str] = PROBES,
    posterior: TemperedPosterior | None = None,
    sampler: Sampler | None = None,
    num_draws: int = 1000,
    warmup: int = 500,
    seed: int = 0,
    progress: Callable[[Progress], None] | None = None,
) -> Probe:
    """Test a run by new draws of the same sampler, with the parameters that the run has tuned.

    ``gradient``: E[∇U] = 0 in every coordinate, at the stored draws. ``step``: λ̂ must not move
    when the step is halved. ``start``: chains that start at prior draws and chains that start at
    the optimum must meet. Each has a false-alarm rate of one in 1000.

    Parameters
    ----------
    draws : xarray.DataTree
        Of `sltprob.sample` or `sltprob.load`.
    checks : sequence of str
        Of `PROBES`.
    posterior : TemperedPosterior, optional
        For a run of a program of the user's own, or with localization.
    sampler : Sampler, optional
        For a run of a sampler that is in no registry.
    num_draws : int
        Draws per chain of every new run.
    warmup : int
        Draws per chain before those.
    seed : int
        The random numbers of the new runs follow from it and from the seed of the run.
    progress : callable, optional
        Called with a `Progress` of every new run.

    Returns
    -------
    Probe

    Raises
    ------
    ValueError
        If a check has no such name, a number is out of range, or the run cannot be continued.
    TypeError
        If the draws are no run.

    References
    ----------
    .. [1] A. Durmus et al., "Stochastic gradient Richardson-Romberg Markov chain Monte Carlo",
       NIPS 2016 (two step sizes).
    .. [2] A. Gelman, D. B. Rubin, "Inference from iterative simulation using multiple sequences",
       Statistical Science 7 (1992) 457-472 (dispersed starts).
    """
    unknown = [name for name in checks if name not in PROBES]
    if unknown or not checks:
        raise ValueError(
            f"checks={','.join(checks) or 'none'}: there are {', '.join(PROBES)}; name one or more"
        )
    stored = StoredRun.of(draws, posterior, sampler)
    if seed < 0:
        raise ValueError(f"seed={seed}: it must be a whole number >= 0, such as 0")
    # Chains with the same random numbers may meet whatever their start, and prove nothing.
    seeds = np.random.SeedSequence([seed, int(draws.attrs["seed"])]).generate_state(3)
    half, hot, cold = (int(value) for value in seeds)
    options: dict[str, Any] = {
        "draws": num_draws,
        "warmup": warmup,
        "keep": "loss",
        "progress": progress,
    }
    reasons = {
        "gradient": coordinate_gradients.reason_against(stored),
        "step": step_halving.reason_against(stored),
    }
    found: list[Check] = []
    runs: list[xr.DataTree] = []
    costs: list[Cost] = []
    skipped: list[tuple[str, str]] = []
    extrapolated = None
    for name in (name for name in PROBES if name in checks):
        begin = time.perf_counter()
        reason = reasons.get(name)
        new: list[xr.DataTree] = []
        gradients = 0.0
        if reason is not None:
            skipped.append((name, reason))
            continue
        if name == "gradient":
            at_draws = coordinate_gradients.gradients_at_draws(stored)
            found += coordinate_gradients.gradient_checks(at_draws)
            gradients = float(draws["sample_stats"]["loss"].size)
        elif name == "step":
            new = [step_halving.halve_step(stored, seed=half, **options)]
            found += step_halving.step_checks(stored, new[0])
            order = stored.sampler.step_order
            if stored.sampler.unadjusted and order is not None:
                extrapolated = step_halving.extrapolate(
                    lambda_hat_of(draws), lambda_hat_of(new[0]), order
                )
        else:
            new = [
                hot_cold.run_hot(stored, seed=hot, **options),
                hot_cold.run_cold(stored, seed=cold, **options),
            ]
            found += hot_cold.start_checks(*new)
        runs += new
        gradients += sum(gradients_of(run) for run in new)
        costs.append(Cost(name, gradients, time.perf_counter() - begin))
    return Probe(tuple(found), extrapolated, tuple(costs), tuple(skipped), tuple(runs))
