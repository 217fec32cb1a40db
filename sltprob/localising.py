"""From trained parameters and a loss to the posterior around them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sltprob.arguments import as_array, in_precision
from sltprob.center_losses import in_type, with_baseline, with_checked_loss
from sltprob.local_posterior import (
    LocalPosterior,
    LocalStructure,
    Observable,
    checked_number,
)
from sltprob.masks import read_mask
from sltprob.models._row_losses import not_trained, site_name
from sltprob.printable import printable
from sltprob.streams import as_stream

__all__ = ["local"]


def local(
    loss_rows: Callable[[Any, Any], Any],
    params: Any,
    data: Any,
    *,
    nbeta: float | str = "wbic",
    gamma: float = 1.0,
    mask: Any = None,
    weights: Any = None,
    observables: Mapping[str, tuple[Any, Callable[[Any, Any], Any]]] | None = None,
    row_losses: Mapping[str, tuple[Any, Callable[[Any, Any], Any]]] | None = None,
    name: str | None = None,
    dtype: str = "float32",
) -> LocalPosterior:
    """Make the posterior around trained parameters.

    Its density is exp(-nβ L_n(θ) - (γ/2)|θ - θ*|²), L_n the mean loss over rows. Hand it to
    `sltprob.sample` with a sampler that takes minibatches: sgld, preconditioned_sgld, sghmc, sgnht;
    or with hmc, on all data, as the reference where that is affordable.

    Parameters
    ----------
    loss_rows : callable
        ``(params, batch) -> losses``, shape (rows,) or (rows, tokens), or ``(losses, aux)``. The
        loss of a row must not depend on the rows beside it.
    params : pytree of arrays
        θ*: of plain JAX, Equinox, Flax Linen, or the state of Flax NNX. Leaves that are no arrays
        of floating point, and the running statistics of Flax's batch norm, are frozen.
    data : pytree of arrays, shape (n, ...), or stream
        A memory map, a Zarr array, or batches of an iterator, a data loader or a function that
        makes an iterator are read while the run goes on.
    nbeta : float or str, dimensionless
        nβ, which multiplies the mean loss; ``"wbic"`` for n / log n.
    gamma : float
        γ of the localisation, one over the squared unit of the parameters.
    mask : str, sequence of str, callable or pytree, optional
        What moves: patterns of site names such as ``"layers.0.*"``, ``site -> bool or array``, or
        a pytree like `params` of booleans or of arrays of them.
    weights : array, shape (n,) or (n, tokens), optional
        Weight of every row or token in the mean loss.
    observables : mapping of str to (data, loss_rows), optional
        Data sets whose mean loss is recorded at every draw, less that at θ*.
    row_losses : mapping of str to (data, loss_rows), optional
        Data sets of which the loss of every row is recorded at every draw, less that at θ*, for
        `sltprob.loss_covariance`.
    name : str, optional
        What to call the network; by default the name of the loss.
    dtype : str
        ``"float32"`` or ``"float64"``.

    Returns
    -------
    LocalPosterior

    Raises
    ------
    TypeError
        If `observables` or `row_losses` is no mapping.
    ValueError
        If a value is out of range, nothing is left to move, the data disagree about their number
        or the loss is not one value per row.

    References
    ----------
    .. [1] E. Lau et al., "The local learning coefficient", arXiv 2308.12108.
    .. [2] S. Watanabe, "A widely applicable Bayesian information criterion", JMLR 14 (2013).
    """
    number_type = _number_type(dtype)
    gamma = checked_number("gamma", gamma, least=0.0, strict=False, example=1.0, dtype=number_type)
    center, constants, kept, names, tree, part, fixed = _read_parameters(params, mask, number_type)
    stream = as_stream(data)
    if stream is None:
        leaves, batch_tree = jax.tree.flatten(data)
        arrays = tuple(
            in_type(as_array(leaf, what := f"data[{index}]"), number_type, what)
            for index, leaf in enumerate(leaves)
        )
        count = _count("the data", arrays, listed=isinstance(data, list))
    else:
        arrays, batch_tree, count = (), stream.tree, stream.num_rows
    structure = LocalStructure(
        loss_rows,
        tree,
        names,
        kept,
        batch_tree,
        count,
        dtype,
        name or str(getattr(loss_rows, "__name__", type(loss_rows).__name__)),
        fixed,
    )
    posterior = LocalPosterior(
        center=center,
        constants=constants,
        mask=part,
        data=arrays,
        weights=_read_weights(weights, count, number_type),
        baseline=None,
        nbeta=jnp.asarray(_read_nbeta(nbeta, count, number_type), number_type),
        gamma=jnp.asarray(gamma, number_type),
        observables={},
        structure=structure,
        stream=stream,
    )
    posterior = with_checked_loss(posterior, number_type)
    posterior = with_baseline(posterior, number_type)
    for what, given in (("observables", observables), ("row_losses", row_losses)):
        _check_names(what, given)
    found = {
        key: _observe(posterior, key, value, number_type, by_row=by_row)
        for by_row, given in ((False, observables), (True, row_losses))
        for key, value in (given or {}).items()
    }
    if len(found) < len(observables or {}) + len(row_losses or {}):
        twice = ", ".join(sorted(set(observables or {}) & set(row_losses or {})))
        raise ValueError(f"{twice} is in observables and in row_losses; give it another name")
    return replace(posterior, observables=found)


def _number_type(dtype: str) -> Any:
    if dtype not in ("float32", "float64"):
        raise ValueError(f"dtype={dtype!r}: it must be 'float32' or 'float64'")
    if dtype == "float64" and jnp.zeros(()).dtype != np.float64:
        raise ValueError(
            "dtype='float64' needs numpyro.enable_x64() before anything else; or leave it out"
        )
    return jnp.dtype(dtype)


def _read_nbeta(nbeta: float | str, count: int, number_type: Any) -> float:
    if isinstance(nbeta, str) and nbeta == "wbic":
        if count < 3:
            raise ValueError(
                f"nbeta='wbic' is n / log n, and n is {count or 'not known'}; give a number, such "
                "as nbeta=1000"
            )
        return count / math.log(count)
    if isinstance(nbeta, str):
        raise ValueError(f"nbeta={nbeta!r}: it must be a number or 'wbic'")
    return checked_number("nbeta", nbeta, least=0.0, strict=True, example=1000, dtype=number_type)


def _read_weights(weights: Any, count: int, number_type: Any) -> Any:
    if weights is None:
        return None
    if not count:
        raise ValueError("weights go with data whose rows have numbers; leave them out of a stream")
    array = np.asarray(as_array(weights, "weights"), dtype=float)
    if array.ndim == 0 or array.shape[0] != count or np.any(array < 0) or array.sum() <= 0:
        raise ValueError(
            f"weights has shape {array.shape} and sum {array.sum():g}; give a number >= 0 for "
            f"each of the {count} rows, not all 0"
        )
    return jnp.asarray(array * (count / array.sum()), number_type)


def _read_parameters(params: Any, mask: Any, number_type: Any) -> tuple[Any, ...]:
    """Split the leaves into those that move, wholly or in part, and those that do not."""
    flat, tree = jax.tree.flatten_with_path(params)
    names = tuple(site_name(path) for path, _ in flat)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"params has two leaves of the name {twice!r}; rename one")
    moves = read_mask(mask, names, tree)
    fixed = not_trained(params)
    center, part, constants, kept = {}, {}, [], []
    for name, (_, leaf) in zip(names, flat, strict=True):
        is_array = hasattr(leaf, "dtype") and hasattr(leaf, "shape")
        moving = False if name in fixed else moves.get(name, True)
        usable = is_array and jnp.issubdtype(leaf.dtype, jnp.floating) and leaf.size > 0
        if usable and np.any(moving):
            value = jnp.array(leaf, number_type)  # a copy, as buffers of a run are donated
            if not bool(jnp.all(jnp.isfinite(value))):
                raise ValueError(f"params[{name!r}] is not finite; give trained parameters")
            if np.ndim(moving) and np.shape(moving) != value.shape:
                raise ValueError(
                    f"mask of {name!r} has shape {np.shape(moving)}; it must be {value.shape}"
                )
            center[name] = value
            if not np.all(moving):
                part[name] = jnp.asarray(moving, number_type)
        constants.append(_constant(name, leaf) if is_array and name not in center else None)
        kept.append(None if is_array else leaf)
    if not center:
        shown = ", ".join(names[:12]) or "none"
        raise ValueError(
            f"no parameter is left to move; the leaves are {shown}; one of them must be an array "
            "of floating point that mask= lets move"
        )
    return center, tuple(constants), tuple(kept), names, tree, part, fixed


def _constant(name: str, leaf: Any) -> Any:
    """Give JAX a frozen array, unchanged."""
    what = f"params[{name!r}]"
    if not isinstance(leaf, np.ndarray | np.generic):
        return jnp.asarray(leaf)
    if leaf.dtype.kind in "OSUMm":
        raise ValueError(f"{what} is {leaf.dtype}, no array of numbers; leave it out of params")
    return in_precision(leaf, what) if leaf.dtype.kind in "iu" else jnp.asarray(leaf)


def _count(what: str, arrays: tuple[Any, ...], *, listed: bool = False) -> int:
    if not arrays:
        raise ValueError(f"there is no array in {what}; give arrays with one row per datum")
    counts = {array.shape[0] if array.ndim else None for array in arrays}
    if len(counts) != 1 or None in counts:
        shapes = ", ".join(str(array.shape) for array in arrays[:6])
        more = ", …" if len(arrays) > 6 else ""
        lists = "; write lists of numbers as numpy arrays, and a list of batches as lambda: batches"
        lists = lists if listed or None in counts else ""
        raise ValueError(
            f"the shapes of {what} are {shapes}{more}; every array must have one row per "
            f"datum{lists}"
        )
    return int(counts.pop() or 0)


def _check_names(what: str, given: Any) -> None:
    """Refuse names that a run cannot be stored under, before anything is drawn."""
    if not isinstance(given, Mapping | None):
        raise TypeError(f"{what} is a {type(given).__name__}; write {{name: (data, loss_rows)}}")
    for name in given or {}:
        if not isinstance(name, str) or not name or "/" in name or name != printable(name):
            raise ValueError(
                f"{what} has the name {name!r}; it must be text without '/', such as 'test'"
            )


def _observe(
    posterior: LocalPosterior, key: str, value: Any, number_type: Any, *, by_row: bool
) -> Observable:
    what = f"{'row_losses' if by_row else 'observables'}[{key!r}]"
    if not isinstance(value, tuple) or len(value) != 2 or not callable(value[1]):
        raise ValueError(f"{what} must be (data, loss_rows)")
    leaves, tree = jax.tree.flatten(value[0])
    arrays = tuple(in_type(as_array(leaf, what), number_type, what) for leaf in leaves)
    count = _count(what, arrays)
    structure = replace(
        posterior.structure, loss_rows=value[1], batch_tree=tree, num_rows=count, title=key
    )
    own = replace(
        posterior, data=arrays, structure=structure, weights=None, stream=None, observables={}
    )
    own = with_baseline(with_checked_loss(own, number_type), number_type)
    seen = own.structure.fingerprint
    return Observable(arrays, own.baseline, value[1], tree, by_row, seen)
