"""Why no point has a finite density: data that no parameters can explain."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro

from sltprob.observed import mask_of
from sltprob.posterior import TemperedPosterior
from sltprob.support import seeded, traced, unwrapped

__all__ = ["outside_support"]

# A support may depend on the parameters: what is outside for all of these is outside for good.
_DRAWS = 8


def outside_support(posterior: TemperedPosterior) -> str | None:
    """Name the data that lie outside the support of their distribution, whatever is drawn.

    Parameters
    ----------
    posterior : TemperedPosterior

    Returns
    -------
    str or None
        A sentence without an end; None where all data are inside.
    """
    outside: dict[str, np.ndarray] = {}
    for number in range(_DRAWS):
        program = seeded(posterior.structure.run, jax.random.PRNGKey(number))
        with numpyro.validation_enabled(False):  # it warns, or refuses the parameters
            sites = traced(program, posterior.arguments)
        for name, axis in posterior.structure.observed:
            distribution, value = sites[name]["fn"], sites[name]["value"]
            mask = mask_of(distribution)
            shape = np.broadcast_shapes(
                jnp.shape(value)[: jnp.ndim(value) - distribution.event_dim],
                distribution.batch_shape,
            )
            bad = ~distribution.support(value) & (True if mask is None else mask)
            rows = np.moveaxis(np.broadcast_to(bad, shape), axis, 0).reshape(shape[axis], -1)
            outside[name] = outside.get(name, True) & rows.any(axis=1)
    for name, axis in posterior.structure.observed:
        if not (rows := outside[name]).any():
            continue
        first = int(np.argmax(rows))
        value = np.asarray(sites[name]["value"])
        shown = np.take(value, first, axis).tolist() if value.ndim else value.tolist()
        return (
            f"site {name!r} observes {shown} in row {first} ({rows.sum()} of {len(rows)} rows), "
            f"which {type(unwrapped(sites[name]['fn'])).__name__} never gives"
        )
    return None
