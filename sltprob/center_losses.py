"""The losses of the rows of a local posterior: checked, and evaluated at the center."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sltprob.arguments import in_precision
from sltprob.fingerprint import trace_of
from sltprob.local_posterior import LocalPosterior
from sltprob.sampling.compilation import Clock, compiled
from sltprob.streams import ArrayStream

__all__ = ["in_type", "with_baseline", "with_checked_loss"]

# Rows whose losses are evaluated at once, so that memory does not grow with n.
_MICROBATCH = 1024
_NAMES = {"bf16": "bfloat16", "f16": "float16"}
# Rows on which a loss is checked, and how far their losses may depend on their neighbours.
_PROBE, _TOLERANCE = 8, 1e-3


def in_type(array: Any, number_type: Any, what: str = "data") -> Any:
    """Give an array in the precision of the run, if it is of floating point."""
    floating = jnp.issubdtype(array.dtype, jnp.floating)
    return in_precision(array, what, number_type if floating else None)


def with_checked_loss(posterior: LocalPosterior, number_type: Any) -> LocalPosterior:
    """Refuse a loss that is not one value per row, or whose rows depend on each other.

    Returns
    -------
    LocalPosterior
        Knows what tells this loss from another: its fingerprint, and losses of the first rows a
        little beside the center.
    """
    if posterior.stream is not None:
        rows = [in_type(np.asarray(r), number_type) for r in posterior.stream.example(_PROBE)]
    else:
        rows = [array[:_PROBE] for array in posterior.data]
    weights = None if posterior.weights is None else posterior.weights[:_PROBE]
    try:
        traced = trace_of(
            lambda shared, some: posterior.structure.loss_rows(
                shared.parameters(shared.center),
                jax.tree.unflatten(posterior.structure.batch_tree, some),
            ),
            posterior.traced(),
            rows,
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
        if _may_be_batches(posterior.structure.batch_tree):
            wanted += "; write a list of batches as lambda: batches"
        raise ValueError(
            f"the loss fails on {len(rows[0])} rows ({first}); it must {wanted}"
        ) from cause
    form = traced.form[0] if isinstance(traced.form, tuple | list) else traced.form
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
    coarse = posterior.structure.dtype if traced.coarse is None else _NAMES[traced.coarse]
    structure = replace(posterior.structure, fingerprint=traced.fingerprint, loss_dtype=coarse)
    posterior = replace(posterior, structure=structure)
    if size < 2:
        return posterior
    arguments = (posterior.traced(), tuple(rows), weights)
    whole, alone = compiled(_probe_rows, *arguments, clock=Clock(), effort=0)(*arguments)
    if len(alone) != size // 2:
        raise ValueError(
            f"the loss of {size // 2} rows has {len(alone)} values on its first axis, and of "
            f"{size} rows {size}; it must be one value per row, rows first"
        )
    if not np.allclose(whole[: size // 2], alone, rtol=_TOLERANCE, atol=1e-5, equal_nan=True):
        raise ValueError(
            "the loss of a row depends on the rows beside it, as with batch statistics; compute "
            "such things before, or freeze them"
        )
    return replace(posterior, nearby=tuple(map(float, whole)))


def _may_be_batches(tree: Any) -> bool:
    """Tell a list whose items are all built alike, of several arrays: batches, perhaps."""
    if tree.node_data() is None or tree.node_data()[0] is not list:
        return False
    items = tree.children()
    return items[0].num_leaves > 1 and all(item == items[0] for item in items)


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


def with_baseline(posterior: LocalPosterior, number_type: Any) -> LocalPosterior:
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
            part = (shared, [in_type(row, number_type) for row in rows], weights)
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
