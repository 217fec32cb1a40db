"""The losses of single rows, from a loss function that gives these or their mean.

What a function is used as is checked: on random rows and at random parameters the mean over rows
must be the mean of the rows' own losses. A root of a mean, a sum or a statistic over the batch is
another loss, and is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sltprob.fingerprint import content_of, trace_of

__all__ = ["RowLosses", "not_trained", "read_loss", "site_name"]

_INSTEAD = "return one value per row, shape (rows,)"
# Rows of the two random subsets on which a loss is checked, and how far the means may differ.
_SUBSET, _TOLERANCE = 16, 1e-4


@dataclass(frozen=True)
class RowLosses:
    """A loss function that is evaluated as one value per row."""

    loss_fn: Callable[[Any, Any], Any]
    tree: Any  # structure of the parameters
    names: tuple[str, ...]  # of all leaves
    constants: tuple[tuple[str, Any], ...]  # leaves that are not sampled
    batch_tree: Any  # structure of the data
    num_arrays: int  # of the data
    by_row: bool  # whether the function gives one value per row, not a mean
    fingerprint: str = ""  # of the function with all that it reads

    @property
    def key(self) -> Any:
        """What must be equal for two to compile to the same program."""
        constants = tuple((name, _digest(value)) for name, value in self.constants)
        function = (self.loss_fn, self.fingerprint)
        return function, self.tree, self.names, constants, self.batch_tree, self.by_row

    def restore(self, sites: Mapping[str, Any]) -> Any:
        """Put sampled sites and frozen leaves into the pytree of parameters."""
        constants = dict(self.constants)
        leaves = [sites[name] if name in sites else constants[name] for name in self.names]
        return jax.tree.unflatten(self.tree, leaves)

    def whole(self, sites: Mapping[str, Any], arguments: Mapping[str, Any]) -> Any:
        """Call the function as it is, without what stands beside the loss."""
        rows = [arguments[f"data_{index}"] for index in range(self.num_arrays)]
        return _first(self.loss_fn(self.restore(sites), jax.tree.unflatten(self.batch_tree, rows)))

    def __call__(self, sites: Mapping[str, Any], arguments: Mapping[str, Any]) -> Any:
        """Evaluate the loss of every row, shape (rows,)."""
        if self.by_row:
            return self.whole(sites, arguments)
        single = {name: value[:, None] for name, value in arguments.items()}
        return jax.vmap(lambda row: self.whole(sites, row))(single)


def read_loss(
    losses: RowLosses, trained: Mapping[str, Any], arguments: Mapping[str, Any], count: int
) -> RowLosses:
    """Find out whether a function gives rows or their mean, and check that it does."""
    traced = trace_of(losses.whole, trained, arguments)
    form, losses = traced.form, replace(losses, fingerprint=traced.fingerprint)
    shape = form.shape
    if not jnp.issubdtype(form.dtype, jnp.floating):
        raise ValueError(
            f"the loss is {form.dtype}; it must be a real number of floating point: {_INSTEAD}"
        )
    if shape not in ((), (count,)):
        detail = f"; write loss[:, 0] or {_INSTEAD}" if shape == (count, 1) else f"; {_INSTEAD}"
        raise ValueError(
            f"the loss has shape {shape}; it must be ({count},), one per datum, or () for a mean"
            f"{detail}"
        )
    if shape == () and count == 1:
        return replace(losses, by_row=False)
    losses = replace(losses, by_row=shape != ())
    _check(losses, trained, arguments, count)
    return losses


def site_name(path: Any) -> str:
    """Write a path into a pytree as a name that files can hold: ``layers.0.weight``."""
    parts = [
        str(getattr(key, "key", getattr(key, "idx", getattr(key, "name", key)))) for key in path
    ]
    return ".".join(parts) or "params"


def not_trained(params: Any) -> frozenset[str]:
    """Name the leaves of Flax that are no parameters, such as the running statistics of batches.

    Linen has them in the collection ``batch_stats``; a variable of NNX says it by its type.
    """
    found = set()
    for path, leaf in jax.tree.leaves_with_path(params, is_leaf=_is_variable):
        if any(getattr(key, "key", None) == "batch_stats" for key in path) or (
            _is_variable(leaf) and not _is_of_nnx(leaf, "Param")
        ):
            inner = jax.tree.leaves_with_path(leaf)
            found |= {site_name((*path, *rest)) for rest, _ in inner}
    return frozenset(found)


def _is_variable(leaf: Any) -> bool:
    return _is_of_nnx(leaf, "Variable")


def _is_of_nnx(leaf: Any, name: str) -> bool:
    """Look at the type without importing Flax, which may not be there."""
    kinds = type(leaf).__mro__
    return any(kind.__name__ == name and kind.__module__.startswith("flax.nnx") for kind in kinds)


def _digest(value: Any) -> Any:
    """Stand for a leaf that is compiled in: its bytes, or itself where it is no array."""
    if not hasattr(value, "dtype"):
        return repr(value)
    return content_of(value)


def _first(value: Any) -> Any:
    """Take the loss of ``(loss, metrics)``."""
    if isinstance(value, tuple | list):
        if not value:
            raise ValueError(f"the loss function gives an empty {type(value).__name__}; {_INSTEAD}")
        value = value[0]
    if value is None or isinstance(value, dict):
        raise ValueError(f"the loss function gives a {type(value).__name__}; {_INSTEAD}")
    return jnp.asarray(value)


def _check(
    losses: RowLosses, trained: Mapping[str, Any], arguments: Mapping[str, Any], count: int
) -> None:
    """Compare subsets of rows with the rows' own losses, at two random parameters."""
    generator = np.random.default_rng(0)
    size = min(_SUBSET, count - 1)
    # Rows in the order of the data: a loss may read neighbours.
    subsets = [np.sort(generator.choice(count, size, replace=False)) for _ in range(2)]

    def rows(chosen: np.ndarray) -> dict[str, Any]:
        return {name: value[chosen] for name, value in arguments.items()}

    evaluate = _evaluation(losses)
    for index, chosen in enumerate(subsets):
        sites = {
            name: jnp.asarray(
                np.asarray(value) + (0.1 * np.std(value) + 0.1) * generator.normal(size=value.shape)
            )
            for name, value in trained.items()
        }
        part, single = rows(chosen), rows(chosen[:1])
        alone = losses.whole(sites, part)[:1] if losses.by_row else 0.0
        try:
            got, mean, one, own, again = (
                np.asarray(value, dtype=float) for value in evaluate(sites, part, single, alone)
            )
        except (TypeError, ValueError) as error:
            first = " ".join(str(error).split())[:160]
            raise ValueError(
                f"the loss fails on {size} of {count} rows ({first}); it must take its rows from "
                "the batch alone, whatever their number"
            ) from None
        if not np.all(np.isfinite(got)):
            if index == 0:
                break  # far from the trained parameters it may overflow: nothing can be said
            continue
        what = None
        if not _close(got, again):
            what = "is another one at every call; it must be a function of params and batch alone"
        elif losses.by_row and not _close(one, own[:1] if own.ndim else own):
            what = (
                "of a row depends on the rows beside it, as with batch statistics; compute such "
                "things before, or freeze them"
            )
        elif not losses.by_row and not _close(got, mean):
            total = size * mean
            kind = "their sum" if _close(got, total) else "no mean over rows, such as a root of one"
            what = f"of {size} rows is {float(got):.6g}, and the mean of their own losses "
            what += f"{float(mean):.6g}: it is {kind}; {_INSTEAD}"
        if what is not None:
            raise ValueError(f"the loss {what}")


# By what makes two losses compile to the same program; the last one, whose twin comes next.
_evaluations: dict[Any, Callable[..., Any]] = {}


def _evaluation(losses: RowLosses) -> Callable[..., Any]:
    """Give the compiled evaluation of the checks, that of an equal loss before if there was one."""
    if losses.key not in _evaluations:

        @jax.jit
        def evaluate(sites: Any, part: Any, single: Any, alone: Any) -> Any:
            each = losses(sites, part)
            return (
                losses.whole(sites, part),
                each if losses.by_row else jnp.mean(each),
                losses.whole(sites, single),
                alone if losses.by_row else losses(sites, single)[0],
                losses.whole(sites, part),
            )

        _evaluations.clear()
        _evaluations[losses.key] = evaluate
    return _evaluations[losses.key]


def _close(first: Any, second: Any) -> bool:
    return bool(np.allclose(first, second, rtol=_TOLERANCE, atol=1e-9, equal_nan=True))
