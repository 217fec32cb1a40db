"""A run made of what was recorded, with the attributes that say how it was made."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr

from sltprob import draws as schema
from sltprob import models, samplers
from sltprob.models._loss import LossModel
from sltprob.posterior import TemperedPosterior
from sltprob.samplers import Sampler
from sltprob.samplers._metric import form_in
from sltprob.sampling.transitions import Warmed

__all__ = ["assemble", "model_name", "versions"]


def assemble(
    posterior: TemperedPosterior,
    sampler: Sampler,
    record: Mapping[str, Any],
    warmed: Warmed,
    *,
    rounding: float,
    warmup: int,
    seed: int,
    init: str,
    keep: str,
    cost: Mapping[str, float],
) -> xr.DataTree:
    """Make a run of what was recorded, with the attributes that say how it was made."""
    tuned = {key: np.asarray(value) for key, value in warmed.parameters.items()}
    dtype = str(jnp.zeros(()).dtype)
    # The virial has a site axis; its coordinates are named in the schema.
    attributes = {
        "model": model_name(posterior),
        "sampler": samplers.specification(sampler),
        "beta": float(posterior.beta),
        "seed": seed,
        "minimum_loss": float(posterior.minimum_loss),
        "minimum_loss_error": float(posterior.minimum_loss_error),
        "minimum_loss_source": _source(posterior),
        "localization": float(posterior.localization),
        "warmup": warmup,
        "reparameterise": "none" if posterior.structure.readout is None else "readout",
        "unadjusted": int(sampler.unadjusted),
        "step_size": float(tuned.get("step_size", math.nan)),
        "loss_rounding": rounding,
        "data_error": float(posterior.data_error),
        "dimension": posterior.dimension,
        "dtype": dtype,
        **({"metric": form} if (form := form_in(tuned)) else {}),
        "force_dtype": "float32" if getattr(sampler, "single_forces", False) else dtype,
        "init": init,
        "keep": keep,
        **cost,
        "warmup_gradients": float(warmed.num_gradients) * len(record["stats"]["loss"]),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "platform": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        **versions(),
    }
    return schema.build(
        sample_stats=record["stats"],
        posterior=record["values"] if keep == "all" else None,
        warmup={
            name: np.asarray(value)[: tuned.get("warmup_draws_used")].T
            for name, value in warmed.trace.items()
        },
        tuned=tuned,
        site_dimensions=posterior.dimensions,
        attributes=attributes,
    )


def _source(posterior: TemperedPosterior) -> str:
    """Say where L* comes from."""
    model = posterior.structure.model
    if math.isnan(float(posterior.minimum_loss)):
        return "not known"
    if float(posterior.minimum_loss_error) > 0:
        return "optimum found"
    if model is None:
        return "given"
    if isinstance(model, LossModel):
        at_trained = math.isclose(float(posterior.minimum_loss), model.minimum_loss, rel_tol=1e-6)
        return "trained parameters" if at_trained else "given"
    return "exact" if model.n is None else "true parameter"


def model_name(posterior: TemperedPosterior) -> str:
    """Name the model or the program of a posterior."""
    model = posterior.structure.model
    if model is not None:
        return models.specification(model)
    return posterior.name


@cache
def versions() -> dict[str, str]:
    """Give the versions of the packages that made a run."""
    return {
        f"version_{package}": version(package)
        for package in ("sltprob", "jax", "numpyro", "blackjax", "arviz", "numpy")
    }
