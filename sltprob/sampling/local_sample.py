"""What `sltprob.sample` does with a posterior around trained parameters."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
import numpyro.distributions as dist
import xarray as xr

from sltprob import samplers
from sltprob.data import Data
from sltprob.local_posterior import LocalPosterior, by_row
from sltprob.models._loss import from_loss
from sltprob.posterior import TemperedPosterior
from sltprob.printable import shortened
from sltprob.samplers import Sampler
from sltprob.samplers._stochastic import StochasticGradientSampler
from sltprob.sampling.checkpoint import Checkpoint
from sltprob.sampling.local_run import LocalOptions, sample_local
from sltprob.sampling.progress import Progress, Target
from sltprob.streams import BatchStream
from sltprob.tempering import temper

__all__ = ["as_tempered", "sample_around"]

_BATCH_SIZE, _STEPS_PER_DRAW, _TARGET_RHO = 128, 10, 0.08


@dataclass(frozen=True)
class _Rows:
    """A loss as one value per row, equal where the losses are."""

    loss_rows: Callable[[Any, Any], Any]

    def __call__(self, params: Any, batch: Any) -> Any:
        return by_row(self.loss_rows(params, batch), None)


@dataclass(frozen=True)
class _Localised:
    """The Gaussian around the center, as a prior."""

    gamma: float

    def __call__(self, name: str, value: Any) -> Any:
        return dist.Normal(value, 1 / math.sqrt(self.gamma)).to_event(value.ndim)


def as_tempered(posterior: LocalPosterior) -> TemperedPosterior:
    """Write a local posterior as a tempered one, on all data, for any sampler.

    The localisation is its prior, N(θ*, 1/γ), so that a start from the prior is a hot one.
    """
    wrong = None
    if posterior.stream is not None:
        wrong = "the data are streamed; give arrays in memory"
    elif float(posterior.gamma) <= 0:
        wrong = "γ = 0 leaves it without a norm; write posterior.at(gamma=1)"
    elif posterior.mask or posterior.observables:
        wrong = "it has observables, or a mask for parts of an array; leave them out"
    elif posterior.weights is not None and posterior.weights.ndim > 1:
        wrong = "its tokens have weights; weigh them in the loss"
    if wrong is not None:
        raise ValueError(f"{posterior.name} cannot be sampled on all data: {wrong}")
    zero = jax.tree.map(jax.numpy.zeros_like, posterior.center)
    structure = posterior.structure
    model = from_loss(
        _Rows(structure.loss_rows),
        posterior.parameters(zero),
        jax.tree.unflatten(structure.batch_tree, list(posterior.data)),
        prior=_Localised(float(posterior.gamma)),
        frozen=lambda site: site not in posterior.center,
    )
    if posterior.weights is not None:
        rows = Data(model.rows.arguments, posterior.weights / structure.num_rows)
        model = replace(model, rows=rows)
    return temper(model, beta=float(posterior.nbeta), minimum_loss=posterior.minimum_loss)


def _is_between(value: Any, low: float, high: float) -> bool:
    if isinstance(value, bool | str) or np.ndim(value):
        return False
    try:
        return low < float(value) < high
    except (TypeError, ValueError):
        return False


def sample_around(
    posterior: LocalPosterior,
    sampler: Sampler | str,
    *,
    batch_size: int | None,
    steps_per_draw: int | None,
    step_size: float | None,
    draws: int,
    warmup: int,
    chains: int,
    seed: int,
    init: Any,
    record: str | None,
    keep: str | None,
    vectorized: bool | None,
    half_step: bool | None,
    target_rho: float | None,
    target: Target | None,
    progress: Callable[[Progress], None] | None,
    checkpoint: Checkpoint | None,
) -> xr.DataTree:
    """Draw from a posterior around trained parameters by minibatches."""
    kernel = samplers.as_sampler(sampler)
    if not isinstance(kernel, StochasticGradientSampler):
        raise TypeError(f"{samplers.specification(kernel)} takes no minibatches")
    defaults = type(kernel)()
    if batch_size is None:
        own = kernel.batch_size
        batch_size = _BATCH_SIZE if own == defaults.batch_size else own
    if steps_per_draw is None:
        own = kernel.steps_per_draw
        steps_per_draw = _STEPS_PER_DRAW if own == defaults.steps_per_draw else own
    rows = posterior.num_rows
    if batch_size is None:
        batch_size = rows
    if isinstance(posterior.stream, BatchStream):
        batch_size = posterior.stream.batch_size
    for name, value, example in (
        ("batch_size", batch_size, _BATCH_SIZE),
        ("steps_per_draw", steps_per_draw, _STEPS_PER_DRAW),
    ):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise ValueError(f"{name}={value!r}: it must be a whole number >= 1, such as {example}")
    step_size = kernel.step_size if step_size is None else step_size
    if step_size is not None and not _is_between(step_size, 0, math.inf):
        raise ValueError(
            f"step_size={shortened(step_size)}: it must be a positive number, or None to be found"
        )
    for name, flag in (("half_step", half_step), ("vectorized", vectorized)):
        if flag is not None and not isinstance(flag, bool | np.bool_):
            raise ValueError(f"{name}={flag!r}: it must be True, False, or None to decide it")
    if (record := record or "paired") not in ("paired", "all"):
        raise ValueError(
            f"record={record!r}: it must be 'paired', or 'all' for all data at every draw"
        )
    if record == "all" and posterior.stream is not None:
        raise ValueError("record='all' needs the data in memory; write record='paired'")
    init = init or "optimum"
    if init not in ("optimum", "prior", "both"):
        raise ValueError(
            f"init={init!r}: it must be 'optimum' (the center), 'prior' (N(θ*, 1/γ)) or 'both'"
        )
    if init != "optimum" and float(posterior.gamma) <= 0:
        raise ValueError(f"init={init!r} needs γ > 0; write init='optimum'")
    rho = _TARGET_RHO if target_rho is None else target_rho
    if not _is_between(rho, 0, 0.3):
        raise ValueError(
            f"target_rho={shortened(rho)}: it must be a number between 0 and 0.3, such as 0.08"
        )
    options = LocalOptions(
        batch_size=int(min(batch_size, rows) if rows else batch_size),
        steps_per_draw=int(steps_per_draw),
        step_size=None if step_size is None else float(step_size),
        draws=draws,
        warmup=warmup,
        chains=chains,
        seed=seed,
        init=init,
        record=record,
        keep=keep or "loss",
        vectorized=vectorized,
        half_step=None if half_step is None else bool(half_step),
        target_rho=float(rho),
    )
    # What the options above decide is not decided by the sampler, and compiles once.
    plain = replace(kernel, batch_size=None, steps_per_draw=1, step_size=None)
    name = samplers.specification(replace(kernel, batch_size=defaults.batch_size,
        steps_per_draw=defaults.steps_per_draw, step_size=None))  # fmt: skip
    return sample_local(posterior, plain, options, progress, name, target, checkpoint)
