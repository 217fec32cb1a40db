"""Runs of devinterp: the dict of version 1 and the Zarr store of version 2, in the schema of ours.

Such a run has the minibatch losses of SGLD and the mean loss that it started from. It recorded
nothing about its step, whose bias no trace shows: the check of it cannot be computed, and the run
is never trusted. What the traces do show, chains that disagree or have not arrived, is said.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from sltprob import draws as schema

__all__ = ["from_devinterp", "is_devinterp"]

_TRACE, _VALUE, _START = "loss/trace", "llc/mean", "init_loss"


def is_devinterp(path: str | os.PathLike[str]) -> bool:
    """Tell whether a path is a Zarr store, as version 2 writes."""
    return (Path(path) / "zarr.json").is_file()


def from_devinterp(
    found: Mapping[str, Any] | xr.DataTree | str | os.PathLike[str],
    *,
    nbeta: float | None = None,
    name: str | None = None,
) -> xr.DataTree:
    """Make a run that can be judged from one of devinterp.

    Parameters
    ----------
    found : mapping, xarray.DataTree or path
        What ``estimate_learning_coeff_with_summary(...)`` of version 1 returns; or what
        ``sample(...)`` of version 2 returns, or the ``output_path`` that it wrote.
    nbeta : float, dimensionless
        nβ of a run of version 1, which does not keep it. One of version 2 does.
    name : str, optional
        How to call the network.

    Returns
    -------
    xarray.DataTree
        With the mean minibatch loss of every draw, burn-in left out; L* is its initial loss, whose
        own error is that of the minibatches it is the mean of. No step that could be judged.

    Raises
    ------
    FileNotFoundError
        If there is no such store.
    ValueError
        If it is no run of devinterp, a run that did not end, or nβ is missing or given twice.

    References
    ----------
    .. [1] E. Lau et al., "The local learning coefficient", arXiv 2308.12108.
    .. [2] Timaeus, devinterp, https://github.com/timaeus-research/devinterp.
    """
    if isinstance(found, Mapping) and not isinstance(found, xr.DataTree):
        loss, least, error, nbeta = _first(found, nbeta)
        sampler = "devinterp 1"
    else:
        if isinstance(found, xr.DataTree):
            tree = found
        else:
            name = Path(found).name if name is None else name
            tree = _opened(Path(found))
        loss, least, error, kept, method = _second(tree)
        if nbeta is not None and not math.isclose(nbeta, kept):
            raise ValueError(f"nbeta={nbeta}: the run says n_beta={kept}; leave nbeta out")
        nbeta, sampler = kept, f"devinterp 2 {method}"
    return schema.build(
        sample_stats={"loss": loss},
        posterior=None,
        warmup={},
        tuned={},
        site_dimensions={},
        attributes={
            "model": "network" if name is None else name,
            "sampler": sampler,
            "beta": nbeta,
            "seed": -1,
            "minimum_loss": least,
            "minimum_loss_source": "minibatches",
            "minimum_loss_error": error,
            "unadjusted": 1,
            "loss_rounding": float(np.finfo(np.float32).eps) * abs(least),
            "data_error": 0.0,
            "origin": "ArviZ",
        },
    )


def _first(found: Mapping[str, Any], nbeta: float | None) -> tuple[np.ndarray, float, float, float]:
    if _TRACE not in found or not ({_VALUE, _START} & set(found)):
        raise ValueError(
            f"found has {', '.join(map(repr, list(found)[:6])) or 'nothing'}; give what "
            f"estimate_learning_coeff_with_summary returns, with {_TRACE!r} and {_VALUE!r}"
        )
    if nbeta is None or not (math.isfinite(nbeta) and nbeta > 0):
        raise ValueError(
            f"nbeta={nbeta}: a run of devinterp 1 does not keep it; write the nbeta of its "
            "optimizer, such as nbeta=default_nbeta(loader)"
        )
    loss = np.asarray(found[_TRACE], dtype=float)
    if loss.ndim != 2:
        raise ValueError(f"{_TRACE!r} has shape {loss.shape}; it must be (chain, draw)")
    # Its initial loss is the mean over as many minibatches as there are chains.
    error = _noise(loss) / math.sqrt(len(loss))
    if _START in found:
        return loss, float(np.mean(found[_START])), error, nbeta
    return loss, float(loss.mean() - float(found[_VALUE]) / nbeta), error, nbeta


def _second(tree: xr.DataTree) -> tuple[np.ndarray, float, float, float, str]:
    data = tree.dataset
    try:
        options = data.attrs["metadata"]["config"]["sampler"]
        start = float(np.mean(data[_START].values))
        steps = data["sampling_loss_micro"]
        nbeta, method = float(options["n_beta"]), str(options["sampling_method"])
        burned, each = int(options["num_burnin_steps"]), int(options["num_steps_bw_draws"])
        batches = int(options["num_init_loss_batches"]) * int(
            options["gradient_accumulation_steps"]
        )
        rest = [dim for dim in steps.dims if dim not in ("chain", "step")]
        loss = steps.astype(float).mean(rest).transpose("chain", "step").values[:, burned:]
        rows = data["sampling_input_ids_micro"].values
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"it is no run of devinterp 2 ({error!r}); give what devinterp.slt.sampling.sample "
            "returns, or its output_path"
        ) from None
    if not data.attrs.get("completed", 0):
        raise ValueError("the run of devinterp did not end; run it again with its output_path")
    # The initial loss is a mean over the first rows of a shuffle that is repeated: all that the
    # run has seen are in it, or a share of them.
    seen = len(np.unique(rows.reshape(-1, rows.shape[-1]), axis=0))
    share = min(1.0, batches * int(options["batch_size"]) / max(seen, 1))
    noise = _noise(loss) * math.sqrt((1 - share) / batches)
    count = loss.shape[1] // each
    loss = loss[:, : count * each].reshape(len(loss), count, each).mean(-1)
    return loss, start, noise, nbeta, method


def _noise(loss: np.ndarray) -> float:
    """Give the standard deviation of a minibatch's loss, from neighbours of the trace."""
    if loss.shape[1] < 2:
        return math.nan
    with np.errstate(all="ignore"):
        return float(np.sqrt(np.mean(np.diff(loss, axis=1) ** 2) / 2))


def _opened(path: Path) -> xr.DataTree:
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such folder; give the output_path of devinterp")
    if not is_devinterp(path):
        raise ValueError(f"{path}: it is no Zarr store; give the output_path of devinterp")
    try:
        with xr.open_datatree(path, engine="zarr", consolidated=False) as tree:
            return tree.load()
    except ImportError:
        raise ValueError(f"{path}: reading it needs zarr; pip install zarr") from None
