"""Runs of other programs: a DataTree of PyMC, NumPyro or CmdStan, in the schema of ours.

Such a run samples the posterior of n data itself, so β = n, the loss of a draw is the mean over
the data of the negative log likelihood, and L* is not known. It has no gradients: the checks that
need them (virial, step size) do not apply, and are absent from its verdict.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr

from sltprob import draws as schema

__all__ = ["from_arviz", "is_foreign"]

#: Names of ours, with those that ArviZ and older versions of it give the same thing.
_STATISTICS = {
    "acceptance_rate": ("acceptance_rate", "accept_prob", "mean_tree_accept", "accept_stat__"),
    "diverging": ("diverging", "divergent__"),
    "energy": ("energy", "energy__"),
    "num_gradients": ("n_steps", "num_steps", "tree_size", "n_leapfrog__"),
    "lp": ("lp", "lp__"),
}

# Bytes of a log likelihood that are added up at once.
_PIECE = 2**24


def is_foreign(tree: Any) -> bool:
    """Tell whether a DataTree is the run of another program, with its log likelihood or without."""
    if not isinstance(tree, xr.DataTree) or "beta" in tree.attrs:
        return False
    ours = any(name in tree.attrs for name in schema.REQUIRED_ATTRIBUTES)
    return "log_likelihood" in tree.children or ("posterior" in tree.children and not ours)


def from_arviz(
    tree: xr.DataTree, *, minimum_loss: float = math.nan, name: str = "posterior"
) -> xr.DataTree:
    """Make a run that can be judged from one of PyMC, NumPyro or CmdStan.

    Parameters
    ----------
    tree : xarray.DataTree
        In ArviZ's schema, with a group ``log_likelihood`` of pointwise values.
    minimum_loss : float, nats per datum
        L*, the mean negative log likelihood at the optimum; NaN if it is not known, and then
        there is no λ̂.
    name : str
        How to call the model.

    Returns
    -------
    xarray.DataTree
        With β = n, the number of pointwise values; variables with the same dimensions share theirs.

    Raises
    ------
    TypeError
        If `tree` is no DataTree.
    ValueError
        If it has no log likelihood by (chain, draw, datum).

    References
    ----------
    .. [1] S. Watanabe, "A widely applicable Bayesian information criterion", JMLR 14 (2013):
       the posterior of n data has the inverse temperature n of the mean loss.
    """
    if not isinstance(tree, xr.DataTree):
        raise TypeError(
            f"a {type(tree).__name__} is not a DataTree; pass that of arviz.from_numpyro(...), "
            "arviz.from_cmdstanpy(...) or pymc.sample(...)"
        )
    if "log_likelihood" not in tree.children or not tree["log_likelihood"].data_vars:
        raise ValueError(
            "the DataTree has no group log_likelihood; make it with "
            "arviz.from_numpyro(..., log_likelihood=True), arviz.from_cmdstanpy(..., "
            "log_likelihood='log_lik') or pymc.compute_log_likelihood(...)"
        )
    total, size, rounding = _sum(tree["log_likelihood"].to_dataset())
    statistics: dict[str, np.ndarray] = {"loss": -total / size}
    given = tree["sample_stats"].to_dataset() if "sample_stats" in tree.children else xr.Dataset()
    for ours, theirs in _STATISTICS.items():
        found = next((given[key] for key in theirs if key in given), None)
        if found is not None and set(found.dims) == {"chain", "draw"}:
            values = np.asarray(found.transpose("chain", "draw").values)
            if values.shape == total.shape:
                statistics[ours] = values
    run = schema.build(
        sample_stats=statistics,
        posterior=None,
        warmup={},
        tuned={},
        site_dimensions={},
        attributes={
            "model": name,
            "sampler": _library(tree),
            "beta": float(size),
            "seed": -1,
            "minimum_loss": float(minimum_loss),
            "minimum_loss_source": "not known" if math.isnan(minimum_loss) else "given",
            "unadjusted": 0,
            "loss_rounding": rounding / size,
            "data_error": 0.0,
            "origin": "ArviZ",
            **_times(tree),
        },
    )
    if "posterior" in tree.children:
        run["posterior"] = tree["posterior"].copy()
    return run


def _sum(likelihoods: xr.Dataset) -> tuple[np.ndarray, int, float]:
    """Add the log likelihood of all data, count the data, and bound the rounding of the sum."""
    total, squares = np.zeros(()), 0.0
    data: dict[tuple[str, ...], int] = {}
    for name, variable in likelihoods.data_vars.items():
        rest = [dim for dim in variable.dims if dim not in ("chain", "draw")]
        if not {"chain", "draw"} <= set(variable.dims) or not rest:
            raise ValueError(
                f"log_likelihood/{name} has the dimensions {variable.dims}; it must have chain, "
                "draw and one for the data, as pointwise values have"
            )
        # Every pointwise value is a datum, by unit and time, say; two variables over the same
        # dimensions are two halves of the same data.
        data[tuple(sorted(map(str, rest)))] = math.prod(int(variable.sizes[dim]) for dim in rest)
        sums, largest = _by_draw(variable.transpose("chain", "draw", ...).variable)
        total = total + sums
        precision = np.finfo(variable.dtype).eps if variable.dtype.kind == "f" else 0.0
        # Each datum is rounded on its own, so that errors add as squares.
        squares += float(precision) ** 2 * largest
    return total, sum(data.values()), math.sqrt(squares)


def _by_draw(variable: xr.Variable) -> tuple[np.ndarray, float]:
    """Add the values of every draw, and give the largest sum of squares; the file may be large."""
    chains, draws = variable.shape[:2]
    sums, largest = np.zeros((chains, draws)), 0.0
    many = 1 + draws * math.prod(variable.shape[2:]) * 8 // _PIECE
    for chain in range(chains):
        for part in range(many):
            at = slice(draws * part // many, draws * (part + 1) // many)
            values = np.asarray(variable[chain, at].values)
            values = values.reshape(len(values), -1).astype(float, copy=False)
            with np.errstate(all="ignore"):
                sums[chain, at] = values.sum(axis=-1)
                found = float(np.max(np.sum(values**2, axis=-1), initial=0))
            largest = float(np.maximum(largest, found))
    return sums, largest


def _library(tree: xr.DataTree) -> str:
    for node in (tree, *(tree[group] for group in ("posterior", "sample_stats") if group in tree)):
        if "inference_library" in node.attrs:
            return str(node.attrs["inference_library"])
    return "not known"


def _times(tree: xr.DataTree) -> dict[str, float]:
    for group in ("posterior", "sample_stats"):
        if group in tree.children and "sampling_time" in tree[group].attrs:
            return {"seconds_sampling": float(tree[group].attrs["sampling_time"])}
    return {}
