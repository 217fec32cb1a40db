"""From an unconstrained position to a value in a site's support, with the log of the Jacobian.

The transforms are NumPyro's. Only that to an interval is computed in another way: its Jacobian
takes two softplus for each coordinate, which cost more than ten tanh, and all of it is
differentiated at every step of a trajectory.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from numpyro import handlers
from numpyro.distributions import biject_to
from numpyro.distributions.transforms import (
    ComposeTransform,
    IndependentTransform,
    SigmoidTransform,
)
from numpyro.infer import init_to_uniform
from numpyro.infer.util import compute_log_probs
from numpyro.primitives import Messenger

from sltprob.chance import key_of

__all__ = ["constrain", "is_improper", "log_probs_of", "seeded", "traced", "unwrapped"]

# A product of so many numbers between 1 and 2 is finite in float32 too.
_FACTORS = 64


def constrain(support: Any, position: Any) -> tuple[Any, Any]:
    """Map an unconstrained array into a support."""
    value, log_jacobian = position, 0.0
    for part in _parts(biject_to(support)):
        before = value
        if isinstance(part, SigmoidTransform):
            value, change = _to_unit_interval(before)
        else:
            value = part(before)
            change = jnp.sum(part.log_abs_det_jacobian(before, value))
        log_jacobian += change
    return value, log_jacobian


def _parts(transform: Any) -> list[Any]:
    """List the transforms that one is composed of; a sum over all axes needs no event shape."""
    if isinstance(transform, IndependentTransform):
        return _parts(transform.base_transform)
    if isinstance(transform, ComposeTransform):
        return [inner for part in transform.parts for inner in _parts(part)]
    return [transform]


@jax.custom_jvp
def _to_unit_interval(position: Any) -> tuple[Any, Any]:
    """Evaluate y = 1/(1 + exp(-x)) and Σ log y(1 - y) with one exponential for each coordinate.

    log y(1 - y) = -|x| - 2 log(1 + e) with e = exp(-|x|), and the logarithms are those of
    products. Like NumPyro's, y never is 0 or 1.
    """
    shrunk = jnp.exp(-jnp.abs(position))
    precision = jnp.finfo(shrunk.dtype)
    value = jnp.where(position >= 0, 1.0, shrunk) / (1.0 + shrunk)
    value = jnp.clip(value, precision.tiny, 1.0 - precision.eps)
    count = min(_FACTORS, shrunk.size)
    factors = jnp.pad(1.0 + shrunk.ravel(), (0, -shrunk.size % count), constant_values=1.0)
    logarithms = jnp.log(jnp.prod(factors.reshape(-1, count), axis=1))
    return value, -jnp.sum(jnp.abs(position)) - 2.0 * jnp.sum(logarithms)


@_to_unit_interval.defjvp
def _to_unit_interval_jvp(primals: Any, tangents: Any) -> tuple[Any, Any]:
    (position,), (tangent,) = primals, tangents
    value, log_jacobian = _to_unit_interval(position)
    slope = value * (1.0 - value)
    return (value, log_jacobian), (slope * tangent, jnp.sum((1.0 - 2.0 * value) * tangent))


def unwrapped(distribution: Any) -> Any:
    """Give a distribution without its mask, its expansion and its event axes."""
    wrappers = dist.Independent | dist.ExpandedDistribution | dist.MaskedDistribution
    while isinstance(distribution, wrappers):
        distribution = distribution.base_dist
    return distribution


def is_improper(distribution: Any) -> bool:
    """Say whether a prior is flat, so that no draw from it exists."""
    return isinstance(unwrapped(distribution), dist.ImproperUniform)


# Held while a program runs under handlers: NumPyro keeps those in one list for all threads, and
# two programs at a time would see each other's sites.
_tracing = threading.RLock()


def traced(program: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Run a program and give its sites."""
    with _tracing:
        sites: dict[str, Any] = handlers.trace(program).get_trace(**arguments)
    return sites


def log_probs_of(
    program: Callable[..., Any], arguments: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run a program and give the log probability of every site, not summed, and its sites."""
    with _tracing:
        found: tuple[dict[str, Any], dict[str, Any]] = compute_log_probs(
            program, (), dict(arguments), {}, sum_log_prob=False
        )
    return found


class _Seeds(Messenger):
    """Give every site a key of its own: hashes, since splits would compile longer than the rest."""

    def __init__(self, program: Callable[..., Any], rng_key: Any) -> None:
        super().__init__(program)
        self._rng_key, self._given = rng_key, 0

    def process_message(self, msg: dict[str, Any]) -> None:
        asks = msg["type"] in ("sample", "prng_key", "plate", "control_flow")
        if asks and msg["value"] is None and msg["kwargs"]["rng_key"] is None:
            msg["kwargs"]["rng_key"] = key_of(self._rng_key, self._given)
            self._given += 1


def seeded(program: Callable[..., Any], rng_key: Any) -> Any:
    """Let a program draw its sites; one with a flat prior starts where NumPyro starts it.

    That is uniform on (-2, 2) in unconstrained coordinates: a start, and no draw of a prior.
    """

    def start(site: Mapping[str, Any]) -> Any:
        flat = site["type"] == "sample" and not site["is_observed"] and is_improper(site["fn"])
        return init_to_uniform(site) if flat else None

    return handlers.substitute(_Seeds(program, rng_key), substitute_fn=start)
