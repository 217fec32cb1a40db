"""One run in one row: the interface of tables, CSV and JSON."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr

from sltprob.diagnostics import Verdict, diagnose
from sltprob.estimate import estimate

__all__ = ["CELL_FIELDS", "summarise"]

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
    """Summarise a run as a cell.

    Parameters
    ----------
    draws : xarray.DataTree
        With the exact value in its attributes where one is known.
    verdict : Verdict, optional
        Of `diagnose`, if it is known already.

    Returns
    -------
    dict
        With the keys of `CELL_FIELDS`; numbers that do not exist are None.

    Raises
    ------
    ValueError
        If the draws do not follow the schema.
    """
    verdict = diagnose(draws) if verdict is None else verdict
    attributes = draws.attrs
    known = not math.isnan(float(attributes["minimum_loss"]))
    result = estimate(draws) if known else None
    lambda_hat = result.value if result else math.nan
    mcse = result.mcse if result else math.nan
    exact = float(attributes.get("exact", math.nan))
    exact_mcse = float(attributes.get("exact_mcse", math.nan))
    error = math.hypot(mcse, exact_mcse)
    statistics = draws["sample_stats"]
    chains, count = statistics["loss"].shape
    gradients = float(np.sum(statistics["num_gradients"])) if "num_gradients" in statistics else 0
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
    return {
        "model": str(attributes["model"]),
        "sampler": str(attributes["sampler"]),
        "beta": float(attributes["beta"]),
        "seed": int(attributes["seed"]),
        **{key: value if math.isfinite(value) else None for key, value in numbers.items()},
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
