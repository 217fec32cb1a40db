"""Any JAX loss over any pytree of parameters, as a model."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from sltprob.data import Data
from sltprob.models._potential import Potential
from sltprob.models.base import Model, Truth

__all__ = ["LossModel", "from_loss"]


@dataclass(frozen=True, eq=False, kw_only=True)
class LossModel(Model):
    """A loss function with trained parameters; made by `from_loss`."""

    # ``(sites, arguments) -> array, shape (n,)``
    losses: Callable[[dict[str, Any], dict[str, Any]], Any]
    priors: dict[str, Any]
    trained: dict[str, Any]  # the trained parameters that are not frozen, by site
    rows: Data
    # ``sites -> params``: put sampled sites back into the pytree
    restore: Callable[[dict[str, Any]], Any]

    def program(self, **arguments: Any) -> None:
        """Run the NumPyro program: one site for each array of parameters."""
        sites = {name: numpyro.sample(name, prior) for name, prior in self.priors.items()}
        losses = self.losses(sites, arguments)
        numpyro.sample("loss", Potential(losses), obs=jnp.zeros_like(losses))

    def population(self) -> Data:
        """Give the data."""
        return self.rows

    def optimum(self) -> dict[str, Any]:
        """Give the trained parameters."""
        return dict(self.trained)

    def truth(self) -> Truth:
        """Say that nothing is known."""
        return Truth(None, None, "a loss of the user's", "none")

    @property
    def minimum_loss(self) -> float:
        """The mean loss at the trained parameters."""
        losses = np.asarray(self.losses(self.trained, dict(self.rows.arguments)), dtype=float)
        weights = self.rows.weights
        return float(np.average(losses, weights=weights))


def from_loss(
    loss_fn: Callable[[Any, Any], Any],
    params: Any,
    data: Any,
    *,
    prior: float | Callable[[str, Any], Any] = 1.0,
    frozen: Callable[[str], bool] | None = None,
) -> LossModel:
    """Make a model of a loss function and its trained parameters.

    Use it as any model: ``temper(from_loss(...), beta=n / log(n), localization=100)`` measures
    the local lambda-hat around `params`, and ``init="optimum"`` starts there.

    Parameters
    ----------
    loss_fn : callable
        ``(params, batch) -> losses``, shape (rows,), or their mean, shape (). A mean is taken
        apart row by row.
    params : pytree of arrays
        The trained parameters. Leaves that are not arrays of floating point stay as they are.
    data : pytree of arrays
        All with the same first axis.
    prior : float or callable
        Standard deviation of a normal prior around zero, or ``(site, value) -> distribution``.
    frozen : callable, optional
        ``site -> bool``: which parameters stay at their trained values. Site names are paths,
        such as ``layers.0.weight``.

    Returns
    -------
    LossModel

    Raises
    ------
    ValueError
        If nothing is left to sample, the data disagree about their number, or the losses have
        another shape.

    References
    ----------
    .. [1] E. Lau et al., "The local learning coefficient", arXiv 2308.12108.
    """
    leaves, tree = jax.tree.flatten_with_path(params)
    names = [_site(path) for path, _ in leaves]
    values = [leaf for _, leaf in leaves]
    sampled = [
        name
        for name, value in zip(names, values, strict=True)
        if _is_parameter(value) and not (frozen is not None and frozen(name))
    ]
    if not sampled:
        raise ValueError(
            f"no parameter is left to sample; the sites are {', '.join(names) or 'none'}, and "
            "frozen(site) must be false for one of them"
        )
    if not callable(prior) and not 0 < prior < math.inf:
        raise ValueError(f"prior={prior}: it must be a positive standard deviation, such as 1.0")
    rows, batch_tree = jax.tree.flatten(data)
    counts = {np.shape(row)[0] if np.ndim(row) else None for row in rows}
    if len(counts) != 1 or None in counts:
        raise ValueError(
            f"the first axes of the data are {[np.shape(row) for row in rows]}; every array must "
            "have one row per datum"
        )
    (count,) = counts
    keys = [f"data_{index}" for index in range(len(rows))]

    def restore(sites: dict[str, Any]) -> Any:
        merged = [sites.get(name, value) for name, value in zip(names, values, strict=True)]
        return jax.tree.unflatten(tree, merged)

    def batch_of(arguments: dict[str, Any]) -> Any:
        return jax.tree.unflatten(batch_tree, [arguments[key] for key in keys])

    trained = {
        name: jnp.asarray(value, dtype=float)
        for name, value in zip(names, values, strict=True)
        if name in sampled
    }
    # Leaves that are no arrays stay out of the tracing.
    shape = jax.eval_shape(lambda sites, rows: loss_fn(restore(sites), rows), trained, data).shape
    if shape not in ((), (count,)):
        raise ValueError(
            f"the loss has shape {shape}; it must be ({count},), one per datum, or () for a mean"
        )

    def losses(sites: dict[str, Any], arguments: dict[str, Any]) -> Any:
        full, batch = restore(sites), batch_of(arguments)
        if shape:
            return loss_fn(full, batch)
        single = jax.tree.map(lambda row: row[:, None], batch)
        return jax.vmap(lambda row: loss_fn(full, row))(single)

    def prior_of(name: str) -> Any:
        value = trained[name]
        if callable(prior):
            return prior(name, value)
        return dist.Normal(0.0, prior).expand(value.shape).to_event(value.ndim)

    return LossModel(
        losses=losses,
        priors={name: prior_of(name) for name in sampled},
        trained=trained,
        rows=Data({key: np.asarray(row) for key, row in zip(keys, rows, strict=True)}),
        restore=restore,
    )


def _is_parameter(value: Any) -> bool:
    return hasattr(value, "dtype") and jnp.issubdtype(value.dtype, jnp.floating)


def _site(path: Any) -> str:
    """Write a path into a pytree as a name that files can hold: ``layers.0.weight``."""
    parts = [
        str(getattr(key, "key", getattr(key, "idx", getattr(key, "name", key)))) for key in path
    ]
    return ".".join(parts) or "params"
