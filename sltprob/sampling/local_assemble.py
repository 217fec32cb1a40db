"""A local run made of what was recorded: `sltprob.draws` says what its variables are."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
import xarray as xr

from sltprob import draws as schema
from sltprob.sampling.assemble import versions

if TYPE_CHECKING:
    from sltprob.sampling.local_run import LocalRun

__all__ = ["assemble_local"]


def assemble_local(
    run: LocalRun,
    record: Mapping[str, np.ndarray],
    warm: Mapping[str, np.ndarray],
    halved: Mapping[str, np.ndarray] | None,
    settled: int,
    *,
    step: float,
    specification: str,
    cost: Mapping[str, float],
) -> xr.DataTree:
    """Make a run in the schema of all runs, with what judges a local one."""
    posterior, options = run.posterior, run.options
    minimum_loss = 0.0 if math.isnan(posterior.minimum_loss) else posterior.minimum_loss
    parameters = run.sampler.local_parameters(jnp.asarray(step))
    tuned = {name: np.asarray(value, float) for name, value in parameters.items()}
    rows = posterior.num_rows
    per_draw = options.steps_per_draw * (min(1.0, options.batch_size / rows) if rows else 1.0)
    values = {
        name.removeprefix("value:"): value
        for name, value in record.items()
        if name.startswith("value:")
    }
    return schema.build(
        sample_stats=_statistics(record, step, minimum_loss, posterior.dimensions, per_draw),
        posterior=values or None,
        warmup={"loss": minimum_loss + warm["paired"]},
        tuned=tuned,
        site_dimensions=posterior.dimensions,
        attributes={
            "model": posterior.name,
            "sampler": specification,
            "beta": float(posterior.nbeta),
            "seed": options.seed,
            "minimum_loss": minimum_loss,
            "minimum_loss_error": 0.0,
            # An iterator of batches tells differences alone; the loss is then counted from L*.
            "minimum_loss_source": "not known, counted from it"
            if math.isnan(posterior.minimum_loss)
            else "trained parameters",
            "localization": float(posterior.gamma),
            "local": 1,
            "num_rows": rows,
            "batch_size": options.batch_size,
            "steps_per_draw": options.steps_per_draw,
            "record": options.record,
            "warmup": options.warmup,
            "unadjusted": 1,
            "step_size": float(tuned["step_size"]),
            "step_size_source": "given" if options.step_size is not None else "rho rule",
            "langevin_step": step,
            "loss_rounding": _rounding(record, posterior.structure.dtype, minimum_loss, options),
            "data_error": 0.0,
            "dimension": posterior.dimension,
            "dtype": posterior.structure.dtype,
            "loss_dtype": posterior.structure.loss_dtype,
            "init": options.init,
            "keep": options.keep,
            **cost,
            # What settles at half the step counts as warm-up too.
            "warmup_gradients": per_draw * (warm["paired"].size + settled * options.chains),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "platform": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
            **versions(),
        },
        half_step=None
        if halved is None
        else _statistics(halved, step / 2, minimum_loss, posterior.dimensions, per_draw),
    )


def _statistics(
    record: Mapping[str, np.ndarray],
    step: float,
    minimum_loss: float,
    dims: Mapping[str, int],
    per_draw: float,
) -> dict[str, np.ndarray]:
    """Name what was recorded as the schema does."""
    sizes = np.asarray(list(dims.values()), dtype=float)
    with np.errstate(all="ignore"):
        euler = step / 2 * record["square"]
        if "momentum_slope" in record:
            now = record["friction"][..., None]
            friction = record["friction_parameter"][..., None]
            euler = step * friction / (2 * now) * record["square"]
            euler = euler - record["momentum_slope"] / now + (friction / now - 1) * sizes
        found = {
            "loss": minimum_loss + record["paired"],
            "paired_variance": record["variance"],
            "step_bias": record["bias"],
            # In units of what a step adds: the mean of the first less the drift is the dimension.
            "virial": record["slope"] - euler,
            "loss_virial": record["loss_slope"],
            "squared_distance": record["distance"],
            "squared_gradient": record["square"].sum(axis=-1),
            "parameter_rounding": record["parameter_rounding"],
            "num_gradients": np.full(record["paired"].shape, per_draw),
        }
    if "cooled" in record:
        found["step_cooling"] = record["cooled"]
    kept = ("observable_", "row_loss_")
    return found | {name: value for name, value in record.items() if name.startswith(kept)}


def _rounding(
    record: Mapping[str, np.ndarray], dtype: str, minimum_loss: float, options: Any
) -> float:
    """Give the rounding error of the mean paired difference: rows are rounded one by one."""
    size = abs(minimum_loss) + float(np.mean(np.abs(record["paired"])))
    rows = record["paired"].size * options.steps_per_draw * options.batch_size
    return float(np.finfo(dtype).eps) * size / math.sqrt(max(rows, 1))
