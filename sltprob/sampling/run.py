"""The verb: read the arguments, and draw from a tempered or a local posterior."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from sltprob import samplers
from sltprob.local_posterior import LocalPosterior
from sltprob.posterior import TemperedPosterior
from sltprob.processes import refuse_forked
from sltprob.samplers import Sampler
from sltprob.samplers._stochastic import StochasticGradientSampler
from sltprob.sampling.assemble import model_name
from sltprob.sampling.checkpoint import Checkpoint
from sltprob.sampling.local_sample import as_tempered, sample_around
from sltprob.sampling.minibatches import check_minibatches
from sltprob.sampling.progress import Progress, Target
from sltprob.sampling.tempered_run import RunOptions
from sltprob.sampling.tempered_sample import sample_tempered

__all__ = ["sample"]


def sample(
    posterior: TemperedPosterior | LocalPosterior,
    sampler: Sampler | str,
    *,
    draws: int = 1000,
    warmup: int = 500,
    chains: int = 4,
    seed: int = 0,
    init: Any = None,
    keep: str | None = None,
    target_mcse: float | str | None = None,
    progress: Callable[[Progress], None] | None = None,
    checkpoint: Checkpoint | None = None,
    batch_size: int | None = None,
    steps_per_draw: int | None = None,
    step_size: float | None = None,
    record: str | None = None,
    vectorized: bool | None = None,
    half_step: bool | None = None,
    target_rho: float | None = None,
) -> xr.DataTree:
    """Draw from a tempered posterior, or from one around trained parameters.

    Parameters
    ----------
    posterior : TemperedPosterior or LocalPosterior
        Of `sltprob.temper`, or of `sltprob.local`. A sampler without minibatches, such as hmc,
        takes a local posterior on all data, with the localisation as its prior.
    sampler : Sampler or str
        Such as ``"hmc"`` or ``"sgld[step_size=1e-4]"``.
    draws : int
        Kept draws per chain.
    warmup : int
        Warm-up draws per chain; never averaged in.
    chains : int
    seed : int
        The same seed gives the same draws, whatever the number of cores.
    init : str or mapping of str to array, shape (chain, ...)
        ``"prior"`` (draws of the prior), ``"optimum"`` (the optimum of the model, with the
        chains spread by 1e-3 in unconstrained coordinates), ``"both"`` (every other chain from
        the optimum, the others from the prior: R-hat then sees chains that remember their start),
        or constrained values. By default ``"prior"``, and around trained parameters
        ``"optimum"``; there the prior is the localisation.
    keep : str
        ``"all"``, or ``"loss"`` for scalars only, so that memory does not grow with dimension,
        which is the default around trained parameters.
    target_mcse : float or str, optional
        Stop when lambda-hat's Monte Carlo standard error is at most this, after at least 100
        draws; the same unit as lambda-hat, dimensionless, or ``"2%"`` of it. Where lambda-hat
        averaged over the readout is known, of ``estimate(run, rao_blackwell=True)``, the smaller
        of both errors counts, as soon as there are enough draws for a verdict. Around trained
        parameters it is the error that is reported, a run at half the step included.
    progress : callable, optional
        Called with a `Progress` after each stage and chunk.
    checkpoint : Checkpoint, optional
        Where to keep each finished piece of the run. A run of the same arguments goes on after
        the last piece kept, and its draws are the same bit for bit.
    batch_size : int, optional
        Rows of a minibatch, by default 128. This and all that follows is for a local posterior.
    steps_per_draw : int, optional
        Steps between two kept draws, by default 10.
    step_size : float, optional
        ε of the sampler, in BlackJAX's convention; by default found in warm-up.
    record : str, optional
        ``"paired"``: l_i(θ) - l_i(θ*) over the minibatches that the steps have anyway; ``"all"``:
        over all rows at every draw.
    vectorized : bool, optional
        Whether chains share one call; by default where that is faster.
    half_step : bool, optional
        Whether to run at half the step as well, which narrows the interval of λ̂; by default where
        the step biases it by more than a tenth. It has at most `draws`, and ends before where its
        own error is small beside the bias that is left.
    target_rho : float, dimensionless, optional
        The bias, relative to λ̂, at which warm-up stops to make the step smaller: 0.08.

    Returns
    -------
    xarray.DataTree
        By the schema of `sltprob.draws`.

    Raises
    ------
    ValueError
        If an argument is out of range, if the sampler does not apply to the posterior, or in a
        fork of a process that has computed.
    TypeError
        If the posterior was not made by `temper`, or the sampler is none or does not return what
        its contract says.
    """
    refuse_forked()
    around: dict[str, Any] = {
        "batch_size": batch_size,
        "steps_per_draw": steps_per_draw,
        "step_size": step_size,
        "record": record,
        "vectorized": vectorized,
        "half_step": half_step,
        "target_rho": target_rho,
    }
    target = None if target_mcse is None else Target.read(target_mcse)
    if isinstance(posterior, LocalPosterior):
        sampler = samplers.as_sampler(sampler)
        if isinstance(sampler, StochasticGradientSampler):
            _check_counts(draws, warmup, chains, seed, keep or "loss")
            return sample_around(
                posterior,
                sampler,
                draws=draws,
                warmup=warmup,
                chains=chains,
                seed=seed,
                init=init,
                keep=keep,
                target=target,
                progress=progress,
                checkpoint=checkpoint,
                **around,
            )
        posterior, init = as_tempered(posterior), "optimum" if init is None else init
    given = [name for name, value in around.items() if value is not None]
    if given:
        raise ValueError(
            f"{given[0]} goes with a posterior of sltprob.local and a sampler of minibatches; "
            f"write it into the sampler where it has such an option, as 'sgld[{given[0]}=...]'"
        )
    init = "prior" if init is None else init
    keep = keep or "all"
    if not isinstance(posterior, TemperedPosterior):
        raise TypeError(
            f"a {type(posterior).__name__} is not a tempered posterior; write "
            "sample(temper(model, beta=...), sampler), or sample(local(loss, params, data), 'sgld')"
        )
    if target is not None and target.relative and np.isnan(float(posterior.minimum_loss)):
        raise ValueError(
            f"target_mcse={target_mcse}: a part of lambda-hat needs L*, which is not known; give "
            "temper(..., minimum_loss=...), or an absolute target such as 0.02"
        )
    sampler = samplers.as_sampler(sampler)
    _check_counts(draws, warmup, chains, seed, keep)
    if (reason := sampler.applies_to(posterior)) is not None:
        raise ValueError(
            f"{samplers.specification(sampler)} does not apply to {model_name(posterior)}: "
            f"{reason}; take another sampler, such as 'hmc'"
        )
    if (own_size := getattr(sampler, "batch_size", None)) is not None:
        check_minibatches(posterior, own_size)
    return sample_tempered(
        posterior,
        sampler,
        RunOptions(draws, warmup, chains, seed, init, keep),
        target=target,
        progress=progress,
        checkpoint=checkpoint,
    )


def _check_counts(draws: int, warmup: int, chains: int, seed: int, keep: str) -> None:
    for name, value, least, example in (
        ("draws", draws, 1, 1000),
        ("warmup", warmup, 20, 500),
        ("chains", chains, 1, 4),
        ("seed", seed, 0, 0),
    ):
        if not isinstance(value, int | np.integer) or value < least:
            raise ValueError(
                f"{name}={value!r}: it must be a whole number >= {least}, such as {example}"
            )
    if keep not in ("all", "loss"):
        raise ValueError(f"keep={keep!r}: it must be 'all' or 'loss'")
