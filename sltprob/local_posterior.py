"""The posterior around trained parameters: p(θ) ∝ exp(-nβ L_n(θ) - (γ/2)|θ - θ*|²).

Everything that a run changes is a leaf: center, nβ, γ, mask, weights and data are arguments of one
compiled step, so that fifty checkpoints of a network compile once. A position is the displacement
from the center, which float32 resolves where it does not resolve θ itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from sltprob.notebook import Described
from sltprob.printable import shortened

if TYPE_CHECKING:
    from sltprob.streams import Stream

__all__ = ["LocalPosterior", "LocalStructure", "Observable", "checked_number"]

Position = dict[str, Any]


@dataclass(frozen=True)
class LocalStructure:
    """What about a loss and its parameters cannot change without compiling again."""

    loss_rows: Callable[[Any, Any], Any]
    tree: Any  # structure of the parameters
    names: tuple[str, ...]  # of all leaves
    kept: tuple[Any, ...]  # frozen leaves that are no arrays; None where a leaf is one
    batch_tree: Any  # structure of the data
    num_rows: int
    dtype: str
    title: str
    # Leaves that are no parameters, as running statistics
    not_trained: frozenset[str] = frozenset()
    loss_dtype: str = "float32"  # the coarsest floating type in which the loss computes
    fingerprint: str = ""  # of the loss with all that it reads


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Observable:
    """A data set with its loss, whose change over the posterior is recorded."""

    data: tuple[Any, ...]
    baseline: Any  # shape (rows,): its losses at the center
    loss_rows: Callable[[Any, Any], Any] = field(metadata={"static": True})
    batch_tree: Any = field(metadata={"static": True})
    by_row: bool = field(metadata={"static": True}, default=False)  # every row, not their mean
    fingerprint: str = field(metadata={"static": True}, default="")  # of the loss, as above


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False)
class LocalPosterior(Described):
    """A posterior around trained parameters, by minibatches of rows.

    It is a pytree whose leaves may change without compiling again. Make one with
    `sltprob.local`.

    Parameters
    ----------
    center : dict of str to array
        θ*, the parameters that move, by name.
    constants : tuple
        The leaves that stay as they are, in their order; None where a leaf moves.
    mask : dict of str to array
        1 where a coordinate moves and 0 where not, for sites of which only a part moves.
    data : tuple of array, shape (n, ...)
        Empty where the data are streamed.
    weights : array, shape (n, ...), or None
        Weight of every row, or of every token of every row; their mean over rows is 1.
    baseline : array, shape (n,), or None
        l_i(θ*); None where the data are an iterator, whose rows have no number.
    nbeta : array, shape ()
        nβ, which multiplies the mean loss; dimensionless.
    gamma : array, shape ()
        γ, one over the squared unit of the parameters.
    observables : dict of str to Observable
    structure : LocalStructure
    minimum_loss : float
        L*: the mean of the baseline.
    stream : Stream or None
        Where data that are no arrays in memory come from.
    nearby : tuple of float
        Losses of the first rows a little beside the center: losses that agree at the center, as
        where all are zero there, differ here.
    """

    center: Position
    constants: tuple[Any, ...]
    mask: Position
    data: tuple[Any, ...]
    weights: Any
    baseline: Any
    nbeta: Any
    gamma: Any
    observables: dict[str, Observable]
    structure: LocalStructure = field(metadata={"static": True})
    minimum_loss: float = field(metadata={"static": True}, default=math.nan)
    stream: Stream | None = field(metadata={"static": True}, default=None)
    nearby: tuple[float, ...] = field(metadata={"static": True}, default=())

    @property
    def dimensions(self) -> dict[str, int]:
        """Number of coordinates that move, by site."""
        return {
            name: int(np.sum(np.asarray(self.mask[name]) > 0)) if name in self.mask else value.size
            for name, value in self.center.items()
        }

    @property
    def dimension(self) -> int:
        """Number of coordinates that move."""
        return sum(self.dimensions.values())

    @property
    def num_rows(self) -> int:
        """Number of rows n; 0 where an iterator does not tell."""
        return self.structure.num_rows

    @property
    def frozen(self) -> tuple[str, ...]:
        """Names of the leaves that stay as they are."""
        return tuple(name for name in self.structure.names if name not in self.center)

    @property
    def name(self) -> str:
        """Name of the loss."""
        return self.structure.title

    def __repr__(self) -> str:
        if isinstance(self.nbeta, jax.core.Tracer):
            return f"LocalPosterior({self.name}, traced)"
        sites = self.dimensions
        shown = ", ".join(f"{name} {size}" for name, size in list(sites.items())[:8])
        more = f", … ({len(sites)} in all)" if len(sites) > 8 else ""
        frozen = [name for name in self.frozen if name not in self.structure.not_trained]
        fixed = [name for name in self.frozen if name in self.structure.not_trained]
        kinds = (("frozen", frozen), ("no parameters, and frozen", fixed))
        held = "".join(f"\n  {kind}: {', '.join(names[:8])}" for kind, names in kinds if names)
        return (
            f"LocalPosterior of {self.name}\n  rows: {self.num_rows or 'a stream'}\n"
            f"  {self.dimension} coordinates: {shown}{more}{held}\n"
            f"  nβ = {float(self.nbeta):g}, γ = {float(self.gamma):g}, L* = {self.minimum_loss:g}"
        )

    def at(self, *, nbeta: float | None = None, gamma: float | None = None) -> LocalPosterior:
        """Give the same posterior at another nβ or γ; nothing compiles again.

        Parameters
        ----------
        nbeta : float, dimensionless, optional
        gamma : float, optional
            One over the squared unit of the parameters.

        Returns
        -------
        LocalPosterior

        Raises
        ------
        ValueError
            If one is out of range.
        """
        changed: dict[str, Any] = {}
        if nbeta is not None:
            value = checked_number(
                "nbeta", nbeta, least=0.0, strict=True, example=1000, dtype=self.nbeta.dtype
            )
            changed["nbeta"] = jnp.full_like(self.nbeta, value)
        if gamma is not None:
            value = checked_number(
                "gamma", gamma, least=0.0, strict=False, example=1, dtype=self.gamma.dtype
            )
            changed["gamma"] = jnp.full_like(self.gamma, value)
        return replace(self, **changed)

    def traced(self) -> LocalPosterior:
        """Give what a compiled step sees: without what only the host knows."""
        return replace(self, minimum_loss=0.0, stream=None, nearby=())

    def parameters(self, displacement: Mapping[str, Any]) -> Any:
        """Put the displaced parameters and the frozen ones into the user's own pytree.

        Parameters
        ----------
        displacement : mapping of str to array

        Returns
        -------
        pytree
        """
        structure = self.structure
        leaves = []
        for name, constant, kept in zip(
            structure.names, self.constants, structure.kept, strict=True
        ):
            if name in self.center:
                leaves.append(self.center[name] + displacement[name])
            else:
                leaves.append(kept if constant is None else constant)
        return jax.tree.unflatten(structure.tree, leaves)

    def losses(self, displacement: Mapping[str, Any], batch: tuple[Any, ...], weights: Any) -> Any:
        """Evaluate the loss of every row of a batch, weights applied.

        Parameters
        ----------
        displacement : mapping of str to array
        batch : tuple of array, shape (rows, ...)
        weights : array, shape (rows, ...), or None

        Returns
        -------
        array, shape (rows,)
        """
        structure = self.structure
        rows = jax.tree.unflatten(structure.batch_tree, list(batch))
        return by_row(structure.loss_rows(self.parameters(displacement), rows), weights)

    def center_losses(self, batch: tuple[Any, ...], weights: Any) -> Any:
        """Evaluate l_i(θ*) of every row of a batch.

        Parameters
        ----------
        batch : tuple of array, shape (rows, ...)
        weights : array, shape (rows, ...), or None

        Returns
        -------
        array, shape (rows,)
        """
        zero = jax.tree.map(jnp.zeros_like, self.center)
        return self.losses(zero, tuple(batch), weights)

    def observed_losses(
        self, observable: Observable, displacement: Mapping[str, Any], batch: tuple[Any, ...]
    ) -> Any:
        """Evaluate the loss of an observable on rows of its own data.

        Parameters
        ----------
        observable : Observable
        displacement : mapping of str to array
        batch : tuple of array, shape (rows, ...)

        Returns
        -------
        array, shape (rows,)
        """
        rows = jax.tree.unflatten(observable.batch_tree, list(batch))
        return by_row(observable.loss_rows(self.parameters(displacement), rows), None)


def by_row(value: Any, weights: Any) -> Any:
    """Give one loss per row: of ``(loss, aux)`` the loss, tokens by their weights or their mean."""
    losses = value[0] if isinstance(value, tuple | list) else value
    rows = losses.shape[0]
    if weights is None:
        return losses if losses.ndim == 1 else jnp.mean(losses.reshape(rows, -1), axis=1)
    if losses.ndim > 1 and weights.ndim == 1:
        losses = jnp.mean(losses.reshape(rows, -1), axis=1)
    return jnp.sum((losses * weights).reshape(rows, -1), axis=1)


def checked_number(
    name: str, value: Any, *, least: float, strict: bool, example: float, dtype: Any
) -> float:
    """Check an option that must be a number above a bound, whose square is finite in `dtype`."""
    try:
        number = math.nan if isinstance(value, bool | str) or np.ndim(value) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not (least < number < math.inf or (not strict and number == least)):
        relation = ">" if strict else ">="
        raise ValueError(
            f"{name}={shortened(value)}: it must be {relation} {least:g} and finite, such as "
            f"{example:g}"
        )
    most = math.sqrt(float(jnp.finfo(dtype).max))
    if number > most:
        raise ValueError(
            f"{name}={value!r}: it must be at most {most:.0e} in {jnp.dtype(dtype).name}"
        )
    return number
