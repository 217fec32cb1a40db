"""The mean of the energy over a readout, in closed form: Rao and Blackwell's theorem at work."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from numpyro import handlers

from sltprob.posterior import TemperedPosterior
from sltprob.support import seeded, traced

__all__ = ["expected_energy"]

# The regression of a readout costs about a seventh of its size in gradients, for every draw.
_LARGEST_REGRESSION = 256


def expected_energy(posterior: TemperedPosterior, position: dict[str, Any]) -> Any:
    """Evaluate E[βL] over the readout, all other sites as they are: a ridge regression.

    The mean of βL - E[βL | other sites] is zero, which no error of the sampler that the
    readout sees leaves as it is. None where the model has no readout, or one that is too large to
    be worth its time.

    References
    ----------
    .. [1] A. E. Gelfand, A. F. M. Smith, "Sampling-based approaches to calculating marginal
       densities", J. Amer. Statist. Assoc. 85 (1990) 398-409 (Rao and Blackwell's theorem).
    """
    readout = None if posterior.structure.model is None else posterior.structure.model.readout()
    if readout is None:
        return None
    values = posterior.constrain(position)
    if min(len(posterior.weights), jnp.size(values[readout.site])) > _LARGEST_REGRESSION:
        return None
    program = handlers.substitute(
        seeded(posterior.structure.run, jax.random.PRNGKey(0)), data=values
    )
    prior = traced(program, posterior.arguments)[readout.site]["fn"]
    return posterior.readout_map(values).expected_energy(prior)
