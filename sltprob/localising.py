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
from sltprob.local_posterior import (
    LocalPosterior,
    LocalStructure,
    Observable,
    checked_number,
)
from sltprob.masks import read_mask
from sltprob.models._row_losses import not_trained, site_name
from sltprob.sampling.compilation import Clock, compiled
from sltprob.streams import ArrayStream, as_stream

__all__ = ["local"]

# Rows whose losses are evaluated at once, so that memory does not grow with n.
_MICROBATCH = 1024
# Rows on which a loss is checked, and how far their losses may depend on their neighbours.
_PROBE, _TOLERANCE = 8, 1e-3


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
        A memory map, a Zarr array, or an iterator of batches is read while the run goes on.
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
            _in_type(as_array(leaf, what := f"data[{index}]"), number_type, what)
            for index, leaf in enumerate(leaves)
        )
        count = _count("the data", arrays)
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
    _check_loss(posterior, number_type)
    posterior = _with_baseline(posterior, number_type)
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


def _in_type(array: Any, number_type: Any, what: str = "data") -> Any:
    floating = jnp.issubdtype(array.dtype, jnp.floating)
    return in_precision(array, what, number_type if floating else None)


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
        constants.append(jnp.asarray(leaf) if is_array and name not in center else None)
        kept.append(None if is_array else leaf)
    if not center:
        shown = ", ".join(names[:12]) or "none"
        raise ValueError(
            f"no parameter is left to move; the leaves are {shown}; one of them must be an array "
            "of floating point that mask= lets move"
        )
    return center, tuple(constants), tuple(kept), names, tree, part, fixed


def _count(what: str, arrays: tuple[Any, ...]) -> int:
    if not arrays:
        raise ValueError(f"there is no array in {what}; give arrays with one row per datum")
    counts = {array.shape[0] if array.ndim else None for array in arrays}
    if len(counts) != 1 or None in counts:
        shapes = ", ".join(str(array.shape) for array in arrays[:6])
        more = ", …" if len(arrays) > 6 else ""
        lists = "; write lists of numbers as numpy arrays" if None in counts else ""
        raise ValueError(
            f"the shapes of {what} are {shapes}{more}; every array must have one row per "
            f"datum{lists}"
        )
    return int(counts.pop() or 0)


