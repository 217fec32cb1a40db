"""Whether a program takes entries that are not there, asked before anything is sampled."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import checkify

from sltprob.posterior import TemperedPosterior

__all__ = ["refuse_missing_entries"]


def refuse_missing_entries(posterior: TemperedPosterior) -> None:
    """Refuse data that index beyond an array: JAX takes the last entry instead, in silence.

    Groups that are counted from one, as in R and Stan, are the usual case.

    Parameters
    ----------
    posterior : TemperedPosterior

    Raises
    ------
    ValueError
        If an index is out of bounds.
    """
    given = {**posterior.arguments, **posterior.structure.fixed}
    whole = [
        name
        for name, value in given.items()
        if jnp.ndim(value) and jnp.issubdtype(jnp.asarray(value).dtype, jnp.integer)
    ]
    if not whole:
        return
    origin = {
        name: jnp.zeros(shape, posterior.beta.dtype) for name, shape in posterior.structure.shapes
    }
    reason = _checked(posterior, origin).get()
    if reason is not None:
        raise ValueError(
            f"the program {posterior.name} indexes an array beyond its end "
            f"({reason.strip().rstrip('.')}); JAX would take its last entry: count from 0 in "
            f"{' and '.join(whole)}, as pandas.factorize does"
        )


@partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
def _checked(posterior: TemperedPosterior, position: Any) -> checkify.Error:
    def density(held: TemperedPosterior, place: Any) -> Any:
        return held.minibatch_logdensity(place, held.arguments)

    error, _ = checkify.checkify(density, errors=checkify.index_checks)(posterior, position)
    return error
