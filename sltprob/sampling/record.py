"""What is recorded of a draw."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from sltprob.posterior import TemperedPosterior
from sltprob.rao_blackwell import expected_energy
from sltprob.samplers.base import Evaluation
from sltprob.sampling.curvature import loss_field

__all__ = ["Typical", "record_draw"]


class Typical(NamedTuple):
    """Where the chains are when the warm-up ends."""

    position: Any
    squared_gradient: Any
    squared_loss_gradient: Any


def record_draw(
    rng_key: Any,
    posterior: TemperedPosterior,
    evaluation: Evaluation,
    info: dict[str, Any],
    typical: Typical,
    keep: str,
) -> dict[str, Any]:
    """Evaluate what judging needs to know about one draw of one chain."""
    position, logdensity, gradient = evaluation
    sites = posterior.dimensions
    stats: dict[str, Any] = {}
    if posterior.structure.readout is None:
        stats["log_prior"], prior_gradient = jax.value_and_grad(posterior.log_prior)(position)
        loss = (stats["log_prior"] - logdensity) / posterior.beta
        slopes = {name: prior_gradient[name] - gradient[name] for name in sites}
        stats["loss_virial"] = jnp.stack([jnp.sum(position[name] * slopes[name]) for name in sites])
        typical_squares = (typical.squared_gradient, typical.squared_loss_gradient)
        stats |= loss_field(rng_key, posterior, position, loss, slopes, gradient, typical_squares)
    else:
        loss = posterior.loss_from_logdensity(position, logdensity)
    if (expected := expected_energy(posterior, position)) is not None:
        stats["energy_excess"] = posterior.beta * loss - expected
    virial = [-jnp.sum(position[name] * gradient[name]) for name in sites]
    offset = [-jnp.sum(typical.position[name] * gradient[name]) for name in sites]
    squares = [jnp.sum(gradient[name] ** 2) for name in sites]
    stats |= {
        "loss": loss,
        "lp": logdensity,
        "virial": jnp.stack(virial),
        "virial_offset": jnp.stack(offset),
        "squared_gradient": sum(squares[1:], squares[0]),
        **info,
    }
    values = posterior.constrain(position) if keep == "all" else {}
    return {"stats": stats, "values": values}
