"""One run in one row: the interface of tables, CSV and JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from sltprob import draws as schema
from sltprob.diagnostics import Verdict
from sltprob.diagnostics.base import Run, is_sampled
from sltprob.diagnostics.local_checks import estimate_of
from sltprob.diagnostics.verdict import judge

__all__ = ["CELL_FIELDS", "name_of_truth", "summarise"]

#: The names of a cell, in order. They are an interface: documented and stable.
CELL_FIELDS = (
    "model",
    "sampler",
    "beta",
    "seed",
    "lambda_hat",
    "mcse",
    "exact",
    "exact_mcse",
    "exact_method",
    "z",
    "ess",
    "rhat",
    "draws",
    "chains",
    "gradients",
    "seconds_warmup",
    "seconds_sampling",
    "seconds_compile",
    "verdict",
    "failed_checks",
)


def summarise(draws: xr.DataTree, verdict: Verdict | None = None) -> dict[str, Any]:
    """Summarise a run as a cell."""
    # What `estimate` would say, without the effective sample sizes once more: of ten thousand
    # small cells that is a tenth of the time.
    schema.check(draws)
    run = Run.of(draws)
    verdict = judge(run) if verdict is None else verdict
    attributes = draws.attrs
    mcse = run.mcse if run.knows_minimum else math.nan
    exists = run.knows_minimum and is_sampled(run.loss)
    lambda_hat = run.lambda_hat if exists else math.nan
    if exists and run.is_local:
        found = estimate_of(run)
        lambda_hat, mcse = found.value, found.mcse
    exact = float(attributes.get("exact", math.nan))
    exact_mcse = float(attributes.get("exact_mcse", math.nan))
    error = math.hypot(mcse, exact_mcse)
    chains, count = run.chains_and_draws
    counted = (run.stats, run.half_step)
    gradients = float(sum(np.sum(stats.get("num_gradients", 0)) for stats in counted))
    rhat = next((check.value for check in verdict.checks if check.name == "rhat"), math.nan)
    ess = next((check.value for check in verdict.checks if check.name == "ess_bulk"), math.nan)
    numbers = {
        "lambda_hat": lambda_hat,
        "mcse": mcse,
        "exact": exact,
        "exact_mcse": exact_mcse,
        "z": (lambda_hat - exact) / error if error > 0 else math.nan,
        "ess": ess,
        "rhat": rhat,
    }
    cell = {
        "model": str(attributes["model"]),
        "sampler": str(attributes["sampler"]),
        "beta": float(attributes["beta"]),
        "seed": int(attributes["seed"]),
        **{key: value if math.isfinite(value) else None for key, value in numbers.items()},
        "exact_method": attributes.get("exact_method"),
        "draws": int(count),
        "chains": int(chains),
        "gradients": gradients,
        **{
            f"seconds_{stage}": float(attributes.get(f"seconds_{stage}", math.nan))
            for stage in ("warmup", "sampling", "compile")
        },
        "verdict": verdict.status,
        "failed_checks": [check.name for check in verdict.failed],
    }
    return {name: cell[name] for name in CELL_FIELDS}


def name_of_truth(cells: Iterable[Mapping[str, Any]]) -> str:
    """Say what the column of exact values holds: "exact", or "reference" where it was sampled."""
    methods = [cell["exact_method"] for cell in cells if cell["exact_method"]]
    sampled = [method for method in methods if method.startswith("reference")]
    return "reference" if sampled and len(sampled) == len(methods) else "exact"