def _check_loss(posterior: LocalPosterior, number_type: Any) -> None:
    """Refuse a loss that is not one value per row, or whose rows depend on each other."""
    if posterior.stream is not None:
        rows = [_in_type(np.asarray(r), number_type) for r in posterior.stream.example(_PROBE)]
    else:
        rows = [array[:_PROBE] for array in posterior.data]
    weights = None if posterior.weights is None else posterior.weights[:_PROBE]
    try:
        form = jax.eval_shape(
            lambda zero: posterior.structure.loss_rows(
                posterior.parameters(zero), jax.tree.unflatten(posterior.structure.batch_tree, rows)
            ),
            posterior.center,
        )
    except Exception as error:
        first = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        # What is a slip of its own code is to be seen there.
        cause = None if isinstance(error, TypeError | ValueError) else error
        wanted = "take its rows from the batch alone, whatever their number"
        if isinstance(error, jax.errors.JAXTypeError):
            wanted = "be written in jax.numpy, without a branch on a value"
        elif cause is not None:
            wanted = f"go with params of {', '.join(posterior.structure.names[:8])}"
        raise ValueError(
            f"the loss fails on {len(rows[0])} rows ({first}); it must {wanted}"
        ) from cause
    form = form[0] if isinstance(form, tuple | list) else form
    shape = getattr(form, "shape", None)
    size = len(rows[0])
    if not shape or shape[0] != size:
        raise ValueError(
            f"the loss of {size} rows has shape {shape}; it must be ({size},), one value per row: "
            "leave the mean out"
        )
    if not jnp.issubdtype(form.dtype, jnp.floating):
        raise ValueError(
            f"the loss is of {form.dtype}, which has no gradient; it must be of floating point"
        )
    if weights is not None and shape[: weights.ndim] != weights.shape:
        raise ValueError(
            f"the loss of {size} rows has shape {shape} and their weights {weights.shape}; give a "
            "weight for every row, or for every token"
        )
    if size < 2:
        return
    arguments = (posterior.traced(), tuple(rows), weights)
    whole, alone = compiled(_probe_rows, *arguments, clock=Clock(), effort=0)(*arguments)
    if not np.allclose(whole[: size // 2], alone, rtol=_TOLERANCE, atol=1e-5, equal_nan=True):
        raise ValueError(
            "the loss of a row depends on the rows beside it, as with batch statistics; compute "
            "such things before, or freeze them"
        )


def _probe_rows(posterior: LocalPosterior, rows: tuple[Any, ...], weights: Any) -> Any:
    """Evaluate losses a tenth of the parameters' own size beside the center: of all rows, and half.

    The way there is a wave, which takes no memory.
    """
    moved = {
        name: (0.1 * jnp.std(value) + 1e-3)
        * jnp.cos(12.9898 * jnp.arange(value.size, dtype=value.dtype)).reshape(value.shape)
        for name, value in posterior.center.items()
    }
    half = len(rows[0]) // 2
    first = [row[:half] for row in rows]
    part = None if weights is None else weights[:half]
    return posterior.losses(moved, rows, weights), posterior.losses(moved, tuple(first), part)


def losses_at_center(posterior: LocalPosterior, starts: Any, *, size: int) -> Any:
    """Evaluate all rows at the center, some at a time."""

    def part(start: Any) -> Any:
        def cut(array: Any) -> Any:
            return jax.lax.dynamic_slice_in_dim(array, start, size)

        weights = None if posterior.weights is None else cut(posterior.weights)
        return posterior.center_losses(tuple(map(cut, posterior.data)), weights)

    return jax.lax.map(part, starts)


def _with_baseline(posterior: LocalPosterior, number_type: Any) -> LocalPosterior:
    """Evaluate l_i(θ*) of every row, once."""
    count, clock = posterior.num_rows, Clock()
    if posterior.stream is None:
        size = min(_MICROBATCH, count)
        # The last part begins early enough to be of full size; its first rows are there twice.
        starts = np.minimum(np.arange(0, count, size), count - size)
        arguments = (posterior.traced(), jnp.asarray(starts))
        run = compiled(losses_at_center, *arguments, clock=clock, size=size)
        parts = np.asarray(run(*arguments))
        baseline = np.empty(count, parts.dtype)
        for start, part in zip(starts, parts, strict=True):
            baseline[start : start + size] = part
    elif isinstance(posterior.stream, ArrayStream):
        size = min(_MICROBATCH, count)
        baseline = np.empty(count, number_type)
        shared = posterior.traced()
        for start in np.minimum(np.arange(0, count, size), count - size):
            rows = posterior.stream.rows(np.arange(start, start + size))
            weights = None if shared.weights is None else shared.weights[start : start + size]
            part = (shared, [_in_type(row, number_type) for row in rows], weights)
            evaluate = compiled(LocalPosterior.center_losses, *part, clock=clock)
            baseline[start : start + size] = evaluate(*part)
    else:
        return posterior
    mean = float(np.mean(baseline, dtype=np.float64))
    if not math.isfinite(mean):
        bad = int(np.sum(~np.isfinite(baseline)))
        raise ValueError(
            f"the loss at params is not finite in {bad} of {count} rows; give trained parameters"
        )
    return replace(posterior, baseline=jnp.asarray(baseline), minimum_loss=mean)


def _observe(
    posterior: LocalPosterior, key: str, value: Any, number_type: Any, *, by_row: bool
) -> Observable:
    what = f"{'row_losses' if by_row else 'observables'}[{key!r}]"
    if not isinstance(value, tuple) or len(value) != 2 or not callable(value[1]):
        raise ValueError(f"{what} must be (data, loss_rows)")
    leaves, tree = jax.tree.flatten(value[0])
    arrays = tuple(_in_type(as_array(leaf, what), number_type, what) for leaf in leaves)
    count = _count(what, arrays)
    structure = replace(
        posterior.structure, loss_rows=value[1], batch_tree=tree, num_rows=count, title=key
    )
    own = replace(
        posterior, data=arrays, structure=structure, weights=None, stream=None, observables={}
    )
    _check_loss(own, number_type)
    own = _with_baseline(own, number_type)
    return Observable(arrays, own.baseline, value[1], tree, by_row)
