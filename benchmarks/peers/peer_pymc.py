"""PyMC's own NUTS and nutpie, at their defaults, chains one after the other."""

from __future__ import annotations

import logging
from typing import Any

import _shared
import numpy as np
import problems
import pymc as pm
import pytensor.tensor as pt


def build(problem: problems.Problem) -> pm.Model:
    """Write the problem as a user of PyMC would."""
    n = problem.numbers
    with pm.Model() as model:
        if problem.kind == "tanh":
            w = pm.Uniform("w", -1.0, 1.0, shape=n["width"])
            a = pm.Normal("a", 0.0, 1.0, shape=n["width"])
            outputs = pt.dot(a, pt.tanh(w[:, None] * n["nodes"][None, :]))
            loss = pt.dot(n["weights"], outputs**2)
        elif problem.kind == "gaussian":
            x = pm.Normal("x", 0.0, 1.0, shape=50)
            loss = 0.5 * pt.sum(n["curvatures"] * x**2)
        elif problem.kind == "mixture":
            x = pm.Normal("x", 0.0, float(n["prior"]), shape=5)
            distance = pt.sum((x[None, :] - n["centres"]) ** 2, axis=1)
            constants = np.log(n["weights"]) - 5 * np.log(n["widths"])
            loss = -pt.logsumexp(constants - 0.5 * distance / n["widths"] ** 2)
        elif problem.kind == "logistic":
            b = pm.Normal("b", 0.0, 5.0, shape=n["x"].shape[1])
            eta = pt.dot(n["x"], b)
            loss = pt.mean(pt.softplus(eta) - n["y"] * eta)
        elif problem.kind == "eight-schools":
            mu = pm.Normal("mu", 0.0, 5.0)
            tau = pm.HalfCauchy("tau", 5.0)
            z = pm.Normal("z", 0.0, 1.0, shape=8)
            residual = (n["y"] - mu - tau * z) / n["sigma"]
            loss = pt.mean(0.5 * residual**2 + np.log(n["sigma"]) + 0.5 * np.log(2 * np.pi))
        else:
            raise ValueError(f"{problem.kind}: no PyMC model")
        loss = pm.Deterministic("loss", loss)
        pm.Potential("tempered", -problem.beta * loss)
    return model


class Listener(logging.Handler):
    """Keep what PyMC says about convergence."""

    def __init__(self, heard: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.heard = heard

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(record.getMessage()[:200])


def run(job: dict[str, Any], clock: Any, heard: list[str]) -> dict[str, Any]:
    problem = problems.get(job["problem"])
    for name in ("pymc", "pymc.stats.convergence"):
        logging.getLogger(name).addHandler(Listener(heard))
    clock.mark("start")
    model = build(problem)
    start = {"x": np.zeros(5)} if job["start"] == "one mode" else None
    options = {
        "draws": job["draws"],
        "tune": job["warmup"],
        "chains": job["chains"],
        "random_seed": job["seed"],
    }
    if job["sampler"] == "nutpie":
        import nutpie

        compiled = nutpie.compile_pymc_model(model, **({"initial_points": start} if start else {}))
        clock.mark("compile")
        trace = nutpie.sample(
            compiled,
            **{k if k != "random_seed" else "seed": v for k, v in options.items()},
            cores=job["cores"],
            progress_bar=False,
        )
        version, steps = nutpie.__version__, "n_steps"
        shown = ["divergences"]
    else:
        with model:
            step = pm.NUTS(**({"step_scale": job["step_size"]} if job["step_size"] else {}))
            clock.mark("compile")
            trace = pm.sample(
                **options,
                step=step,
                cores=job["cores"],
                initvals=start,
                progressbar=False,
                compute_convergence_checks=True,
            )
        version, steps = pm.__version__, "n_steps"
        shown = ["R-hat of every parameter", "ESS", "divergences"]
    clock.mark("sampling")
    share = job["warmup"] / (job["warmup"] + job["draws"])
    clock.move(clock.parts["sampling"] * share, "sampling", "tuning")
    draws = {str(k): np.asarray(v) for k, v in trace["posterior"].data_vars.items()}
    stats = trace["sample_stats"]
    return {
        "version": version,
        "loss": draws["loss"],
        "positions": _flat(draws),
        "gradients": int(np.sum(np.asarray(stats[steps]))),
        "divergences": int(np.sum(np.asarray(stats["diverging"]))),
        "tuned": f"{job['warmup']} draws of warm-up",
        "shown": shown,
    }


def _flat(draws: dict[str, np.ndarray]) -> np.ndarray:
    return _shared.flat({k: v for k, v in draws.items() if not k.endswith("__")})
