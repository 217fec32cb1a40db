"""What counts as a datum: derived once, from the observed sites of a program.

A site says it by the shape of its log likelihood, by the plates around it, and by its mask. Where
these can be read in two ways both readings are named, and `rows` decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

__all__ = ["likelihood_rows", "mask_of", "refuse"]


def refuse(name: str, what: str, instead: str) -> ValueError:
    """Say what about a site cannot be tempered, and what to write."""
    return ValueError(f"site {name!r} cannot be tempered: {what}; {instead}")


def likelihood_rows(
    sites: Sequence[Mapping[str, Any]],
    size: int | None,
    lengths: Mapping[str, tuple[int, ...]],
    rows: str | int | None,
    groups: Set[str],
) -> tuple[tuple[tuple[str, int], ...], int]:
    """Find the axis of each log likelihood that counts the data, and their number.

    `size` is the number that weights say, `lengths` are the shapes of the program's arguments,
    `rows` is the user's word: a plate, or an axis of the log likelihood. `groups` are the plates
    with parameters of their own.
    """
    if isinstance(rows, str) and not any(_plates(site, rows) for site in sites):
        known = sorted({frame.name for site in sites for frame in site["cond_indep_stack"]})
        raise ValueError(
            f"rows={rows!r} is no plate of an observed site; there "
            f"{'are ' + ', '.join(map(repr, known)) if known else 'is none'}, or give an axis, "
            "such as rows=0"
        )
    axes: list[tuple[str, int]] = []
    for site in sites:
        shape = _likelihood_shape(site)
        axis = _axis(site, shape, size, lengths, rows, groups)
        if size is not None and shape[axis] != size:
            other = f"{axes[0][0]!r} has {size}" if axes else f"there are {size} weights"
            raise refuse(
                site["name"],
                f"it has {shape[axis]} data (log likelihood of shape {shape}), and {other}",
                "a datum has one row in every observed site: pad with a mask, or name the axis "
                "with rows=",
            )
        size = shape[axis]
        axes.append((site["name"], axis))
    assert size is not None
    return tuple(axes), size


def _likelihood_shape(site: Mapping[str, Any]) -> tuple[int, ...]:
    """Give the shape of a log likelihood, and refuse one that comes from broadcasting."""
    name, distribution, value = site["name"], site["fn"], site["value"]
    event = distribution.event_dim
    full = jnp.shape(value)
    try:
        shape = jnp.shape(distribution.log_prob(value))
    except (TypeError, ValueError) as error:
        if isinstance(error, jax.errors.JAXTypeError):  # the program looks at values
            raise
        raise refuse(
            name,
            f"its distribution of shape {distribution.batch_shape + distribution.event_shape} "
            f"has no density for observations of shape {full} ({str(error).splitlines()[0][:160]})",
            "give both the same shape",
        ) from error
    batch, own = full[: len(full) - event], full[len(full) - event :]
    if not shape:
        raise refuse(
            name,
            "its log likelihood is one number, so the data cannot be weighed one by one",
            "give it a batch dimension: a plate over the data, or fewer event dimensions",
        )
    if event and own != tuple(distribution.event_shape):
        raise refuse(
            name,
            f"an observation has shape {own}, and its distribution {distribution.event_shape}",
            "give both the same shape",
        )
    # One value for all rows, such as obs=0.0, can be meant in one way only.
    if batch not in ((), shape):
        raise refuse(
            name,
            f"{full} observations meet a distribution of shape "
            f"{tuple(distribution.batch_shape) + tuple(distribution.event_shape)}, which makes "
            f"{shape} log likelihoods",
            "give both the same shape, such as mean[:, 0] for a mean with one column",
        )
    return shape


def _axis(
    site: Mapping[str, Any],
    shape: tuple[int, ...],
    size: int | None,
    lengths: Mapping[str, tuple[int, ...]],
    rows: str | int | None,
    groups: Set[str],
) -> int:
    """Choose the axis that counts the data, or name the readings that are possible."""
    name = site["name"]
    plated = {
        frame.dim % len(shape): frame.name
        for frame in site["cond_indep_stack"]
        if -frame.dim <= len(shape)
    }
    if isinstance(rows, str):
        found = [axis for axis, plate in plated.items() if plate == rows]
        if not found:
            raise refuse(name, f"it is not in the plate {rows!r}", "give an axis, such as rows=0")
        return found[0]
    if rows is not None:
        if not -len(shape) <= rows < len(shape):
            raise refuse(
                name,
                f"rows={rows} is no axis of its log likelihood, whose shape is {shape}",
                f"give one from 0 to {len(shape) - 1}",
            )
        return rows % len(shape)
    if len(shape) == 1:
        return 0
    possible = {axis for axis in range(len(shape)) if size in (None, shape[axis])} or {0}
    if len(possible) == 1:
        return possible.pop()
    # The first axis may count groups, and the other one the data of each.
    first_is_group = plated.get(0) in groups
    readings = {
        axis
        for axis in possible & set(plated) - {0}
        if 0 not in plated or (first_is_group and plated[axis] not in groups)
    }
    if 0 in possible and not plated:
        # No plate tells; an argument with as many rows may: y (3, n) against x (n,).
        inputs = {
            length[0]
            for length in lengths.values()
            if length and length != jnp.shape(site["value"])
        }
        if shape[0] not in inputs:
            readings = {axis for axis in possible - {0} if shape[axis] in inputs}
    if not readings:
        return 0 if 0 in possible else min(possible)
    options = [
        f"{shape[axis]} data, " + (f"one for each of plate {plated[axis]!r}" if axis in plated
        else f"along axis {axis}") + f" (rows={repr(plated[axis]) if axis in plated else axis})"
        for axis in sorted({0, *readings} & possible)
    ]  # fmt: skip
    if len(options) == 1:
        return readings.pop()
    raise refuse(
        name,
        f"its log likelihood has shape {shape}, which can be read as " + ", or as ".join(options),
        "say which to temper(..., rows=)",
    )


def _plates(site: Mapping[str, Any], name: str) -> list[Any]:
    return [frame for frame in site["cond_indep_stack"] if frame.name == name]


def mask_of(distribution: Any) -> Any:
    """Give the mask of a distribution, None where it has none that hides anything."""
    while not isinstance(distribution, dist.MaskedDistribution):
        if not isinstance(distribution, dist.Independent | dist.ExpandedDistribution):
            return None
        distribution = distribution.base_dist
    mask = distribution._mask
    return None if mask is None or mask is True else mask
