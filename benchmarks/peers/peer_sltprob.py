"""sltprob at its defaults: HMC in plain or readout coordinates, its populations, local runs."""

from __future__ import annotations

import importlib.metadata
import os
from typing import Any

os.environ.setdefault("JAX_ENABLE_X64", "1")

import _shared
import densities
import jax.numpy as jnp
import numpy as np
import problems

import sltprob


def run(job: dict[str, Any], clock: Any, heard: list[str]) -> dict[str, Any]:
    problem = problems.get(job["problem"])
    clock.mark("start")
    options = {"draws": job["draws"], "chains": job["chains"], "seed": job["seed"]}
    options["warmup"] = job["warmup"]
    if job["sampler"] == "exact":
        found = _exact(problem, clock)
    else:
        found = _sampled(problem, job, clock, options, heard)
    return {"version": importlib.metadata.version("sltprob"), **found}


def _sampled(
    problem: problems.Problem,
    job: dict[str, Any],
    clock: Any,
    options: dict[str, Any],
    heard: list[str],
) -> dict[str, Any]:
    if problem.kind in ("deep-linear", "digits"):
        posterior, options = _local(problem, job, options)
    else:
        posterior = _posterior(problem, job)
        if job["start"]:
            options["init"] = densities.start_of(problem, job["start"], job["chains"])
    sampler = job["sampler"]
    clock.mark("start")
    draws = sltprob.sample(posterior, sampler, **options)
    if job["step_factor"]:
        step = float(draws.attrs["step_size"]) * job["step_factor"]
        if problem.kind in ("deep-linear", "digits"):
            options["step_size"] = step
        else:
            sampler = f"{sampler}[step_size={step!r}]"
        draws = sltprob.sample(posterior, sampler, **options)
    clock.mark("sampling")
    # Its own marks say what of it was what; they are by the clock, and so taken as shares.
    total, all_of_it = float(draws.attrs["seconds_total"]), clock.parts["sampling"]
    scouts = float(draws.attrs.get("seconds_scouts", 0.0))
    kept = float(draws.attrs["seconds_sampling"])
    warmup, compiled = (float(draws.attrs[f"seconds_{part}"]) for part in ("warmup", "compile"))
    for seconds, part in ((scouts, "judging"), (warmup, "tuning"), (compiled, "compile")):
        clock.move(all_of_it * seconds / total, "sampling", part)
    clock.move(clock.parts["sampling"] - all_of_it * kept / total, "sampling", "start")
    known = np.isfinite(draws.attrs["minimum_loss"])
    found = sltprob.estimate(draws, **({} if known else {"minimum_loss": problem.minimum_loss}))
    verdict = sltprob.diagnose(draws)
    record: dict[str, Any] = {}
    if job["rao_blackwell"]:
        better = sltprob.estimate(draws, rao_blackwell=True)
        record |= {"rao_blackwell": better.value, "rao_blackwell_mcse": better.mcse}
    clock.mark("judging")
    stats = draws["sample_stats"]
    if problem.kind in ("deep-linear", "digits"):
        # Of minibatches, each a whole one: those of the draws that were kept, at both steps.
        steps = [name for name in ("sample_stats", "half_step_sample_stats") if name in draws]
        drawn = sum(draws[name]["loss"].size for name in steps)
        record["gradients"] = drawn * int(draws.attrs["steps_per_draw"])
    else:
        if "num_gradients" in stats:
            record["gradients"] = float(stats["num_gradients"].sum())
        record["loss"] = np.asarray(stats["loss"], float)
        record["positions"] = _shared.flat({k: v.values for k, v in draws["posterior"].items()})
    heard.append(str(verdict).splitlines()[0])
    low, high = getattr(found, "low", None), getattr(found, "high", None)
    return record | {
        "lambda_hat": float(found.value),
        "mcse": float(found.mcse),
        "interval": None if low is None else [float(low), float(high)],
        "ess": float(getattr(found, "ess", np.nan)),
        "verdict": verdict.status,
        "failed": [check.name for check in verdict.failed],
        "tuned": f"by itself, {options['warmup']} draws of warm-up",
        "shown": ["the verdict"],
    }


def _posterior(problem: problems.Problem, job: dict[str, Any]) -> Any:
    if problem.kind == "tanh":
        model = sltprob.models.get("tanh_zero")
        return sltprob.temper(model, beta=problem.beta, reparameterise=job["reparameterise"])
    if problem.kind == "gaussian":
        spectrum = ":".join(repr(float(h)) for h in problem.numbers["curvatures"])
        model = sltprob.models.get(f"regular[spectrum={spectrum}]")
        return sltprob.temper(model, beta=problem.beta)
    if problem.kind == "mixture":
        loss = densities.loss_of(problem)
        model = sltprob.from_loss(
            lambda params, rows: loss(params) * rows["one"],
            {"x": jnp.zeros(5)},
            {"one": np.ones(1)},
            prior=float(problem.numbers["prior"]),
        )
        return sltprob.temper(model, beta=problem.beta, minimum_loss=problem.minimum_loss)
    import programs

    program = getattr(programs, problem.kind.replace("-", "_"))
    return sltprob.temper(
        program, dict(problem.numbers), beta=problem.beta, minimum_loss=problem.minimum_loss
    )


def _local(problem: problems.Problem, job: dict[str, Any], options: dict[str, Any]) -> Any:
    import programs

    if problem.kind == "digits":
        params, data = problems.digits()
        losses = programs.digits_losses
    else:
        params, data = problems.deep_linear(problem.numbers["size"])
        params = [jnp.asarray(layer) for layer in params]
        losses = programs.deep_linear_losses
    posterior = sltprob.local(
        losses, params, data, nbeta=problem.beta, gamma=problem.numbers["gamma"]
    )
    extra = ("batch_size", "steps_per_draw", "step_size", "half_step", "target_mcse")
    return posterior, options | {name: job[name] for name in extra if job.get(name) is not None}


def _exact(problem: problems.Problem, clock: Any) -> dict[str, Any]:
    """Give what sltprob computes without sampling the posterior of all parameters."""
    if problem.kind == "tanh":
        model = sltprob.models.get("tanh_zero")
    else:
        width, rank, _ = problems.DEEP_LINEAR[problem.numbers["size"]]
        widths = ":".join([str(width)] * 4)
        model = sltprob.models.get(f"deep_linear[widths={widths},rank={rank},prior_center=optimum]")
    found = model.exact(problem.beta)
    clock.mark("sampling")
    return {
        "lambda_hat": float(found.lambda_hat),
        "mcse": float(found.mcse),
        "tuned": "nothing to tune",
        "verdict": "exact",
        "shown": [],
    }
