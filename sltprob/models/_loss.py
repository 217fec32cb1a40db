"""Any JAX loss over any pytree of parameters, as a model."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from sltprob.arguments import as_array
from sltprob.data import Data
from sltprob.models._potential import Potential
from sltprob.models._row_losses import RowLosses, not_trained, read_loss, site_name
from sltprob.models.base import Model, Truth

__all__ = ["LossModel", "from_loss"]


@dataclass(frozen=True, eq=False, kw_only=True)
class LossModel(Model):
    """A loss function with trained parameters; made by `from_loss`."""

    losses: RowLosses
    priors: dict[str, Any]
    trained: dict[str, Any]  # the trained parameters that are not frozen, by site
    frozen: tuple[str, ...]  # names of the leaves that stay as they are
    rows: Data
    key: Any = field(default=None)  # what makes two of them compile to the same program

    def program(self, **arguments: Any) -> None:
        """Run the NumPyro program: one site for each array of parameters."""
        sites = {name: numpyro.sample(name, prior) for name, prior in self.priors.items()}
        losses = self.losses(sites, arguments)
        numpyro.sample("loss", Potential(losses), obs=jnp.zeros_like(losses))

    def compilation_key(self) -> Any:
        """Give the loss function, the form of the parameters and the prior."""
        return self.key

    def restore(self, sites: dict[str, Any]) -> Any:
        """Put sampled sites back into the pytree of parameters."""
        return self.losses.restore(sites)

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
        ``(params, batch) -> losses``, shape (rows,), or their mean, shape (); or either with
        anything beside it, as ``(loss, metrics)``. A mean is taken apart row by row, which is
        slower, and is checked to be one: at random parameters and on random rows.
    params : pytree of arrays
        The trained parameters. Python floats are parameters too. Leaves that are no real
        numbers of floating point, and the running statistics of Flax's batch norm, stay as they
        are, and are named in `frozen` of the model.
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
        If nothing is left to sample, the data disagree about their number or hold what is no
        number, or the loss is not what it is used as: one value per row, or their mean.

    References
    ----------
    .. [1] E. Lau et al., "The local learning coefficient", arXiv 2308.12108.
    """
    leaves, tree = jax.tree.flatten_with_path(params)
    names = tuple(site_name(path) for path, _ in leaves)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"params has two leaves of the name {twice!r}; rename one")
    values = [jnp.asarray(leaf) if isinstance(leaf, float) else leaf for _, leaf in leaves]
    fixed = not_trained(params)
    sampled = tuple(
        name
        for name, value in zip(names, values, strict=True)
        if _is_parameter(value) and name not in fixed and not (frozen is not None and frozen(name))
    )
    if not sampled:
        kinds = ", ".join(
            f"{name} ({getattr(value, 'dtype', type(value).__name__)})"
            for name, value in zip(names, values, strict=True)
        )
        raise ValueError(
            f"no parameter is left to sample; the sites are {kinds or 'none'}; one of them must be "
            "an array of floating point for which frozen(site) is false"
        )
    if not callable(prior) and not 0 < prior < math.inf:
        raise ValueError(f"prior={prior}: it must be a positive standard deviation, such as 1.0")
    trained = {
        name: jnp.asarray(value, dtype=float)
        for name, value in zip(names, values, strict=True)
        if name in sampled
    }
    for name, value in trained.items():
        if not bool(jnp.all(jnp.isfinite(value))):
            raise ValueError(f"params[{name!r}] is not finite; give trained parameters")
    rows, batch_tree = jax.tree.flatten(data)
    rows = [np.asarray(as_array(row, f"data[{index}]")) for index, row in enumerate(rows)]
    counts = {np.shape(row)[0] if np.ndim(row) else None for row in rows}
    if len(counts) != 1 or None in counts:
        raise ValueError(
            f"the first axes of the data are {[np.shape(row) for row in rows]}; every array must "
            "have one row per datum"
        )
    (count,) = counts
    assert count is not None
    constants = tuple(
        (name, value) for name, value in zip(names, values, strict=True) if name not in sampled
    )
    losses = RowLosses(loss_fn, tree, names, constants, batch_tree, len(rows), by_row=True)
    arguments = {f"data_{index}": row for index, row in enumerate(rows)}
    losses = read_loss(losses, trained, arguments, count)

    def prior_of(name: str) -> Any:
        value = trained[name]
        if callable(prior):
            return prior(name, value)
        return dist.Normal(0.0, prior).expand(value.shape).to_event(value.ndim)

    shapes = tuple((name, value.shape) for name, value in trained.items())
    return LossModel(
        losses=losses,
        priors={name: prior_of(name) for name in sampled},
        trained=trained,
        frozen=tuple(name for name in names if name not in sampled),
        rows=Data(arguments, np.full(count, 1 / count)),
        key=(losses.key, shapes, prior),
    )


def _is_parameter(value: Any) -> bool:
    return hasattr(value, "dtype") and jnp.issubdtype(value.dtype, jnp.floating) and value.size > 0
